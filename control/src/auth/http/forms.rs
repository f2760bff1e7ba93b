//! The bodies of `/auth`.

use serde_json::Value;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    auth::Once,
    factors::{CODE_CHARS_MAX, passkeys::Assertion},
    http::{
        Fields, Form,
        fields::{self, Wrong},
    },
    passwords,
};

/// Characters in an address (RFC 5321, 4.5.3.1.3).
const EMAIL_CHARS_MAX: usize = 254;
/// Characters in a person's name.
pub const NAME_CHARS_MAX: usize = 100;

/// An address, in lower case.
pub fn email(value: &Value) -> Result<String, Wrong> {
    let text = fields::text(EMAIL_CHARS_MAX)(value)?.to_lowercase();
    let formed = text.is_ascii() && text.parse::<lettre::Address>().is_ok();
    if formed { Ok(text) } else { Err(("format_invalid", "must be an address, as ann@example.com".into())) }
}

/// A password as it was typed; which are taken is for whoever sets one.
pub fn password(value: &Value) -> Result<Zeroizing<String>, Wrong> {
    let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
    if text.chars().count() > passwords::CHARS_MAX {
        return Err(("too_long", format!("must have at most {} characters", passwords::CHARS_MAX)));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[derive(ToSchema)]
#[schema(example = json!({"email": "ann@example.com", "password": "correct horse battery", "name": "Ann"}))]
pub(super) struct RegisterForm {
    pub(super) email: String,
    /// 8 to 128 characters, none of the passwords that everybody tries first, and neither address nor name.
    #[schema(value_type = String, min_length = 8, max_length = 128)]
    pub(super) password: Zeroizing<String>,
    /// What to be called.
    pub(super) name: Option<String>,
}

impl Form for RegisterForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", email);
        let password = fields.required("password", password);
        let name = fields.optional("name", fields::text(NAME_CHARS_MAX));
        Some(Self { email: email?, password: password?, name: name? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"email": "ann@example.com", "password": "correct horse battery"}))]
pub(super) struct LoginForm {
    pub(super) email: String,
    #[schema(value_type = String, max_length = 128)]
    pub(super) password: Zeroizing<String>,
    /// For browsers: the session is put into the cookie `__Host-clearway_session`, and its token is not in the answer.
    pub(super) cookie: Option<bool>,
    /// Of an earlier sign-in on this device.
    #[schema(value_type = Option<String>)]
    pub(super) device_token: Option<Once>,
}

impl Form for LoginForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", email);
        let password = fields.required("password", password);
        let cookie = fields.optional("cookie", fields::yes_or_no);
        let device_token = fields.optional("device_token", Once::read);
        Some(Self { email: email?, password: password?, cookie: cookie?, device_token: device_token? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"token": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd"}))]
pub(super) struct TokenForm {
    /// From the mail.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) token: Once,
}

impl Form for TokenForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { token: fields.required("token", Once::read)? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"email": "ann@example.com"}))]
pub(super) struct EmailForm {
    pub(super) email: String,
}

impl Form for EmailForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { email: fields.required("email", email)? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"token": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd", "password": "correct horse battery"}))]
pub(super) struct ResetForm {
    /// From the mail.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) token: Once,
    /// As for registering.
    #[schema(value_type = String, min_length = 8, max_length = 128)]
    pub(super) password: Zeroizing<String>,
}

impl Form for ResetForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", Once::read);
        let password = fields.required("password", password);
        Some(Self { token: token?, password: password? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"token": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd", "cookie": true}))]
pub(super) struct FollowForm {
    /// From the mail.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) token: Once,
    /// As for signing in.
    pub(super) cookie: Option<bool>,
    /// As for signing in.
    #[schema(value_type = Option<String>)]
    pub(super) device_token: Option<Once>,
}

impl Form for FollowForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", Once::read);
        let cookie = fields.optional("cookie", fields::yes_or_no);
        let device_token = fields.optional("device_token", Once::read);
        Some(Self { token: token?, cookie: cookie?, device_token: device_token? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"ticket": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd", "code": "287082"}))]
pub(super) struct FactorForm {
    /// From the first step.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) ticket: Once,
    /// Of the authenticator app, or a recovery code; or else `passkey`.
    pub(super) code: Option<String>,
    /// What `PublicKeyCredential.toJSON()` gives.
    #[schema(value_type = Option<Object>)]
    pub(super) passkey: Option<Assertion>,
    /// As for signing in.
    pub(super) cookie: Option<bool>,
    /// As for signing in.
    #[schema(value_type = Option<String>)]
    pub(super) device_token: Option<Once>,
}

/// A code of the second factor, in whatever form.
pub(super) fn factor_code(value: &Value) -> Result<String, Wrong> {
    fields::text(CODE_CHARS_MAX)(value)
}

impl Form for FactorForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let ticket = fields.required("ticket", Once::read);
        let code = fields.optional("code", factor_code);
        let passkey = fields.optional("passkey", Assertion::read);
        if matches!((&code, &passkey), (Some(None), Some(None)) | (Some(Some(_)), Some(Some(_)))) {
            fields.refuse("code", ("required", "is required, or else `passkey`, and not both".into()));
        }
        let cookie = fields.optional("cookie", fields::yes_or_no);
        let device_token = fields.optional("device_token", Once::read);
        Some(Self { ticket: ticket?, code: code?, passkey: passkey?, cookie: cookie?, device_token: device_token? })
    }
}

#[derive(ToSchema)]
#[schema(as = SignInTicketForm, example = json!({"ticket": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd"}))]
pub(super) struct TicketForm {
    /// From the first step.
    #[schema(value_type = String, min_length = 43, max_length = 43)]
    pub(super) ticket: Once,
}

impl Form for TicketForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { ticket: fields.required("ticket", Once::read)? })
    }
}

#[derive(ToSchema)]
pub(super) struct PasskeyForm {
    /// What `PublicKeyCredential.toJSON()` gives.
    #[schema(value_type = Object)]
    pub(super) passkey: Assertion,
    /// As for signing in.
    pub(super) cookie: Option<bool>,
    /// As for signing in.
    #[schema(value_type = Option<String>)]
    pub(super) device_token: Option<Once>,
}

impl Form for PasskeyForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let passkey = fields.required("passkey", Assertion::read);
        let cookie = fields.optional("cookie", fields::yes_or_no);
        let device_token = fields.optional("device_token", Once::read);
        Some(Self { passkey: passkey?, cookie: cookie?, device_token: device_token? })
    }
}

pub(super) struct Nothing;

impl Form for Nothing {
    fn read(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}
