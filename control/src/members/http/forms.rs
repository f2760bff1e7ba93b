//! The bodies of `/members` and `/invitations`.

use clearway_config::UserId;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::Role;
use crate::{
    auth::{NAME_CHARS_MAX, Once, email, password},
    http::{Fields, Form, fields},
};

#[derive(Debug, ToSchema)]
#[schema(example = json!({"role": "developer"}))]
pub(super) struct RoleForm {
    pub(super) role: Role,
}

impl Form for RoleForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { role: fields.required("role", fields::parsed)? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"user_id": "user_1QjvzY8L2d0ZB9oU4hXwVk", "password": "correct horse battery"}))]
pub(super) struct TransferForm {
    /// A member.
    #[schema(value_type = String)]
    pub(super) user_id: UserId,
    /// The current password of whoever gives the account.
    #[schema(value_type = String, max_length = 128)]
    pub(super) password: Zeroizing<String>,
}

impl Form for TransferForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let user_id = fields.required("user_id", fields::parsed);
        let password = fields.required("password", password);
        Some(Self { user_id: user_id?, password: password? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"email": "bob@example.com", "role": "developer"}))]
pub(super) struct InviteForm {
    pub(super) email: String,
    /// `admin`, `developer` or `viewer`.
    pub(super) role: Role,
}

impl Form for InviteForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", email);
        let role = fields.required("role", fields::parsed);
        Some(Self { email: email?, role: role? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"token": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd"}))]
pub(super) struct AcceptForm {
    /// From the mail.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) token: Once,
}

impl Form for AcceptForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.required("token", Once::read)? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"token": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd", "password": "correct horse battery", "name": "Bob"}))]
pub(super) struct JoinForm {
    /// From the mail.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) token: Once,
    /// As for registering.
    #[schema(value_type = String, min_length = 8, max_length = 128)]
    pub(super) password: Zeroizing<String>,
    /// What to be called.
    pub(super) name: Option<String>,
}

impl Form for JoinForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", Once::read);
        let password = fields.required("password", password);
        let name = fields.optional("name", fields::text(NAME_CHARS_MAX));
        Some(Self { token: token?, password: password?, name: name? })
    }
}
