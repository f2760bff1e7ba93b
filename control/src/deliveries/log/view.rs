//! Deliveries and attempts on the wire.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::model::State,
    store::{Attempt, Delivery, Line},
};
use crate::{
    db::{self, Db},
    http::time::rfc3339,
};

/// An event on its way to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct DeliveryView {
    /// `dlv_…`
    id: String,
    account_id: String,
    webhook_id: String,
    /// `evt_…`; null once the event is no longer kept.
    event_id: Option<String>,
    event_type: String,
    object_id: Option<String>,
    #[schema(value_type = State)]
    state: String,
    /// Those that were made so far.
    attempts: i64,
    /// Of the last attempt's answer; null where there was none.
    last_status_code: Option<i64>,
    /// Why the last attempt had no answer, or why it was cancelled; `unwritable` where the database refused its row.
    last_failure: Option<String>,
    /// RFC 3339; of a pending one that is not being attempted at this moment.
    next_attempt_at: Option<String>,
    created_at: String,
    /// When it succeeded, failed or was cancelled.
    completed_at: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(row: Delivery) -> Self {
        Self {
            id: row.id,
            account_id: row.account_id,
            webhook_id: row.webhook_id,
            event_id: row.event_id,
            event_type: row.event_type,
            object_id: row.object_id,
            state: row.state,
            attempts: row.attempts,
            last_status_code: row.last_status,
            last_failure: row.last_failure,
            next_attempt_at: row.due_at.filter(|_| !row.claimed).map(rfc3339),
            created_at: rfc3339(row.created_at),
            completed_at: row.completed_at.map(rfc3339),
        }
    }
}

/// A header field, as it was sent or received; what may be secret is masked.
#[derive(Debug, Serialize, ToSchema)]
struct HeaderView {
    name: String,
    value: String,
}

/// One try of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct AttemptView {
    /// From 1.
    number: i64,
    started_at: String,
    duration_ms: f64,
    /// Null where there was no answer.
    status_code: Option<i64>,
    /// Why there was no answer, or none that counts, in one word.
    failure: Option<String>,
    /// The same in a sentence.
    reason: Option<String>,
    /// Whom the proxy connected to.
    address: Option<String>,
    request_headers: Vec<HeaderView>,
    response_headers: Vec<HeaderView>,
    /// Its first 16 KiB.
    response_body: String,
    response_body_cut: bool,
    next_attempt_at: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(row: Attempt) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of an attempt, a few minutes at most")]
        let duration_ms = row.duration_us as f64 / 1_000.0;
        Self {
            number: row.number,
            started_at: rfc3339(row.started_at),
            duration_ms,
            status_code: row.status,
            failure: row.failure,
            reason: row.reason,
            address: row.address,
            request_headers: headers(&row.request_headers),
            response_headers: headers(&row.response_headers),
            response_body: row.response_body,
            response_body_cut: row.response_body_cut,
            next_attempt_at: row.next_attempt_at.map(rfc3339),
        }
    }
}

fn headers(lines: &str) -> Vec<HeaderView> {
    let header = |(name, value): (&str, &str)| HeaderView { name: name.to_owned(), value: value.to_owned() };
    lines.lines().filter_map(|line| line.split_once(": ")).map(header).collect()
}

/// A delivery with its attempts.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct DeliveryDetails {
    #[serde(flatten)]
    delivery: DeliveryView,
    /// The first one first; at most the latest 100.
    attempt_log: Vec<AttemptView>,
}

pub(in super::super) async fn details(db: &Db, delivery: Delivery) -> db::Result<DeliveryDetails> {
    let attempts = super::store::attempts(db, &delivery.id).await?;
    Ok(DeliveryDetails { delivery: delivery.into(), attempt_log: attempts.into_iter().map(AttemptView::from).collect() })
}

/// A line of a webhook's log: one attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct LogView {
    /// `log_…`
    id: String,
    event_id: Option<String>,
    event_type: String,
    object_id: Option<String>,
    delivery_id: String,
    /// From 1.
    attempt: i64,
    status_code: Option<i64>,
    /// The answer's body, its first 16 KiB.
    response: String,
    failure: Option<String>,
    reason: Option<String>,
    duration_ms: f64,
    started_at: String,
    /// When the receiver had taken it; absent where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<String>,
    /// When it was or will be tried again; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_retry_at: Option<String>,
}

impl From<Line> for LogView {
    fn from(line: Line) -> Self {
        let id = line.attempt.line_id();
        let delivery_id = line.attempt.delivery_id.clone();
        let ended_at = line.attempt.started_at.saturating_add(line.attempt.duration_us / 1_000);
        let attempt = AttemptView::from(line.attempt);
        let delivered = attempt.failure.is_none() && attempt.status_code.is_some_and(|status| (200..300).contains(&status));
        Self {
            id,
            event_id: line.event_id,
            event_type: line.event_type,
            object_id: line.object_id,
            delivery_id,
            attempt: attempt.number,
            status_code: attempt.status_code,
            response: attempt.response_body,
            failure: attempt.failure,
            reason: attempt.reason,
            duration_ms: attempt.duration_ms,
            started_at: attempt.started_at,
            delivered_at: delivered.then(|| rfc3339(ended_at)),
            next_retry_at: attempt.next_attempt_at,
        }
    }
}

/// A page of a webhook's log.
#[derive(Debug, Serialize, ToSchema)]
pub(in super::super) struct LogList {
    /// Those of the newest events first.
    pub(super) logs: Vec<LogView>,
    /// Ask for the next page with `cursor` set to this; null on the last page.
    pub(super) next_cursor: Option<String>,
}
