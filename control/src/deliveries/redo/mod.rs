//! Deliveries that are made again because somebody asks: one, or those of a webhook since a moment, or whichever match; and
//! a webhook that is tried out.
//!
//! A delivery keeps its id and its log, and begins its schedule anew. Where many are begun anew they become due one after
//! another, as many a second as was asked for, so that the receiver is not flooded.

mod forms;
mod http;
mod store;
mod trial;

use clearway_config::{AccountId, DeliveryId, ErrorCode, WebhookId};

pub(super) use http::routes;
pub use trial::{Sample, Tried, try_out};

use super::{
    batch::Promotion,
    log::{Delivery, find},
    model::State,
    store::{note_due, promote},
};
use crate::{
    db::{self, Db, Signal, Tx},
    http::ApiError,
    webhooks::{self, Filters, Occurrence, Webhook},
    world::World,
};

/// Raised by every commit that has made deliveries due, other than the dispatcher's own.
pub(super) const DUE: Signal = Signal("deliveries");

/// Deliveries that one request begins anew at most, and unless it says otherwise.
const REPLAY_MAX: u32 = 10_000;
const REPLAY_DEFAULT: u32 = 1_000;
/// How many of them become due a second.
const RATE_MAX: u32 = 1_000;
const RATE_DEFAULT: u32 = 50;
/// Events that are looked at in one step for whether a webhook missed them.
const MISSED_PAGE: u32 = 500;
/// Events that one request looks at for that at most.
const MISSED_LOOKED_AT_MAX: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub(super) enum RedoError {
    #[error("no such object")]
    NotFound,
    /// Nothing would be posted.
    #[error("the webhook is switched off or disabled")]
    NotActive,
    #[error("the event is no longer kept")]
    EventGone,
    #[error("the deliveries could not be stored")]
    Store(#[from] db::Error),
}

impl From<RedoError> for ApiError {
    fn from(error: RedoError) -> Self {
        match error {
            RedoError::NotFound => ApiError::not_found(),
            RedoError::NotActive => {
                ApiError::saying(ErrorCode::Conflict, "The webhook is switched off or disabled; enable it first.")
            }
            RedoError::EventGone => ApiError::saying(ErrorCode::Conflict, "The event is no longer kept."),
            RedoError::Store(error) => error.into(),
        }
    }
}

/// Which deliveries are begun anew.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub(super) account: AccountId,
    pub(super) webhook: Option<WebhookId>,
    pub(super) event_type: Option<String>,
    pub(super) object_id: Option<String>,
    /// When they were made.
    pub(super) from: i64,
    pub(super) to: i64,
    /// None that is still under way.
    pub(super) states: Vec<State>,
}

/// How many at most, and how many a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    pub(super) most: u32,
    pub(super) per_second: u32,
}

impl Measure {
    /// When the `nth` (from 0) is due.
    fn due_at(self, now_ms: i64, nth: usize) -> i64 {
        let nth = i64::try_from(nth).unwrap_or(i64::MAX);
        now_ms.saturating_add(nth.saturating_mul(1_000) / i64::from(self.per_second))
    }
}

/// How many there were to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Redone {
    pub(super) count: u64,
    /// Whether there are more than the request may take.
    pub(super) more: bool,
}

/// Begins one delivery anew; one that waits for its next attempt has it at once, and one that is being attempted is left
/// alone.
pub(super) async fn retry(tx: &mut Tx, world: &World, bounds: Option<AccountId>, id: DeliveryId) -> Result<Delivery, RedoError> {
    let now_ms = world.now_ms();
    let delivery = find(&mut *tx, bounds, id).await?.ok_or(RedoError::NotFound)?;
    let webhook: WebhookId = db::decode("deliveries.webhook_id", &delivery.webhook_id)?;
    if delivery.event_id.is_none() {
        return Err(RedoError::EventGone);
    }
    active(tx, webhook).await?;
    note_due(tx, &[(webhook, now_ms)].into()).await?;
    if delivery.completed_at.is_some() {
        let again = store::Again { id: delivery.id.clone(), at: now_ms };
        begin_anew(tx, vec![again], now_ms).await?;
    } else {
        store::hasten(tx, id, now_ms).await?;
    }
    tx.announce(DUE);
    find(tx, bounds, id).await?.ok_or(RedoError::NotFound)
}

/// Begins what is selected anew, the oldest first.
pub(super) async fn replay(tx: &mut Tx, world: &World, selection: &Selection, measure: Measure) -> db::Result<Redone> {
    let now_ms = world.now_ms();
    let mut found = store::select(tx, selection, measure.most + 1).await?;
    let more = found.len() > measure.most as usize;
    found.truncate(measure.most as usize);
    if found.is_empty() {
        return Ok(Redone { count: 0, more });
    }
    let mut due = std::collections::HashMap::new();
    for row in &found {
        due.insert(db::decode("deliveries.webhook_id", &row.webhook_id)?, now_ms);
    }
    note_due(tx, &due).await?;
    // Deliveries of one millisecond are in no order by their ids, but by their events.
    found.sort_by_key(|row| row.sequence);
    let again = |(nth, row): (usize, store::Selected)| store::Again { id: row.id, at: measure.due_at(now_ms, nth) };
    let count = begin_anew(tx, found.into_iter().enumerate().map(again).collect(), now_ms).await?;
    tx.announce(DUE);
    Ok(Redone { count, more })
}

/// How many would be begun anew.
pub(super) async fn count(db: &Db, selection: &Selection, measure: Measure) -> db::Result<Redone> {
    let mut tx = db.begin_read().await?;
    let found = store::select(&mut tx, selection, measure.most + 1).await?.len() as u64;
    let most = u64::from(measure.most);
    Ok(Redone { count: found.min(most), more: found > most })
}

/// The events that a webhook wants, and has no delivery of: from before it was made, or while it was off. Looks at those of
/// its account from `since` on that have been fanned out.
pub(super) async fn missed(
    db: &Db,
    filters: &Filters,
    webhook: &Webhook,
    since: i64,
    most: usize,
) -> db::Result<Vec<store::Missed>> {
    let mut tx = db.begin_read().await?;
    let matcher = webhooks::matching(&mut tx, filters, &[webhook.account_id]).await?;
    let (mut after, mut looked_at) = (0, 0);
    let mut missed = Vec::new();
    loop {
        let page = store::events_since(&mut tx, webhook.account_id, webhook.id, since, after, MISSED_PAGE).await?;
        let whole = page.len() == MISSED_PAGE as usize;
        for event in page {
            after = event.sequence;
            looked_at += 1;
            let occurrence = Occurrence {
                account: webhook.account_id,
                kind: &event.event_type,
                object_id: event.object_id.as_deref(),
                body: &event.body,
            };
            if !event.delivered && matcher.targets(occurrence).iter().any(|target| target.id == webhook.id) {
                missed.push(event.into());
            }
        }
        if !whole || missed.len() >= most || looked_at >= MISSED_LOOKED_AT_MAX {
            missed.truncate(most);
            return Ok(missed);
        }
    }
}

/// Makes the deliveries that a webhook has missed.
pub(super) async fn make_up(
    tx: &mut Tx,
    world: &World,
    webhook: &Webhook,
    missed: Vec<store::Missed>,
    measure: Measure,
) -> db::Result<u64> {
    let now_ms = world.now_ms();
    if missed.is_empty() {
        return Ok(0);
    }
    note_due(tx, &[(webhook.id, now_ms)].into()).await?;
    let ordered = webhook.settings.ordering == webhooks::Ordering::Object;
    let mut promotions = Vec::new();
    let rows = missed.into_iter().enumerate().map(|(nth, event)| {
        let order_key = event.object_id.clone().filter(|_| ordered);
        promotions.extend(order_key.clone().map(|order_key| Promotion { webhook: webhook.id, order_key }));
        let at = measure.due_at(now_ms, nth);
        store::MadeUp { id: world.id(DeliveryId::new), event, order_key, at }
    });
    let rows = rows.collect();
    let made = store::insert_made_up(tx, webhook.account_id, webhook.id, rows, now_ms).await?;
    promote(tx, &promotions, now_ms).await?;
    tx.announce(DUE);
    Ok(made)
}

/// The webhook, if something can be posted to it now.
async fn active(tx: &mut Tx, id: WebhookId) -> Result<Webhook, RedoError> {
    let webhook = webhooks::find(tx, None, id).await?.ok_or(RedoError::NotFound)?;
    if is_active(&webhook) { Ok(webhook) } else { Err(RedoError::NotActive) }
}

fn is_active(webhook: &Webhook) -> bool {
    webhook.settings.active && webhook.health.disabled_at.is_none() && !webhook.account_suspended
}

async fn begin_anew(tx: &mut Tx, again: Vec<store::Again>, now_ms: i64) -> db::Result<u64> {
    let begun = store::begin_anew(tx, again).await?;
    let mut promotions = Vec::new();
    for (webhook, order_key) in &begun {
        if let Some(order_key) = order_key.clone() {
            promotions.push(Promotion { webhook: db::decode("deliveries.webhook_id", webhook)?, order_key });
        }
    }
    promote(tx, &promotions, now_ms).await?;
    Ok(begun.len() as u64)
}
