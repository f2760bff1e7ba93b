//! The statements by which deliveries are begun anew. Each of their webhooks' rows in `webhook_health` is locked before.

use clearway_config::{AccountId, DeliveryId, EventId, WebhookId};
use serde::Serialize;
use sqlx::{FromRow, types::Json};

use super::Selection;
use crate::db::{self, On, PerEngine, Tx};

#[derive(Debug, FromRow)]
pub(in super::super) struct Selected {
    pub(super) id: String,
    pub(super) webhook_id: String,
    pub(super) sequence: i64,
}

/// A finished delivery, and when it is due again: in its turn, where it has an order key, but no sooner.
#[derive(Debug, Serialize)]
pub(super) struct Again {
    pub(super) id: String,
    pub(super) at: i64,
}

/// Finished deliveries whose event is kept and whose webhook is active, the oldest first.
pub(super) async fn select(tx: &mut Tx, selection: &Selection, most: u32) -> db::Result<Vec<Selected>> {
    let floor = |ms: i64| DeliveryId::new(u64::try_from(ms).unwrap_or(0), 0).to_string();
    tx.query(PerEngine {
        sqlite: "SELECT d.id, d.webhook_id, d.sequence
                 FROM deliveries d
                 JOIN webhooks w ON w.id = d.webhook_id
                 LEFT JOIN webhook_health h ON h.webhook_id = d.webhook_id
                 WHERE d.account_id = $1 AND d.id >= $2 AND d.id < $3
                   AND (CAST($4 AS TEXT) IS NULL OR d.webhook_id = $4)
                   AND (CAST($5 AS TEXT) IS NULL OR d.event_type = $5)
                   AND (CAST($6 AS TEXT) IS NULL OR d.object_id = $6)
                   AND d.state IN (SELECT value FROM json_each($7)) AND d.completed_at IS NOT NULL
                   AND w.active AND h.disabled_at IS NULL
                   AND EXISTS (SELECT 1 FROM events e WHERE e.sequence = d.sequence)
                 ORDER BY d.id
                 LIMIT $8",
        postgres: "SELECT d.id, d.webhook_id, d.sequence
                   FROM deliveries d
                   JOIN webhooks w ON w.id = d.webhook_id
                   LEFT JOIN webhook_health h ON h.webhook_id = d.webhook_id
                   WHERE d.account_id = $1 AND d.id >= $2 AND d.id < $3
                     AND (CAST($4 AS TEXT) IS NULL OR d.webhook_id = $4)
                     AND (CAST($5 AS TEXT) IS NULL OR d.event_type = $5)
                     AND (CAST($6 AS TEXT) IS NULL OR d.object_id = $6)
                     AND d.state IN (SELECT jsonb_array_elements_text($7)) AND d.completed_at IS NOT NULL
                     AND w.active AND h.disabled_at IS NULL
                     AND EXISTS (SELECT 1 FROM events e WHERE e.sequence = d.sequence)
                   ORDER BY d.id
                   LIMIT $8",
    })
    .bind(selection.account.to_string())
    .bind(floor(selection.from))
    .bind(floor(selection.to))
    .bind(selection.webhook.map(|id| id.to_string()))
    .bind(selection.event_type.clone())
    .bind(selection.object_id.clone())
    .bind(Json(&selection.states))
    .bind(i64::from(most))
    .all()
    .await
}

/// Webhook and order key of those that were begun anew; one that is under way is left out.
pub(super) async fn begin_anew(tx: &mut Tx, again: Vec<Again>) -> db::Result<Vec<(String, Option<String>)>> {
    tx.query(PerEngine {
        sqlite: "UPDATE deliveries
                 SET state = CASE WHEN order_key IS NULL THEN 'pending' ELSE 'waiting' END,
                     due_at = CASE WHEN order_key IS NULL THEN again.at END,
                     not_before = CASE WHEN order_key IS NULL THEN NULL ELSE again.at END, claimed = FALSE, schedule_start = attempts, completed_at = NULL
                 FROM (SELECT value ->> 'id' AS id, value ->> 'at' AS at FROM json_each($1)) again
                 WHERE deliveries.id = again.id AND completed_at IS NOT NULL
                 RETURNING webhook_id, order_key",
        postgres: "UPDATE deliveries
                   SET state = CASE WHEN order_key IS NULL THEN 'pending' ELSE 'waiting' END,
                       due_at = CASE WHEN order_key IS NULL THEN again.at END,
                       not_before = CASE WHEN order_key IS NULL THEN NULL ELSE again.at END, claimed = FALSE, schedule_start = attempts, completed_at = NULL
                   FROM jsonb_to_recordset($1) AS again (id TEXT, at BIGINT)
                   WHERE deliveries.id = again.id AND completed_at IS NOT NULL
                   RETURNING webhook_id, order_key",
    })
    .bind(Json(again))
    .all()
    .await
}

/// Has a delivery that waits for its next attempt due now.
pub(super) async fn hasten(tx: &mut Tx, id: DeliveryId, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE deliveries SET due_at = $2 WHERE id = $1 AND state = 'pending' AND NOT claimed AND due_at > $2")
        .bind(id.to_string())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// An event of an account, and whether a webhook has a delivery of it.
#[derive(Debug, FromRow)]
pub(super) struct Candidate {
    pub(super) sequence: i64,
    pub(super) event_type: String,
    pub(super) object_id: Option<String>,
    pub(super) body: String,
    pub(super) delivered: bool,
}

/// An event that a webhook has no delivery of.
#[derive(Debug, Serialize)]
pub(in super::super) struct Missed {
    #[serde(rename = "s")]
    sequence: i64,
    #[serde(rename = "t")]
    event_type: String,
    #[serde(rename = "o")]
    pub(super) object_id: Option<String>,
}

impl From<Candidate> for Missed {
    fn from(event: Candidate) -> Self {
        Self { sequence: event.sequence, event_type: event.event_type, object_id: event.object_id }
    }
}

/// Those that have been fanned out; others are still to come.
pub(super) async fn events_since(
    tx: &mut Tx,
    account: AccountId,
    webhook: WebhookId,
    since: i64,
    after: i64,
    limit: u32,
) -> db::Result<Vec<Candidate>> {
    tx.query(
        "SELECT e.sequence, e.type AS event_type, e.object_id, e.body,
                EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_id = $2 AND d.sequence = e.sequence) AS delivered
         FROM events e
         WHERE e.account_id = $1 AND e.sequence > $4 AND e.created_at >= $3 AND e.only_for IS NULL
           AND e.sequence <= (SELECT fanned_out FROM dispatch)
         ORDER BY e.sequence
         LIMIT $5",
    )
    .bind(account.to_string())
    .bind(webhook.to_string())
    .bind(since)
    .bind(after)
    .bind(i64::from(limit))
    .all()
    .await
}

/// A delivery of an event that was missed, and when it is due; one with an order key waits for its turn too.
#[derive(Debug, Serialize)]
pub(super) struct MadeUp {
    pub(super) id: DeliveryId,
    #[serde(flatten)]
    pub(super) event: Missed,
    #[serde(rename = "k")]
    pub(super) order_key: Option<String>,
    #[serde(rename = "d")]
    pub(super) at: i64,
}

pub(super) async fn insert_made_up(
    tx: &mut Tx,
    account: AccountId,
    webhook: WebhookId,
    rows: Vec<MadeUp>,
    now_ms: i64,
) -> db::Result<u64> {
    tx.query(PerEngine {
        sqlite: "INSERT INTO deliveries
                     (id, account_id, webhook_id, sequence, event_type, object_id, order_key, state, due_at, claimed, attempts,
                      schedule_start, not_before, created_at)
                 SELECT value ->> 'id', $2, $3, value ->> 's', value ->> 't', value ->> 'o', value ->> 'k',
                        CASE WHEN value ->> 'k' IS NULL THEN 'pending' ELSE 'waiting' END,
                        CASE WHEN value ->> 'k' IS NULL THEN value ->> 'd' END, FALSE, 0, 0, value ->> 'd', $4
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO deliveries
                       (id, account_id, webhook_id, sequence, event_type, object_id, order_key, state, due_at, claimed, attempts,
                        schedule_start, not_before, created_at)
                   SELECT id, $2, $3, s, t, o, k, CASE WHEN k IS NULL THEN 'pending' ELSE 'waiting' END,
                          CASE WHEN k IS NULL THEN d END, FALSE, 0, 0, d, $4
                   FROM jsonb_to_recordset($1) AS row (id TEXT, s BIGINT, t TEXT, o TEXT, k TEXT, d BIGINT)
                   ON CONFLICT DO NOTHING",
    })
    .bind(Json(rows))
    .bind(account.to_string())
    .bind(webhook.to_string())
    .bind(now_ms)
    .execute()
    .await
}

/// An event that is for one webhook alone: nobody else is told of it.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) id: EventId,
    pub(super) account: AccountId,
    pub(super) webhook: WebhookId,
    pub(super) event_type: String,
    pub(super) version: i64,
    pub(super) body: String,
}

/// Its sequence.
pub(super) async fn insert_trial(tx: &mut Tx, trial: Trial, now_ms: i64) -> db::Result<i64> {
    let sequence: i64 = tx.query("UPDATE event_sequence SET last = last + 1 RETURNING last").scalar().await?;
    tx.query(
        "INSERT INTO events (sequence, id, account_id, type, version, body, only_for, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(sequence)
    .bind(trial.id.to_string())
    .bind(trial.account.to_string())
    .bind(trial.event_type)
    .bind(trial.version)
    .bind(trial.body)
    .bind(trial.webhook.to_string())
    .bind(now_ms)
    .execute()
    .await?;
    Ok(sequence)
}

/// The delivery of an event to a webhook, once it has been attempted.
pub(super) async fn attempted<'c>(on: impl On<'c>, webhook: WebhookId, sequence: i64) -> db::Result<Option<String>> {
    let row: Option<(String,)> = on
        .query("SELECT id FROM deliveries WHERE webhook_id = $1 AND sequence = $2 AND (attempts > 0 OR completed_at IS NOT NULL)")
        .bind(webhook.to_string())
        .bind(sequence)
        .optional()
        .await?;
    Ok(row.map(|(id,)| id))
}
