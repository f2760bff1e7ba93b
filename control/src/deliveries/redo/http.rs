//! `POST /deliveries/{id}/retry`, `POST /deliveries/replay`, `POST /webhooks/{id}/recover`, `POST /webhooks/{id}/test`.

use axum::extract::State as Given;
use clearway_config::{DeliveryId, WebhookId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        log::{DeliveryDetails, DeliveryView, details},
        model::State,
    },
    Measure, RedoError, Selection, count,
    forms::{Nothing, RecoverForm, ReplayForm, TestForm},
    is_active, make_up, missed, replay, retry,
    trial::{Sample, Tried, try_out},
};
use crate::{
    events,
    http::{Answer, Answered, Api, ApiError, Body, Id, Permit, Repeatable, Turn, WriteWebhooks, issue},
    webhooks::{self, Filters, Webhook},
};

pub(in super::super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(retry_one)).routes(routes!(replay_some)).routes(routes!(recover)).routes(routes!(test))
}

/// How many deliveries are made again.
#[derive(Debug, Serialize, ToSchema)]
struct RedoneView {
    /// Deliveries that are begun anew.
    replayed: u64,
    /// Events that had no delivery to this webhook, and get one.
    missed: u64,
    /// Whether there are more: ask again.
    more: bool,
    /// Whether nothing was done but counting.
    dry_run: bool,
}

/// What became of a trial.
#[derive(Debug, Serialize, ToSchema)]
struct TestView {
    /// `evt_…`, made for this webhook alone.
    event_id: String,
    event_type: String,
    /// Null where it has not been attempted within 15 seconds: then look for it by the event's id.
    delivery: Option<DeliveryDetails>,
}

/// Retry a delivery
///
/// One that is finished begins its schedule anew; one that waits for its next attempt has it at once.
#[utoipa::path(post, path = "/deliveries/{id}/retry", operation_id = "deliveries_retry", tag = "webhooks",
    params(("id" = String, Path, description = "The delivery's id, `dlv_…`")), security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "The delivery as it is now", body = Success<DeliveryView>)))]
async fn retry_one(
    Given(api): Given<Api>,
    caller: Permit<WriteWebhooks>,
    Id(id): Id<DeliveryId>,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let answer = DeliveryView::from(retry(&mut tx, &api.world, caller.bounds(), id).await?);
    ticket.keep(&mut tx, StatusCode::OK, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::ok(&answer)
}

/// Replay deliveries
///
/// Begins every finished delivery anew that matches, the oldest first, so many a second. The log of each goes on, and the
/// receiver sees the same `webhook-id` again.
#[utoipa::path(post, path = "/deliveries/replay", operation_id = "deliveries_replay", tag = "webhooks", request_body = ReplayForm,
    security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "How many there are", body = Success<RedoneView>)))]
async fn replay_some(
    Given(api): Given<Api>,
    caller: Permit<WriteWebhooks>,
    repeatable: Repeatable,
    Body(form, bytes): Body<ReplayForm>,
) -> Answered {
    let measure = Measure { most: form.max, per_second: form.per_second };
    let selection = Selection {
        account: caller.account(form.account_id)?,
        webhook: form.webhook_id,
        event_type: form.event_type,
        object_id: form.object_id,
        from: form.from,
        to: form.to.unwrap_or_else(|| api.world.now_ms() + 1),
        states: form.states,
    };
    if form.dry_run {
        let found = count(&api.db, &selection, measure).await?;
        return Answer::ok(&RedoneView { replayed: found.count, missed: 0, more: found.more, dry_run: true });
    }
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let done = replay(&mut tx, &api.world, &selection, measure).await?;
    let answer = RedoneView { replayed: done.count, missed: 0, more: done.more, dry_run: false };
    ticket.keep(&mut tx, StatusCode::OK, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::ok(&answer)
}

/// Recover a webhook
///
/// Sends it what has not reached it since a moment: deliveries that failed or were cancelled, and events that it wants and
/// has no delivery of.
#[utoipa::path(post, path = "/webhooks/{id}/recover", operation_id = "webhooks_recover", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, `wh_…`")), request_body = RecoverForm,
    security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "How many there are", body = Success<RedoneView>)))]
async fn recover(
    Given(api): Given<Api>,
    caller: Permit<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<RecoverForm>,
) -> Answered {
    let webhook = active(&api, &caller, id).await?;
    let measure = Measure { most: form.max, per_second: form.per_second };
    let selection = Selection {
        account: webhook.account_id,
        webhook: Some(id),
        event_type: None,
        object_id: None,
        from: form.since,
        to: api.world.now_ms() + 1,
        states: vec![State::Failed, State::Cancelled],
    };
    let filters = Filters::default();
    let looked_for = if form.missed { form.max as usize + 1 } else { 0 };
    let mut never = missed(&api.db, &filters, &webhook, form.since, looked_for).await?;
    let more_missed = never.len() > form.max as usize;
    never.truncate(form.max as usize);
    if form.dry_run {
        let found = count(&api.db, &selection, measure).await?;
        let more = found.more || more_missed;
        return Answer::ok(&RedoneView { replayed: found.count, missed: never.len() as u64, more, dry_run: true });
    }
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let done = replay(&mut tx, &api.world, &selection, measure).await?;
    let made_up = make_up(&mut tx, &api.world, &webhook, never, measure).await?;
    let answer = RedoneView { replayed: done.count, missed: made_up, more: done.more || more_missed, dry_run: false };
    ticket.keep(&mut tx, StatusCode::OK, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::ok(&answer)
}

/// Try a webhook out
///
/// Posts an event that is for it alone, at once, also while its receiver is failing, and answers with what became of the
/// attempt. Where that takes longer than 15 seconds, `delivery` is null.
#[utoipa::path(post, path = "/webhooks/{id}/test", operation_id = "webhooks_test", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, `wh_…`")), request_body = TestForm,
    security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "What became of it", body = Success<TestView>)))]
async fn test(
    Given(api): Given<Api>,
    caller: Permit<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<TestForm>,
) -> Answered {
    let ticket = match repeatable.begin(&api, &caller, &bytes).await? {
        // Not held meanwhile: it is waited for the outside world.
        Turn::Act(_, ticket) => ticket,
        Turn::Replay(answer) => return Ok(answer),
    };
    let webhook = active(&api, &caller, id).await?;
    let event_type = match form.event_type {
        Some(named) => known(named)?,
        None => wanted(&webhook),
    };
    let Tried { event, event_type, delivery } = try_out(&api, &webhook, Sample { event_type, data: form.data }).await?;
    let delivery = match delivery {
        Some(delivery) => Some(details(&api.db, delivery).await?),
        None => None,
    };
    let view = TestView { event_id: event.to_string(), event_type, delivery };
    let mut tx = api.db.begin().await?;
    ticket.keep(&mut tx, StatusCode::OK, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Answer::ok(&view)
}

async fn active(api: &Api, caller: &Permit<WriteWebhooks>, id: WebhookId) -> Result<Webhook, ApiError> {
    let webhook = webhooks::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    if is_active(&webhook) { Ok(webhook) } else { Err(RedoError::NotActive.into()) }
}

/// A type that could be one: of the catalogue, or an operator's own.
fn known(named: String) -> Result<String, ApiError> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if events::find(&named).is_some() || named.contains('.') && named.split('.').all(word) {
        return Ok(named);
    }
    Err(ApiError::invalid(&[issue("event_type", "format_invalid", "must be a type of event such as product.created")]))
}

/// The first of the catalogue that it wants, or the first of all.
fn wanted(webhook: &Webhook) -> String {
    let all = || events::ENTRIES.iter().copied().flatten();
    let first = all().find(|entry| webhook.settings.events.iter().any(|pattern| pattern.matches(entry.name)));
    first.or_else(|| all().next()).map_or_else(String::new, |entry| entry.name.to_owned())
}
