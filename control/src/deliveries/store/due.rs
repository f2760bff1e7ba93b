//! The queue of queues, `webhook_health.due_at`, and what is taken from behind it.

use std::{collections::HashMap, sync::Arc};

use clearway_config::{AccountId, DeliveryId, EventId, WebhookId};
use sqlx::{FromRow, types::Json};

use super::super::board::{Claimed, Event};
use crate::db::{self, PerEngine, Tx};

/// Holds these rows to the commit; see the lock order above. One that is not there is made.
pub(in super::super) async fn lock_health(tx: &mut Tx, mut ids: Vec<WebhookId>) -> db::Result<()> {
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    tx.query(PerEngine {
        sqlite: "SELECT value FROM json_each($1)",
        postgres: "SELECT h.webhook_id
                   FROM jsonb_array_elements_text($1) wanted (id)
                   JOIN webhook_health h ON h.webhook_id = wanted.id
                   ORDER BY h.webhook_id
                   FOR UPDATE OF h",
    })
    .bind(Json(ids))
    .execute()
    .await
    .map(|_| ())
}

/// Notes that deliveries of webhooks are due no later than this.
pub(in super::super) async fn note_due(tx: &mut Tx, due: &HashMap<WebhookId, i64>) -> db::Result<()> {
    if due.is_empty() {
        return Ok(());
    }
    let mut due: Vec<(WebhookId, i64)> = due.iter().map(|(webhook, at)| (*webhook, *at)).collect();
    due.sort_unstable();
    tx.query(PerEngine {
        sqlite: "INSERT INTO webhook_health (webhook_id, due_at)
                 SELECT value ->> 0, value ->> 1
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT (webhook_id) DO UPDATE SET due_at = excluded.due_at
                 WHERE webhook_health.due_at IS NULL OR webhook_health.due_at > excluded.due_at",
        postgres: "INSERT INTO webhook_health (webhook_id, due_at)
                   SELECT row ->> 0, CAST(row ->> 1 AS BIGINT)
                   FROM jsonb_array_elements($1) AS row
                   ON CONFLICT (webhook_id) DO UPDATE SET due_at = excluded.due_at
                   WHERE webhook_health.due_at IS NULL OR webhook_health.due_at > excluded.due_at",
    })
    .bind(Json(due))
    .execute()
    .await
    .map(|_| ())
}

/// When to look at a webhook again.
pub(in super::super) async fn look_again(tx: &mut Tx, webhook: WebhookId, at: i64) -> db::Result<()> {
    tx.query("UPDATE webhook_health SET due_at = $2 WHERE webhook_id = $1")
        .bind(webhook.to_string())
        .bind(at)
        .execute()
        .await
        .map(|_| ())
}

#[derive(Debug, FromRow)]
struct DueRow {
    id: String,
    sequence: i64,
    attempts: i64,
    schedule_start: i64,
    order_key: Option<String>,
    event_id: Option<String>,
    account_id: String,
    event_type: String,
    object_id: Option<String>,
    body: Option<String>,
    accepted_at: Option<i64>,
}

/// The deliveries of a webhook that are due, the longest overdue first, with what is to be posted.
pub(in super::super) async fn due_of(tx: &mut Tx, webhook: WebhookId, now_ms: i64, limit: usize) -> db::Result<Vec<Claimed>> {
    let rows: Vec<DueRow> = tx
        .query(
            "SELECT d.id, d.sequence, d.attempts, d.schedule_start, d.order_key, e.id AS event_id, d.account_id, d.event_type,
                    d.object_id, e.body, e.created_at AS accepted_at
             FROM deliveries d
             LEFT JOIN events e ON e.sequence = d.sequence
             WHERE d.webhook_id = $1 AND d.due_at <= $2
             ORDER BY d.due_at, d.sequence
             LIMIT $3",
        )
        .bind(webhook.to_string())
        .bind(now_ms)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .all()
        .await?;
    let narrow = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    let claimed = |row: DueRow| {
        let account: AccountId = db::decode("deliveries.account_id", &row.account_id)?;
        let event = match (row.event_id, row.body, row.accepted_at) {
            (Some(id), Some(body), Some(created_at)) => Some(Arc::new(Event {
                sequence: row.sequence,
                id: db::decode::<EventId>("events.id", &id)?,
                account,
                kind: row.event_type,
                object_id: row.object_id,
                body: body.into(),
                created_at,
                only_for: None,
            })),
            _ => None,
        };
        Ok(Claimed {
            id: db::decode("deliveries.id", &row.id)?,
            webhook,
            attempts: narrow(row.attempts),
            schedule_start: narrow(row.schedule_start),
            order_key: row.order_key,
            event,
        })
    };
    rows.into_iter().map(claimed).collect()
}

pub(in super::super) async fn claim(tx: &mut Tx, ids: Vec<DeliveryId>, until: i64) -> db::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    tx.query(PerEngine {
        sqlite: "UPDATE deliveries SET claimed = TRUE, due_at = $2 WHERE id IN (SELECT value FROM json_each($1))",
        postgres: "UPDATE deliveries SET claimed = TRUE, due_at = $2 WHERE id IN (SELECT jsonb_array_elements_text($1))",
    })
    .bind(Json(ids))
    .bind(until)
    .execute()
    .await
    .map(|_| ())
}

/// Brings the queue of queues to what is due of these webhooks. Their rows must be locked.
pub(in super::super) async fn settle_due(tx: &mut Tx, ids: Vec<WebhookId>) -> db::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    tx.query(PerEngine {
        sqlite: "UPDATE webhook_health
                 SET due_at = (SELECT MIN(d.due_at) FROM deliveries d WHERE d.webhook_id = webhook_health.webhook_id AND d.due_at IS NOT NULL)
                 WHERE webhook_id IN (SELECT value FROM json_each($1))",
        postgres: "UPDATE webhook_health
                   SET due_at = (SELECT MIN(d.due_at) FROM deliveries d WHERE d.webhook_id = webhook_health.webhook_id AND d.due_at IS NOT NULL)
                   WHERE webhook_id IN (SELECT jsonb_array_elements_text($1))",
    })
    .bind(Json(ids))
    .execute()
    .await
    .map(|_| ())
}
