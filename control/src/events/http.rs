//! `/events`: emitting, and the feed. Types are in [`super::types_http`].

use std::{sync::Arc, time::Duration};

use axum::{Extension, extract::State};
use clearway_config::{AccountId, EventId, envelope::Success, scope::ADMIN};
use http::StatusCode;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    body, catalogue,
    checker::Checkers,
    draft::{Draft, Posted},
    feed::{self, Wanted},
    intake::{Intake, Ready, Refused},
    pattern::Pattern,
    store, types_http,
    view::{AcceptedAnswer, AcceptedView, EventView, FeedView},
};
use crate::http::{
    Answer, Answered, Api, ApiError, Caller, Fields, Form, Id, Permit, Query, ReadEvents, WriteEvents, fields, issue,
};

/// Seconds for which a reader of the feed may wait.
const WAIT_S_MAX: u64 = 30;
/// What is left of a request's time when a wait ends.
const WAIT_MARGIN: Duration = Duration::from_secs(2);
/// Readers who wait at the same time; the next ones are answered at once.
const WAITING_MAX: usize = 256;
/// Events of one page.
const LIMIT_DEFAULT: u64 = 20;
const LIMIT_MAX: u64 = 100;
/// How often data is checked anew because its type was changed meanwhile.
const TRIES: u32 = 3;

/// What the operations on events hold in this process. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Events {
    intake: Intake,
    pub(super) checkers: Checkers,
    waiting: Arc<Semaphore>,
}

impl Events {
    pub fn new(api: &Api) -> Self {
        Self {
            intake: Intake::new(api.db.clone()),
            checkers: Checkers::default(),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }
}

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read)).merge(types_http::routes())
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"type": "order.shipped", "object_id": "order-17", "data": {"order": 17, "carrier": "post"}}))]
#[expect(dead_code, reason = "describes the body for the document; the members are read by name")]
struct EventForm {
    /// A registered type; for admins one of Clearway's own too.
    #[schema(max_length = 100)]
    r#type: String,
    /// Must match the type's schema. Posted as it is written here.
    #[schema(value_type = Object)]
    data: (),
    /// What it is about: events of one object can be delivered in order.
    #[schema(min_length = 1, max_length = 128)]
    object_id: Option<String>,
    /// Makes a repetition harmless, for as long as the event is kept. Instead of the header, which is of a whole list.
    #[schema(min_length = 1, max_length = 128)]
    idempotency_key: Option<String>,
    /// Another account's event; for admins.
    account_id: Option<String>,
}

/// One event, or a list of them.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the body for the document")]
enum EventForms {
    One(EventForm),
    Many(Vec<EventForm>),
}

/// Emit events
///
/// One event, or a list of up to 100 that are accepted together or not at all; 256 KiB at most. The answer comes when
/// they have been committed: from then on they are delivered at least once to every webhook that wants them.
#[utoipa::path(post, path = "/events", operation_id = "events_create", tag = "events", request_body = EventForms,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition harmless for as long as the events are \
        kept: the same body under the same key is answered with the events that it made, another body is refused (422).")),
    security(("key" = ["write:events"])),
    responses((status = 202, description = "What was accepted, in the order sent", body = Success<AcceptedAnswer>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteEvents>,
    Extension(events): Extension<Events>,
    posted: Posted,
) -> Answered {
    let drafts = posted.read()?;
    let mut tried = 0;
    loop {
        let ready = ready(&api, &events, &caller, &drafts.events).await?;
        let kinds: Vec<_> = ready.iter().map(|event| event.kind.clone()).collect();
        tried += 1;
        match events.intake.submit(ready).await {
            Ok(accepted) => {
                api.metrics.events_accepted(accepted.iter().filter(|one| !one.replayed).count());
                let mut views = accepted.into_iter().zip(&kinds).map(|(one, kind)| AcceptedView::of(one, kind));
                let answer = match views.next() {
                    Some(only) if !drafts.list => AcceptedAnswer::One(only),
                    first => AcceptedAnswer::Many { items: first.into_iter().chain(views).collect() },
                };
                return Answer::with_status(StatusCode::ACCEPTED, &answer);
            }
            Err(Refused::Stale(kind)) if tried < TRIES => events.checkers.forget(&kind),
            Err(refused) => return Err(refused.into()),
        }
    }
}

/// Checks every event, and gives each its id and its body.
async fn ready(api: &Api, events: &Events, caller: &Caller, drafts: &[Draft<'_>]) -> Result<Vec<Ready>, ApiError> {
    let now_ms = api.world.now_ms();
    let mut issues = Vec::new();
    let mut ready = Vec::with_capacity(drafts.len());
    for (n, draft) in drafts.iter().enumerate() {
        let prefix = if drafts.len() > 1 { format!("{n}.") } else { String::new() };
        let account_id = caller.account(draft.account_id)?;
        let (kind, checker, registered) = match catalogue::find(&draft.kind) {
            Some(_) if !caller.is_admin() => return Err(ApiError::scope_missing(&admin())),
            Some(entry) => (entry.name, events.checkers.of_catalogue(entry), false),
            None => match events.checkers.registered(&api.db, &draft.kind).await? {
                Some(checker) => (draft.kind.as_str(), checker, true),
                None => {
                    issues.push(issue(&format!("{prefix}type"), "unknown", "is no type; see /api/v1/events/types"));
                    continue;
                }
            },
        };
        issues.extend(checker.faults(&prefix, &draft.data));
        let id = api.world.id(EventId::new);
        ready.push(Ready {
            id,
            account_id,
            foreign: account_id != caller.account_id,
            kind: kind.to_owned(),
            stamp: checker.stamp,
            registered,
            object_id: draft.object_id.clone(),
            body: body::written(id, kind, now_ms, draft.raw),
            key: draft.key.clone(),
            created_at: now_ms,
        });
    }
    if issues.is_empty() { Ok(ready) } else { Err(ApiError::invalid(&issues)) }
}

fn admin() -> clearway_config::Scope {
    ADMIN.parse().expect("the admin's scope is well formed")
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct FeedParams {
    /// A cursor: only what was committed later. `latest` is where the feed ends now; left out, it begins with the oldest
    /// that is kept.
    after: Option<String>,
    /// How many at most, 1 to 100; 20 when left out.
    limit: Option<u32>,
    /// Only these types, with commas between; `key.*` is all of a kind.
    r#type: Option<String>,
    /// Seconds to wait for an event where there is none, 0 to 30; not at all when left out.
    wait: Option<u32>,
    /// Another account's events; for admins.
    account_id: Option<String>,
}

#[derive(Debug)]
struct FeedQuery {
    after: Option<After>,
    limit: u32,
    patterns: Vec<Pattern>,
    wait: Duration,
    account_id: Option<AccountId>,
}

#[derive(Debug, Clone, Copy)]
enum After {
    Sequence(i64),
    Latest,
}

impl Form for FeedQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let after = fields.optional("after", |value| match value.as_str() {
            Some("latest") => Ok(After::Latest),
            text => match text.and_then(|text| text.parse().ok()).filter(|sequence| *sequence >= 0) {
                Some(sequence) => Ok(After::Sequence(sequence)),
                None => Err(("format_invalid", "must be a cursor of this feed, or latest".into())),
            },
        });
        let limit = fields.optional("limit", fields::number(1, LIMIT_MAX));
        let patterns = fields
            .optional("type", |value| feed::patterns(value.as_str().unwrap_or_default()).map_err(|why| ("format_invalid", why)));
        let wait = fields.optional("wait", fields::number(0, WAIT_S_MAX));
        let account_id = fields.optional("account_id", fields::parsed);
        let limit = u32::try_from(limit?.unwrap_or(LIMIT_DEFAULT)).expect("bounded above");
        Some(Self {
            after: after?,
            limit,
            patterns: patterns?.unwrap_or_default(),
            wait: Duration::from_secs(wait?.unwrap_or(0)),
            account_id: account_id?,
        })
    }
}

/// Read the feed
///
/// An account's events in the order in which they were committed, oldest first: what a webhook's receiver reads to learn
/// what it missed. With `wait` the answer comes as soon as there is an event, or a 401 when the key is revoked meanwhile.
#[utoipa::path(get, path = "/events", operation_id = "events_list", tag = "events", params(FeedParams),
    security(("key" = ["read:events"])),
    responses((status = 200, description = "A part of the feed", body = Success<FeedView>)))]
async fn list(
    State(api): State<Api>,
    caller: Permit<ReadEvents>,
    Extension(events): Extension<Events>,
    Query(query): Query<FeedQuery>,
) -> Answered {
    let account = caller.account(query.account_id)?;
    let after = match query.after {
        None => 0,
        Some(After::Sequence(sequence)) => sequence,
        Some(After::Latest) => store::last(&api.db).await?,
    };
    let wanted = Wanted { account, after, limit: query.limit, patterns: query.patterns };
    let place = events.waiting.try_acquire().ok().filter(|_| !query.wait.is_zero());
    let page = match place {
        Some(_place) => {
            let wait = query.wait.min(api.request_timeout.saturating_sub(WAIT_MARGIN));
            let mut stopping = api.stopping.subscribe();
            let stop = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let (caller, of) = (&caller, &api);
            feed::wait(&api.db, wanted, wait, stop, move || caller.still(of)).await?
        }
        None => feed::page(&api.db, &wanted).await?,
    };
    let items = page.rows.into_iter().map(EventView::of).collect::<crate::db::Result<_>>()?;
    Answer::ok(&FeedView { items, next_cursor: page.next.to_string(), has_more: page.more })
}

/// Read an event
///
/// As its webhooks are sent it. Events are kept as long as the account's plan says.
#[utoipa::path(get, path = "/events/{id}", operation_id = "events_read", tag = "events",
    params(("id" = String, Path, description = "The event's id, `evt_…`")), security(("key" = ["read:events"])),
    responses((status = 200, description = "The event", body = Success<EventView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadEvents>, Id(id): Id<EventId>) -> Answered {
    let row = store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    Answer::ok(&EventView::of(row)?)
}
