//! `/users/me/export`, and `DELETE /users/me`.

use axum::extract::State;
use clearway_config::envelope::Success;
use http::{HeaderValue, header};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::{ErasedView, erase, export};
use crate::{
    audit::Actor,
    auth::{confirm_fully, password, themselves},
    factors::CODE_CHARS_MAX,
    http::{Answer, Answered, Api, Body, Fields, Form, Person, fields},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read)).routes(routes!(delete))
}

#[derive(ToSchema)]
#[schema(example = json!({"password": "correct horse battery"}))]
struct EraseForm {
    /// The current password.
    #[schema(value_type = String, max_length = 128)]
    password: Zeroizing<String>,
    /// Where a second factor is asked for: a code of the app, or a recovery code.
    code: Option<String>,
}

impl Form for EraseForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let password = fields.required("password", password);
        let code = fields.optional("code", fields::text(CODE_CHARS_MAX));
        Some(Self { password: password?, code: code? })
    }
}

/// Export what is stored of one
///
/// One document with everything of the person that is stored: profile, memberships, sessions, devices, mails, and the audit
/// log's entries by them and about them, at most 10,000 of a kind.
#[utoipa::path(get, path = "/users/me/export", operation_id = "profile_export", tag = "people", security(("session" = [])),
    responses((status = 200, description = "Everything", body = Success<export::ExportView>)))]
async fn read(State(api): State<Api>, person: Person) -> Answered {
    themselves(&person)?;
    let answer = Answer::ok(&export::export(&api, person.user_id).await?)?.no_store();
    Ok(answer.header(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"clearway-export.json\"")))
}

/// Erase oneself
///
/// By the password, and a code where a second factor is asked for. It cannot be undone. Accounts without another member are
/// suspended, and lose their names; where others would be left without an owner it is refused, and the details name those
/// accounts. The answer says what is kept, and why.
#[utoipa::path(delete, path = "/users/me", operation_id = "profile_erase", tag = "people", request_body = EraseForm,
    security(("session" = [])), responses((status = 200, description = "The person is erased", body = Success<ErasedView>)))]
async fn delete(State(api): State<Api>, person: Person, Body(form, _): Body<EraseForm>) -> Answered {
    confirm_fully(&api, &person, form.password, form.code.as_deref()).await?;
    // Not as a caller of an account: it may be the one that is closed.
    let actor = Actor::User { id: person.user_id, address: Some(person.address), request_id: Some(person.request_id) };
    let erased = erase(&api, &actor, person.user_id).await?;
    Answer::ok(&erased.told(&api).await)
}
