//! Reads of `deliveries` and `attempts`, for people.

use std::{fmt, str::FromStr};

use clearway_config::{AccountId, DeliveryId, EventId, WebhookId};
use sqlx::FromRow;

use crate::{
    db::{self, On, Page, cut},
    http::Paging,
};

#[derive(Debug, Clone, FromRow)]
pub(in super::super) struct Delivery {
    pub(in super::super) id: String,
    pub(in super::super) account_id: String,
    pub(in super::super) webhook_id: String,
    /// `None`: it is no longer kept.
    pub(in super::super) event_id: Option<String>,
    pub(in super::super) event_type: String,
    pub(in super::super) object_id: Option<String>,
    pub(in super::super) state: String,
    pub(in super::super) due_at: Option<i64>,
    pub(in super::super) claimed: bool,
    pub(in super::super) attempts: i64,
    pub(in super::super) last_status: Option<i64>,
    pub(in super::super) last_failure: Option<String>,
    pub(in super::super) created_at: i64,
    pub(in super::super) completed_at: Option<i64>,
}

#[derive(Debug, FromRow)]
pub(super) struct Attempt {
    pub(super) delivery_id: String,
    pub(super) number: i64,
    pub(super) started_at: i64,
    pub(super) duration_us: i64,
    pub(super) status: Option<i64>,
    pub(super) failure: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) address: Option<String>,
    pub(super) request_headers: String,
    pub(super) response_headers: String,
    pub(super) response_body: String,
    pub(super) response_body_cut: bool,
    pub(super) next_attempt_at: Option<i64>,
}

/// One line of a webhook's log: an attempt, and what it was of.
#[derive(Debug, FromRow)]
pub(super) struct Line {
    #[sqlx(flatten)]
    pub(super) attempt: Attempt,
    pub(super) event_id: Option<String>,
    pub(super) event_type: String,
    pub(super) object_id: Option<String>,
}

/// Which deliveries are asked for; what is `None` does not matter.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) webhook: Option<WebhookId>,
    pub(super) event: Option<EventId>,
    pub(super) event_type: Option<String>,
    pub(super) object_id: Option<String>,
    pub(super) state: Option<&'static str>,
    /// Of the last attempt's answer.
    pub(super) status: Option<i64>,
    /// When it was made.
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
}

pub(in super::super) async fn find<'c>(
    on: impl On<'c>,
    account: Option<AccountId>,
    id: DeliveryId,
) -> db::Result<Option<Delivery>> {
    on.query(
        "SELECT d.id, d.account_id, d.webhook_id, e.id AS event_id, d.event_type, d.object_id, d.state, d.due_at, d.claimed,
                d.attempts, d.last_status, d.last_failure, d.created_at, d.completed_at
         FROM deliveries d
         LEFT JOIN events e ON e.sequence = d.sequence
         WHERE d.id = $1 AND (CAST($2 AS TEXT) IS NULL OR d.account_id = $2)",
    )
    .bind(id.to_string())
    .bind(account.map(|id| id.to_string()))
    .optional()
    .await
}

/// An account's deliveries, newest first.
pub(super) async fn list<'c>(
    on: impl On<'c>,
    account: AccountId,
    filter: Filter,
    paging: Paging<DeliveryId>,
) -> db::Result<Page<Delivery, String>> {
    // Ids begin with the time of their making: bounds in time are bounds in the index.
    let floor = |ms: i64| DeliveryId::new(u64::try_from(ms).unwrap_or(0), 0).to_string();
    let rows = on
        .query(
            "SELECT d.id, d.account_id, d.webhook_id, e.id AS event_id, d.event_type, d.object_id, d.state, d.due_at, d.claimed,
                    d.attempts, d.last_status, d.last_failure, d.created_at, d.completed_at
             FROM deliveries d
             LEFT JOIN events e ON e.sequence = d.sequence
             WHERE d.account_id = $1
               AND (CAST($2 AS TEXT) IS NULL OR d.webhook_id = $2)
               AND (CAST($3 AS TEXT) IS NULL OR d.sequence = (SELECT sequence FROM events WHERE id = $3))
               AND (CAST($4 AS TEXT) IS NULL OR d.event_type = $4)
               AND (CAST($5 AS TEXT) IS NULL OR d.object_id = $5)
               AND (CAST($6 AS TEXT) IS NULL OR d.state = $6)
               AND (CAST($7 AS BIGINT) IS NULL OR d.last_status = $7)
               AND d.id >= $8 AND d.id < $9
             ORDER BY d.id DESC
             LIMIT $10 OFFSET $11",
        )
        .bind(account.to_string())
        .bind(filter.webhook.map(|id| id.to_string()))
        .bind(filter.event.map(|id| id.to_string()))
        .bind(filter.event_type)
        .bind(filter.object_id)
        .bind(filter.state)
        .bind(filter.status)
        .bind(floor(filter.from.unwrap_or(0)))
        .bind(paging.cursor.map_or_else(|| filter.to.map_or_else(|| "dlv_~".to_owned(), floor), |id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Delivery>()
        .await?;
    Ok(cut(rows, paging.limit, |row| row.id.clone()))
}

/// Every attempt of a delivery, the first one first. There are few: a schedule is short, and each new one was asked for.
pub(super) async fn attempts<'c>(on: impl On<'c>, id: &str) -> db::Result<Vec<Attempt>> {
    let mut newest: Vec<Attempt> = on
        .query(
            "SELECT delivery_id, number, started_at, duration_us, status, failure, reason, address, request_headers,
                    response_headers, response_body, response_body_cut, next_attempt_at
             FROM attempts
             WHERE delivery_id = $1
             ORDER BY number DESC
             LIMIT 100",
        )
        .bind(id.to_owned())
        .all()
        .await?;
    newest.reverse();
    Ok(newest)
}

/// The place of a line in a webhook's log, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineId {
    pub(super) delivery: DeliveryId,
    pub(super) number: u32,
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delivery = self.delivery.to_string();
        let digits = delivery.strip_prefix("dlv_").unwrap_or(&delivery);
        write!(f, "log_{digits}_{}", self.number)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not the id of a line of the log")]
pub(super) struct MalformedLine;

impl FromStr for LineId {
    type Err = MalformedLine;

    fn from_str(text: &str) -> Result<Self, MalformedLine> {
        let (digits, number) = text.strip_prefix("log_").and_then(|rest| rest.split_once('_')).ok_or(MalformedLine)?;
        let delivery = format!("dlv_{digits}").parse().map_err(|_| MalformedLine)?;
        Ok(Self { delivery, number: number.parse().map_err(|_| MalformedLine)? })
    }
}

/// A webhook's log: its attempts, those of the newest events first. `failed` leaves the others out.
pub(super) async fn lines<'c>(
    on: impl On<'c>,
    webhook: WebhookId,
    event_type: Option<String>,
    status: Option<i64>,
    paging: Paging<LineId>,
) -> db::Result<Page<Line, String>> {
    let rows = on
        .query(
            "SELECT a.delivery_id, a.number, a.started_at, a.duration_us, a.status, a.failure, a.reason, a.address,
                    a.request_headers, a.response_headers, a.response_body, a.response_body_cut, a.next_attempt_at,
                    e.id AS event_id, d.event_type, d.object_id
             FROM deliveries d
             JOIN attempts a ON a.delivery_id = d.id
             LEFT JOIN events e ON e.sequence = d.sequence
             WHERE d.webhook_id = $1
               AND (CAST($2 AS TEXT) IS NULL OR d.event_type = $2)
               AND (CAST($3 AS BIGINT) IS NULL OR a.status = $3)
               AND (CAST($4 AS TEXT) IS NULL
                    OR d.sequence <= (SELECT sequence FROM deliveries WHERE id = $4) AND (d.id <> $4 OR a.number < $5))
             ORDER BY d.sequence DESC, a.number DESC
             LIMIT $6 OFFSET $7",
        )
        .bind(webhook.to_string())
        .bind(event_type)
        .bind(status)
        .bind(paging.cursor.map(|line| line.delivery.to_string()))
        .bind(paging.cursor.map(|line| i64::from(line.number)))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Line>()
        .await?;
    Ok(cut(rows, paging.limit, |line| line.attempt.line_id()))
}

impl Attempt {
    /// As [`LineId`] is written.
    pub(super) fn line_id(&self) -> String {
        format!("log_{}_{}", self.delivery_id.trim_start_matches("dlv_"), self.number)
    }
}

/// How many deliveries are unfinished, up to `most`, and when the first of those that are due became so.
pub(in super::super) async fn backlog<'c>(on: impl On<'c>, most: i64) -> db::Result<(i64, Option<i64>)> {
    on.query(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE completed_at IS NULL LIMIT $1) AS unfinished) AS pending,
                (SELECT MIN(due_at) FROM webhook_health WHERE due_at IS NOT NULL) AS oldest",
    )
    .bind(most)
    .one()
    .await
}
