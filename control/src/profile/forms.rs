//! The bodies of `/users/me`.

use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    auth::{NAME_CHARS_MAX, Once, email, password},
    http::{Fields, Form, fields},
};

#[derive(ToSchema)]
#[schema(example = json!({"name": "Ann Miller"}))]
pub(super) struct NameForm {
    /// What to be called, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: String,
}

impl Form for NameForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { name: fields.required("name", fields::text(NAME_CHARS_MAX))? })
    }
}

#[derive(ToSchema)]
#[schema(as = ChangePasswordForm, example = json!({"current_password": "correct horse battery", "password": "another horse, another battery"}))]
pub(super) struct PasswordForm {
    #[schema(value_type = String, max_length = 128)]
    pub(super) current_password: Zeroizing<String>,
    /// As for registering.
    #[schema(value_type = String, min_length = 8, max_length = 128)]
    pub(super) password: Zeroizing<String>,
}

impl Form for PasswordForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let current_password = fields.required("current_password", password);
        let password = fields.required("password", password);
        Some(Self { current_password: current_password?, password: password? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"email": "ann@example.net", "password": "correct horse battery"}))]
pub(super) struct AddressForm {
    /// The new address.
    pub(super) email: String,
    /// The current password.
    #[schema(value_type = String, max_length = 128)]
    pub(super) password: Zeroizing<String>,
}

impl Form for AddressForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", email);
        let password = fields.required("password", password);
        Some(Self { email: email?, password: password? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"token": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd"}))]
pub(super) struct ProofForm {
    /// From the mail.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) token: Once,
}

impl Form for ProofForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.required("token", Once::read)? })
    }
}
