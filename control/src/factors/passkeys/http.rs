//! `/users/me/passkeys`, and `/users/me/second-factor/passkey`.

use axum::extract::State;
use clearway_config::{PasskeyId, envelope::Success};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::{
    PASSKEYS_MAX,
    act::{self, Asked, Assertion},
    ceremony::Registration,
    options::{CreationOptions, RequestOptions},
    register,
    store::{self, Passkey},
};
use crate::{
    auth::{confirm_fully, password, themselves},
    db::Page,
    factors::CODE_CHARS_MAX,
    http::{Answer, Answered, Api, Body, Fields, Form, Id, List, Person, fields, fields::Wrong, time::rfc3339},
};

const NAME_CHARS_MAX: usize = 64;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, begin))
        .routes(routes!(finish))
        .routes(routes!(rename, remove))
        .routes(routes!(ask))
        .routes(routes!(show))
}

/// A key in one of a person's authenticators.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "pky_1QjvzY8L2d0ZB9oU4hXwVm", "name": "Phone", "synced": true,
    "created_at": "2026-11-20T12:00:00.000Z", "last_used_at": null}))]
pub struct PasskeyView {
    id: String,
    name: String,
    /// Whether it may be on several devices.
    synced: bool,
    created_at: String,
    last_used_at: Option<String>,
}

impl From<Passkey> for PasskeyView {
    fn from(passkey: Passkey) -> Self {
        Self {
            id: passkey.id.to_string(),
            name: passkey.name,
            synced: passkey.synced,
            created_at: rfc3339(passkey.created_at),
            last_used_at: passkey.last_used_at.map(rfc3339),
        }
    }
}

/// A passkey that was made.
#[derive(Debug, Serialize, ToSchema)]
struct MadeView {
    passkey: PasskeyView,
    /// In this answer only, where it is the first second factor; else null.
    recovery_codes: Option<Vec<String>>,
}

/// Stands for a passkey that was shown.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"code": "Zm9yIG9uZSB0aW1lIG9ubHksIHRoZW4gbmV2ZXIgYWd", "expires_at": "2026-11-20T12:05:00.000Z"}))]
struct ProofView {
    /// Good once, as `code`, wherever one is asked for.
    #[schema(value_type = String)]
    code: String,
    expires_at: String,
}

#[derive(ToSchema)]
#[schema(example = json!({"password": "correct horse battery"}))]
struct ConfirmForm {
    /// The current password.
    #[schema(value_type = String, max_length = 128)]
    password: Zeroizing<String>,
    /// Where a second factor is asked for: a code of the app, a recovery code, or what stands for a passkey.
    code: Option<String>,
}

impl Form for ConfirmForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let password = fields.required("password", password);
        let code = fields.optional("code", fields::text(CODE_CHARS_MAX));
        Some(Self { password: password?, code: code? })
    }
}

#[derive(ToSchema)]
struct MadeForm {
    /// What to call it, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// What `PublicKeyCredential.toJSON()` gives.
    #[schema(value_type = Object)]
    credential: Registration,
}

fn registration(value: &Value) -> Result<Registration, Wrong> {
    serde_json::from_value(value.clone()).map_err(|_| ("format_invalid", "is not what an authenticator answers".to_owned()))
}

impl Form for MadeForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", fields::text(NAME_CHARS_MAX));
        let credential = fields.required("credential", registration);
        Some(Self { name: name?, credential: credential? })
    }
}

#[derive(ToSchema)]
#[schema(as = PasskeyNameForm, example = json!({"name": "Phone"}))]
struct NameForm {
    /// 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
}

impl Form for NameForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { name: fields.required("name", fields::text(NAME_CHARS_MAX))? })
    }
}

#[derive(ToSchema)]
struct ShownForm {
    /// What `PublicKeyCredential.toJSON()` gives.
    #[schema(value_type = Object)]
    credential: Assertion,
}

impl Form for ShownForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { credential: fields.required("credential", Assertion::read)? })
    }
}

struct Nothing;

impl Form for Nothing {
    fn read(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}

/// List one's passkeys
///
/// At most 20, oldest first.
#[utoipa::path(get, path = "/users/me/passkeys", operation_id = "passkeys_list", tag = "people", security(("session" = [])),
    responses((status = 200, description = "The passkeys", body = Success<List<PasskeyView>>)))]
async fn list(State(api): State<Api>, person: Person) -> Answered {
    let passkeys = store::of_person(&api.db, person.user_id, PASSKEYS_MAX).await?;
    let page = Page::<_, String> { items: passkeys.into_iter().map(PasskeyView::from).collect(), next: None };
    Answer::ok(&List::of(page, None))
}

/// Begin to add a passkey
///
/// By the password, and a code where a second factor is asked for. The answer goes to the browser; what an authenticator
/// makes of it is good within five minutes, once, for this session.
#[utoipa::path(post, path = "/users/me/passkeys", operation_id = "passkeys_begin", tag = "people", request_body = ConfirmForm,
    security(("session" = [])), responses((status = 200, description = "For the browser", body = Success<CreationOptions>)))]
async fn begin(State(api): State<Api>, person: Person, Body(form, _): Body<ConfirmForm>) -> Answered {
    let user = confirm_fully(&api, &person, form.password, form.code.as_deref()).await?;
    Ok(Answer::ok(&register::begin(&api, &person, &user).await?)?.no_store())
}

/// Add a passkey
///
/// It is asked for from now on as a second factor, beside what there is, and signs in by itself. The address is told.
#[utoipa::path(post, path = "/users/me/passkeys/confirm", operation_id = "passkeys_create", tag = "people",
    request_body = MadeForm, security(("session" = [])),
    responses((status = 201, description = "The passkey", body = Success<MadeView>)))]
async fn finish(State(api): State<Api>, person: Person, Body(form, _): Body<MadeForm>) -> Answered {
    let (passkey, codes) = register::finish(&api, &person, &form.name, form.credential).await?;
    let recovery_codes = codes.map(|codes| codes.iter().map(|code| code.to_string()).collect());
    Ok(Answer::created(&MadeView { passkey: passkey.into(), recovery_codes })?.no_store())
}

/// Rename a passkey
///
/// The name is what one tells one's passkeys apart by; nobody else sees it.
#[utoipa::path(patch, path = "/users/me/passkeys/{id}", operation_id = "passkeys_rename", tag = "people", request_body = NameForm,
    params(("id" = String, Path, description = "The passkey's id, `pky_…`")), security(("session" = [])),
    responses((status = 200, description = "The passkey", body = Success<PasskeyView>)))]
async fn rename(State(api): State<Api>, person: Person, Id(id): Id<PasskeyId>, Body(form, _): Body<NameForm>) -> Answered {
    Answer::ok(&PasskeyView::from(register::rename(&api, &person, id, &form.name).await?))
}

/// Remove a passkey
///
/// By the password and a code. The address is told.
#[utoipa::path(delete, path = "/users/me/passkeys/{id}", operation_id = "passkeys_remove", tag = "people",
    params(("id" = String, Path, description = "The passkey's id, `pky_…`")), request_body = ConfirmForm,
    security(("session" = [])), responses((status = 200, description = "Those that are left", body = Success<List<PasskeyView>>)))]
async fn remove(State(api): State<Api>, person: Person, Id(id): Id<PasskeyId>, Body(form, _): Body<ConfirmForm>) -> Answered {
    let user = confirm_fully(&api, &person, form.password, form.code.as_deref()).await?;
    register::remove(&api, &person, &user, id).await?;
    list(State(api), person).await
}

/// Ask for a passkey
///
/// For whoever is signed in, before what takes a second factor.
#[utoipa::path(post, path = "/users/me/second-factor/passkey", operation_id = "second_factor_ask_passkey", tag = "people",
    security(("session" = [])), responses((status = 200, description = "For the browser", body = Success<RequestOptions>)))]
async fn ask(State(api): State<Api>, person: Person, Body(_nothing, _): Body<Nothing>) -> Answered {
    themselves(&person)?;
    let mut tx = api.db.begin().await?;
    let options = act::ask(&mut tx, &api, Asked::Session(person.session_id, person.user_id)).await?;
    tx.commit().await?;
    Ok(Answer::ok(&options)?.no_store())
}

/// Show a passkey
///
/// The answer's `code` stands for it, once within five minutes, wherever a code is asked for.
#[utoipa::path(post, path = "/users/me/second-factor/passkey/confirm", operation_id = "second_factor_show_passkey",
    tag = "people", request_body = ShownForm, security(("session" = [])),
    responses((status = 200, description = "What stands for it", body = Success<ProofView>)))]
async fn show(State(api): State<Api>, person: Person, Body(form, _): Body<ShownForm>) -> Answered {
    themselves(&person)?;
    let asked = Asked::Session(person.session_id, person.user_id);
    act::verify(&api, (person.address, person.request_id), asked, &form.credential).await?;
    let mut tx = api.db.begin().await?;
    let (proof, expires_at) = act::give_proof(&mut tx, &api, person.user_id).await?;
    tx.commit().await?;
    Ok(Answer::ok(&ProofView { code: proof.reveal().to_owned(), expires_at: rfc3339(expires_at) })?.no_store())
}
