//! `/users/me/second-factor`.

use axum::extract::State;
use clearway_config::envelope::Success;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::act::{self, Held};
use crate::{
    auth::{confirm, confirm_fully, password},
    http::{Answer, Answered, Api, Body, Fields, Form, Person, fields},
};

/// Characters in a code: those that stand for a passkey are the longest.
pub const CODE_CHARS_MAX: usize = 48;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(read, begin))
        .routes(routes!(turn_on))
        .routes(routes!(turn_off))
        .routes(routes!(renew_codes))
        .merge(super::passkeys::routes())
}

#[derive(ToSchema)]
#[schema(as = FactorPasswordForm, example = json!({"password": "correct horse battery"}))]
struct PasswordForm {
    /// The current password.
    #[schema(value_type = String, max_length = 128)]
    password: Zeroizing<String>,
}

impl Form for PasswordForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { password: fields.required("password", password)? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"password": "correct horse battery", "code": "287082"}))]
struct CodeForm {
    /// The current password.
    #[schema(value_type = String, max_length = 128)]
    password: Zeroizing<String>,
    /// Of the app. Except for turning it on a recovery code will do too, or what stands for a passkey.
    code: String,
}

impl Form for CodeForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let password = fields.required("password", password);
        let code = fields.required("code", fields::text(CODE_CHARS_MAX));
        Some(Self { password: password?, code: code? })
    }
}

/// Whether a second factor is asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"on": true, "totp": true, "passkeys": 0, "recovery_codes_left": 10}))]
pub struct FactorView {
    /// Whether any is asked for.
    on: bool,
    /// Whether codes of an app are taken.
    totp: bool,
    /// How many there are.
    passkeys: i64,
    recovery_codes_left: i64,
}

impl From<Held> for FactorView {
    fn from(held: Held) -> Self {
        Self { on: held.is_on(), totp: held.totp, passkeys: held.passkeys, recovery_codes_left: held.recovery_codes }
    }
}

/// What an authenticator app is given, in this answer only.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "uri": "otpauth://totp/Clearway:ann%40example.com?secret=…"}))]
struct SeedView {
    #[schema(value_type = String)]
    secret: String,
    /// For a picture that the app reads.
    #[schema(value_type = String)]
    uri: String,
}

/// Recovery codes, in this answer only: each is good once in the place of a code of the app.
#[derive(Serialize, ToSchema)]
struct CodesView {
    recovery_codes: Vec<String>,
}

/// Read whether a second factor is asked for
///
/// And how many recovery codes are left.
#[utoipa::path(get, path = "/users/me/second-factor", operation_id = "second_factor_read", tag = "people", security(("session" = [])),
    responses((status = 200, description = "Whether it is", body = Success<FactorView>)))]
async fn read(State(api): State<Api>, person: Person) -> Answered {
    Answer::ok(&FactorView::from(act::state(&api.db, person.user_id).await?))
}

/// Begin to set up a second factor
///
/// Makes a seed for an authenticator app (RFC 6238). It is not asked for before a code of it was shown.
#[utoipa::path(post, path = "/users/me/second-factor", operation_id = "second_factor_begin", tag = "people",
    request_body = PasswordForm, security(("session" = [])),
    responses((status = 200, description = "What the app is given", body = Success<SeedView>)))]
async fn begin(State(api): State<Api>, person: Person, Body(form, _): Body<PasswordForm>) -> Answered {
    let user = confirm(&api, &person, form.password).await?;
    let begun = act::begin(&api, user.id, &user.email).await?;
    Ok(Answer::ok(&SeedView { secret: begun.seed.to_string(), uri: begun.uri.to_string() })?.no_store())
}

/// Turn the second factor on
///
/// By a code of the app that the secret was given to. The recovery codes are in this answer and never shown again.
#[utoipa::path(post, path = "/users/me/second-factor/confirm", operation_id = "second_factor_turn_on", tag = "people",
    request_body = CodeForm, security(("session" = [])),
    responses((status = 200, description = "Recovery codes", body = Success<CodesView>)))]
async fn turn_on(State(api): State<Api>, person: Person, Body(form, _): Body<CodeForm>) -> Answered {
    confirm(&api, &person, form.password).await?;
    codes(&act::turn_on(&api, &person, &form.code).await?)
}

/// Turn the app's codes off
///
/// Passkeys go on to be asked for.
#[utoipa::path(post, path = "/users/me/second-factor/disable", operation_id = "second_factor_turn_off", tag = "people",
    request_body = CodeForm, security(("session" = [])),
    responses((status = 200, description = "What is asked for now", body = Success<FactorView>)))]
async fn turn_off(State(api): State<Api>, person: Person, Body(form, _): Body<CodeForm>) -> Answered {
    confirm_fully(&api, &person, form.password, Some(&form.code)).await?;
    Answer::ok(&FactorView::from(act::turn_off(&api, &person).await?))
}

/// Make other recovery codes
///
/// Those there were are no longer good.
#[utoipa::path(post, path = "/users/me/second-factor/recovery-codes", operation_id = "second_factor_renew_codes", tag = "people",
    request_body = CodeForm, security(("session" = [])),
    responses((status = 200, description = "Recovery codes", body = Success<CodesView>)))]
async fn renew_codes(State(api): State<Api>, person: Person, Body(form, _): Body<CodeForm>) -> Answered {
    confirm_fully(&api, &person, form.password, Some(&form.code)).await?;
    codes(&act::renew_codes(&api, &person).await?)
}

fn codes(codes: &[Zeroizing<String>]) -> Answered {
    let recovery_codes = codes.iter().map(|code| code.to_string()).collect();
    Ok(Answer::ok(&CodesView { recovery_codes })?.no_store())
}
