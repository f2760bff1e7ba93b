//! `POST /admin/users/{id}/impersonate`.

use axum::extract::State;
use clearway_config::{UserId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::act;
use crate::{
    auth::UserView,
    http::{AdminPlatform, Answer, Answered, Api, Body, Fields, Form, Id, Permit, Repeatable, Turn, fields, time::rfc3339},
};

/// Characters in a reason.
const REASON_CHARS_MAX: usize = 500;
const MINUTES_MAX: u64 = 60;
const MINUTES_DEFAULT: u64 = 15;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(impersonate))
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"reason": "Ticket 4711: sees no keys", "minutes": 15}))]
struct ImpersonateForm {
    /// For the audit log and the mail to the person. 1 to 500 characters.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// How long, 1 to 60; 15 when left out.
    #[schema(minimum = 1, maximum = 60)]
    minutes: Option<u64>,
}

impl Form for ImpersonateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let reason = fields.required("reason", fields::text(REASON_CHARS_MAX));
        let minutes = fields.optional("minutes", fields::number(1, MINUTES_MAX));
        Some(Self { reason: reason?, minutes: minutes? })
    }
}

/// A session in which an admin acts as a person.
#[derive(Debug, Serialize, ToSchema)]
struct ImpersonationView {
    user: UserView,
    session_id: String,
    /// The bearer, in this answer only. Null in the replay of an idempotency key.
    token: Option<String>,
    expires_at: String,
}

/// Act as a person
///
/// For an admin who has signed in; a key will not do. The person is told by mail, and every act in the session is noted with
/// both of them. Keys, webhooks, billing, members and whatever is the person's alone cannot be changed in it.
/// `POST /auth/logout` ends it.
#[utoipa::path(post, path = "/admin/users/{id}/impersonate", operation_id = "admin_users_impersonate", tag = "admin",
    params(("id" = String, Path, description = "The person's id, `user_…`")), request_body = ImpersonateForm,
    security(("key" = ["admin:platform"])),
    responses((status = 201, description = "The session", body = Success<ImpersonationView>)))]
async fn impersonate(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<UserId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<ImpersonateForm>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let minutes = i64::try_from(form.minutes.unwrap_or(MINUTES_DEFAULT)).unwrap_or(1);
    let (user, begun) = act::begin(&mut tx, &api, &caller, id, &form.reason, minutes).await?;
    let mut view = ImpersonationView {
        user: (&user).into(),
        session_id: begun.id.to_string(),
        token: None,
        expires_at: rfc3339(begun.expires_at),
    };
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    view.token = Some(begun.token.reveal().to_owned());
    Ok(Answer::created(&view)?.no_store())
}
