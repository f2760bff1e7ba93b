//! What the dispatcher reads: events that are to become deliveries, and what the webhooks are like that they are for.

use std::sync::Arc;

use clearway_config::{AccountId, WebhookId};
use sqlx::{FromRow, types::Json};

use super::super::{
    board::Event,
    lane::{Live, Terms},
};
use crate::{
    db::{self, On, PerEngine},
    webhooks::RetryPolicy,
};

#[derive(Debug, FromRow)]
struct EventRow {
    sequence: i64,
    id: String,
    account_id: String,
    #[sqlx(rename = "type")]
    kind: String,
    object_id: Option<String>,
    body: String,
    created_at: i64,
    only_for: Option<String>,
    revision: i64,
}

/// Events after a sequence, and the last revision of anything as of the same moment: whatever of webhooks was committed
/// before any of these events is within it.
pub(in super::super) async fn events_after<'c>(on: impl On<'c>, sequence: i64, limit: u32) -> db::Result<(Vec<Event>, i64)> {
    let rows: Vec<EventRow> = on
        .query(
            "SELECT e.sequence, e.id, e.account_id, e.type, e.object_id, e.body, e.created_at, e.only_for,
                    (SELECT CAST(COALESCE(MAX(revision), 0) AS BIGINT) FROM changes) AS revision
             FROM events e
             WHERE e.sequence > $1
             ORDER BY e.sequence
             LIMIT $2",
        )
        .bind(sequence)
        .bind(i64::from(limit))
        .all()
        .await?;
    let revision = rows.first().map_or(0, |row| row.revision);
    let event = |row: EventRow| {
        Ok(Event {
            sequence: row.sequence,
            id: db::decode("events.id", &row.id)?,
            account: db::decode("events.account_id", &row.account_id)?,
            kind: row.kind,
            object_id: row.object_id,
            body: row.body.into(),
            created_at: row.created_at,
            only_for: row.only_for.map(|id| db::decode("events.only_for", &id)).transpose()?,
        })
    };
    Ok((rows.into_iter().map(event).collect::<db::Result<_>>()?, revision))
}

#[derive(Debug, FromRow)]
struct TermsRow {
    id: String,
    account_id: Option<String>,
    active: Option<bool>,
    ordering: Option<String>,
    concurrency: Option<i64>,
    rate_limit: Option<i64>,
    retry_policy: Option<Json<RetryPolicy>>,
    suspended_at: Option<i64>,
    failing_since: Option<i64>,
    warned_at: Option<i64>,
    disabled_at: Option<i64>,
}

/// Webhooks that have due deliveries, the longest overdue first; those in `except` are known.
pub(in super::super) async fn due<'c>(
    on: impl On<'c>,
    now_ms: i64,
    except: Vec<WebhookId>,
    limit: u32,
) -> db::Result<Vec<Arc<Terms>>> {
    let rows: Vec<TermsRow> = on
        .query(PerEngine {
            sqlite: "SELECT h.webhook_id AS id, w.account_id, w.active, w.ordering, w.concurrency, w.rate_limit, w.retry_policy,
                            a.suspended_at, h.failing_since, h.warned_at, h.disabled_at
                     FROM webhook_health h
                     LEFT JOIN webhooks w ON w.id = h.webhook_id
                     LEFT JOIN accounts a ON a.id = w.account_id
                     WHERE h.due_at <= $1 AND h.webhook_id NOT IN (SELECT value FROM json_each($2))
                     ORDER BY h.due_at
                     LIMIT $3",
            postgres:
                "SELECT h.webhook_id AS id, w.account_id, w.active, w.ordering, w.concurrency, w.rate_limit, w.retry_policy,
                              a.suspended_at, h.failing_since, h.warned_at, h.disabled_at
                       FROM webhook_health h
                       LEFT JOIN webhooks w ON w.id = h.webhook_id
                       LEFT JOIN accounts a ON a.id = w.account_id
                       WHERE h.due_at <= $1 AND h.webhook_id NOT IN (SELECT jsonb_array_elements_text($2))
                       ORDER BY h.due_at
                       LIMIT $3",
        })
        .bind(now_ms)
        .bind(Json(except))
        .bind(i64::from(limit))
        .all()
        .await?;
    rows.into_iter().map(terms_of).collect()
}

/// What webhooks are like now; one that is gone is left out.
pub(in super::super) async fn terms<'c>(on: impl On<'c>, ids: Vec<WebhookId>) -> db::Result<Vec<Arc<Terms>>> {
    let rows: Vec<TermsRow> = on
        .query(PerEngine {
            sqlite: "SELECT w.id, w.account_id, w.active, w.ordering, w.concurrency, w.rate_limit, w.retry_policy,
                            a.suspended_at, h.failing_since, h.warned_at, h.disabled_at
                     FROM json_each($1) wanted
                     JOIN webhooks w ON w.id = wanted.value
                     JOIN accounts a ON a.id = w.account_id
                     LEFT JOIN webhook_health h ON h.webhook_id = w.id",
            postgres: "SELECT w.id, w.account_id, w.active, w.ordering, w.concurrency, w.rate_limit, w.retry_policy,
                              a.suspended_at, h.failing_since, h.warned_at, h.disabled_at
                       FROM jsonb_array_elements_text($1) wanted (id)
                       JOIN webhooks w ON w.id = wanted.id
                       JOIN accounts a ON a.id = w.account_id
                       LEFT JOIN webhook_health h ON h.webhook_id = w.id",
        })
        .bind(Json(ids))
        .all()
        .await?;
    rows.into_iter().map(terms_of).collect()
}

fn terms_of(row: TermsRow) -> db::Result<Arc<Terms>> {
    let live = match (&row.account_id, row.active) {
        (None, _) => Live::Deleted,
        _ if row.disabled_at.is_some() => Live::Disabled,
        (Some(_), Some(true)) if row.suspended_at.is_none() => Live::Yes,
        _ => Live::Resting,
    };
    let narrow = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Arc::new(Terms {
        id: db::decode("webhooks.id", &row.id)?,
        account: match &row.account_id {
            Some(id) => db::decode("webhooks.account_id", id)?,
            None => AccountId::from_bytes([0; 16]),
        },
        live,
        ordered: row.ordering.as_deref() == Some("object"),
        concurrency: row.concurrency.map_or(1, narrow),
        rate_limit: row.rate_limit.map(narrow),
        retry: row.retry_policy.map_or(RetryPolicy::default(), |Json(policy)| policy),
        failing_since: row.failing_since,
        warned: row.warned_at.is_some(),
    }))
}
