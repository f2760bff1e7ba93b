//! `/users/me/sessions`: where somebody is signed in.

use axum::extract::State;
use clearway_config::{SessionId, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    audit::{self, Actor, Changes, Event},
    auth::themselves,
    http::{Answer, Answered, Api, ApiError, Id, List, PageParams, Paging, Person, Query, time::rfc3339},
    sessions::{self, Listed},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, end_others)).routes(routes!(end_one))
}

/// A session in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "ses_1QjvzY8L2d0ZB9oU4hXwVm", "current": true, "address": "192.0.2.7", "user_agent": "curl/8.5.0",
    "impersonated": false, "created_at": "2026-11-20T12:00:00.000Z", "last_used_at": "2026-11-20T12:00:00.000Z",
    "expires_at": "2026-12-20T12:00:00.000Z"}))]
struct SessionView {
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// Where it was begun from.
    address: String,
    /// What it was begun by.
    user_agent: String,
    /// Whether an admin has begun it to act as this person.
    impersonated: bool,
    created_at: String,
    /// To the minute.
    last_used_at: String,
    expires_at: String,
}

/// How many sessions have ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"ended": 2}))]
struct Ended {
    ended: u64,
}

fn view(session: Listed, current: SessionId) -> SessionView {
    SessionView {
        id: session.id.to_string(),
        current: session.id == current,
        address: session.address,
        user_agent: session.user_agent,
        impersonated: session.impersonated,
        created_at: rfc3339(session.created_at),
        last_used_at: rfc3339(session.last_used_at),
        expires_at: rfc3339(session.expires_at),
    }
}

/// List one's sessions
///
/// Those in force, newest first.
#[utoipa::path(get, path = "/users/me/sessions", operation_id = "sessions_list", tag = "people", params(PageParams),
    security(("session" = [])), responses((status = 200, description = "A page of sessions", body = Success<List<SessionView>>)))]
async fn list(State(api): State<Api>, person: Person, Query(paging): Query<Paging<SessionId>>) -> Answered {
    let page = sessions::list(&api.db, person.user_id, paging, api.world.now_ms()).await?;
    Answer::ok(&List::of(page.map(|session| view(session, person.session_id)), None))
}

/// End a session
///
/// Whoever used it has to sign in again.
#[utoipa::path(delete, path = "/users/me/sessions/{id}", operation_id = "sessions_end", tag = "people",
    params(("id" = String, Path, description = "The session's id, `ses_…`")), security(("session" = [])),
    responses((status = 200, description = "It has ended", body = Success<Ended>)))]
async fn end_one(State(api): State<Api>, person: Person, Id(id): Id<SessionId>) -> Answered {
    themselves(&person)?;
    let mut tx = api.db.begin().await?;
    if !sessions::end(&mut tx, person.user_id, id, api.world.now_ms()).await? {
        return Err(ApiError::not_found());
    }
    let object_id = id.to_string();
    let changes = Changes::default().field("ended", false, true);
    let event =
        Event { action: "session.ended", account_id: person.account_id, object_kind: "session", object_id: &object_id, changes };
    audit::record(&mut tx, &api.world, &Actor::from(&*person), event).await?;
    tx.commit().await?;
    Answer::ok(&Ended { ended: 1 })
}

/// End all other sessions
///
/// The one that asks stays. Whoever used the others has to sign in again.
#[utoipa::path(delete, path = "/users/me/sessions", operation_id = "sessions_end_others", tag = "people",
    security(("session" = [])), responses((status = 200, description = "How many have ended", body = Success<Ended>)))]
async fn end_others(State(api): State<Api>, person: Person) -> Answered {
    themselves(&person)?;
    let mut tx = api.db.begin().await?;
    let ended = sessions::end_all(&mut tx, person.user_id, Some(person.session_id), api.world.now_ms()).await?;
    if ended > 0 {
        let object_id = person.user_id.to_string();
        let changes = Changes::default().field("other_sessions", ended, 0);
        let event =
            Event { action: "session.ended", account_id: person.account_id, object_kind: "user", object_id: &object_id, changes };
        audit::record(&mut tx, &api.world, &Actor::from(&*person), event).await?;
    }
    tx.commit().await?;
    Answer::ok(&Ended { ended })
}
