//! What is forgotten.

use sqlx::types::Json;

use crate::db::{self, Db, PerEngine};

/// What deleted webhooks left: a row with something due is come to at once, one without is removed.
pub(in super::super) async fn tidy_health(db: &Db, now_ms: i64) -> db::Result<()> {
    db.query(
        "UPDATE webhook_health
         SET due_at = $1
         WHERE due_at > $1 AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.id = webhook_health.webhook_id)",
    )
    .bind(now_ms)
    .execute()
    .await?;
    db.query(
        "DELETE FROM webhook_health
         WHERE due_at IS NULL AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.id = webhook_health.webhook_id)",
    )
    .execute()
    .await
    .map(|_| ())
}

/// For how many days plans keep events; there are few plans.
pub(in super::super) async fn retentions(db: &Db) -> db::Result<Vec<i64>> {
    let rows: Vec<(i64,)> =
        db.query("SELECT DISTINCT event_retention_days FROM plans ORDER BY event_retention_days LIMIT 1000").all().await?;
    Ok(rows.into_iter().map(|(days,)| days).collect())
}

/// The next deliveries made before `end`, and whether each is finished and of an account that keeps it no longer than `days`.
pub(in super::super) async fn deliveries_over(
    db: &Db,
    after: &str,
    end: String,
    days: i64,
    limit: u32,
) -> db::Result<Vec<(String, bool)>> {
    db.query(
        "SELECT d.id, d.completed_at IS NOT NULL AND COALESCE(p.event_retention_days, 0) <= $3
         FROM deliveries d
         LEFT JOIN subscriptions s ON s.account_id = d.account_id AND s.ended_at IS NULL
         LEFT JOIN plans p ON p.name = s.plan
         WHERE d.id > $1 AND d.id < $2
         ORDER BY d.id
         LIMIT $4",
    )
    .bind(after.to_owned())
    .bind(end)
    .bind(days)
    .bind(i64::from(limit))
    .all()
    .await
}

/// Those that are finished still, with their attempts.
pub(in super::super) async fn remove_deliveries(db: &Db, ids: Vec<String>) -> db::Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mut tx = db.begin().await?;
    let removed: Vec<(String,)> = tx
        .query(PerEngine {
            sqlite: "DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each($1)) AND completed_at IS NOT NULL RETURNING id",
            postgres: "DELETE FROM deliveries WHERE id IN (SELECT jsonb_array_elements_text($1)) AND completed_at IS NOT NULL RETURNING id",
        })
        .bind(Json(ids))
        .all()
        .await?;
    let removed: Vec<String> = removed.into_iter().map(|(id,)| id).collect();
    let count = removed.len() as u64;
    tx.query(PerEngine {
        sqlite: "DELETE FROM attempts WHERE delivery_id IN (SELECT value FROM json_each($1))",
        postgres: "DELETE FROM attempts WHERE delivery_id IN (SELECT jsonb_array_elements_text($1))",
    })
    .bind(Json(removed))
    .execute()
    .await?;
    tx.commit().await?;
    Ok(count)
}

/// The next events, as long as they are from before `before`, and whether each has been fanned out, is not on its way to
/// anybody, and is of an account that keeps it no longer than `days`.
pub(in super::super) async fn events_over(
    db: &Db,
    after: i64,
    before: i64,
    days: i64,
    limit: u32,
) -> db::Result<Vec<(i64, bool)>> {
    let rows: Vec<(i64, i64, bool)> = db
        .query(
            "SELECT e.sequence, e.created_at,
                    COALESCE(p.event_retention_days, 0) <= $2
                        AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.sequence = e.sequence AND d.completed_at IS NULL)
             FROM events e
             LEFT JOIN subscriptions s ON s.account_id = e.account_id AND s.ended_at IS NULL
             LEFT JOIN plans p ON p.name = s.plan
             WHERE e.sequence > $1 AND e.sequence <= (SELECT fanned_out FROM dispatch)
             ORDER BY e.sequence
             LIMIT $3",
        )
        .bind(after)
        .bind(days)
        .bind(i64::from(limit))
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .take_while(|(_, created_at, _)| *created_at < before)
        .map(|(sequence, _, over)| (sequence, over))
        .collect())
}

pub(in super::super) async fn remove_events(db: &Db, sequences: Vec<i64>) -> db::Result<u64> {
    if sequences.is_empty() {
        return Ok(0);
    }
    db.query(PerEngine {
        sqlite: "DELETE FROM events
                 WHERE sequence IN (SELECT value FROM json_each($1))
                   AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.sequence = events.sequence AND d.completed_at IS NULL)",
        postgres: "DELETE FROM events
                   WHERE sequence IN (SELECT CAST(jsonb_array_elements_text($1) AS BIGINT))
                     AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.sequence = events.sequence AND d.completed_at IS NULL)",
    })
    .bind(Json(sequences))
    .execute()
    .await
}
