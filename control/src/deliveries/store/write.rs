//! What a batch changes of deliveries and attempts.

use std::collections::HashMap;

use clearway_config::WebhookId;
use serde::Serialize;
use sqlx::types::Json;

use super::super::batch::{Batch, Cancel, Promotion};
use crate::db::{self, PerEngine, Tx};

/// Rows for one of the three statements below, as text: PostgreSQL reads `JSON` in two thirds of the time of `JSONB`.
fn json<T: Serialize>(rows: &[T]) -> String {
    serde_json::to_string(rows).expect("rows have text keys and no failing parts")
}

/// Inserts deliveries with all that is known of them; one that is there already stays as it is.
pub(in super::super) async fn insert(tx: &mut Tx, batch: &Batch) -> db::Result<()> {
    if batch.inserts.is_empty() {
        return Ok(());
    }
    tx.query(PerEngine {
        sqlite: "INSERT INTO deliveries
                     (id, account_id, webhook_id, sequence, event_type, object_id, order_key, state, due_at, claimed, attempts,
                      schedule_start, last_status, last_failure, created_at, completed_at)
                 SELECT value ->> 'id', value ->> 'a', value ->> 'w', value ->> 's', value ->> 't', value ->> 'o', value ->> 'k',
                        value ->> 'st', value ->> 'd', value ->> 'c', value ->> 'n', 0, value ->> 'ls', value ->> 'lf',
                        value ->> 'm', value ->> 'e'
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO deliveries
                       (id, account_id, webhook_id, sequence, event_type, object_id, order_key, state, due_at, claimed, attempts,
                        schedule_start, last_status, last_failure, created_at, completed_at)
                   SELECT id, a, w, s, t, o, k, st, d, c, n, 0, ls, lf, m, e
                   FROM json_to_recordset(CAST($1 AS JSON)) AS row (id TEXT, a TEXT, w TEXT, s BIGINT, t TEXT, o TEXT, k TEXT, st TEXT,
                        d BIGINT, c BOOLEAN, n BIGINT, ls BIGINT, lf TEXT, m BIGINT, e BIGINT)
                   ON CONFLICT DO NOTHING",
    })
    .bind(json(&batch.inserts))
    .execute()
    .await
    .map(|_| ())
}

/// Brings deliveries to where they are; what the last attempt came to stays where there was none. Only those that are claimed:
/// one that this batch has brought there before, when nobody heard of it, may have been begun anew since.
pub(in super::super) async fn update(tx: &mut Tx, batch: &Batch) -> db::Result<()> {
    if batch.updates.is_empty() {
        return Ok(());
    }
    tx.query(PerEngine {
        sqlite: "UPDATE deliveries
                 SET state = u.st, due_at = u.d, claimed = u.c, attempts = u.n, completed_at = u.e,
                     last_status = CASE WHEN u.n > attempts THEN u.ls ELSE last_status END,
                     last_failure = CASE WHEN u.n > attempts OR u.lf IS NOT NULL THEN u.lf ELSE last_failure END
                 FROM (SELECT value ->> 'id' AS id, value ->> 'st' AS st, value ->> 'd' AS d, value ->> 'c' AS c,
                              value ->> 'n' AS n, value ->> 'e' AS e, value ->> 'ls' AS ls, value ->> 'lf' AS lf
                       FROM json_each($1)) u
                 WHERE deliveries.id = u.id AND claimed",
        postgres: "UPDATE deliveries
                   SET state = u.st, due_at = u.d, claimed = u.c, attempts = u.n, completed_at = u.e,
                       last_status = CASE WHEN u.n > attempts THEN u.ls ELSE last_status END,
                       last_failure = CASE WHEN u.n > attempts OR u.lf IS NOT NULL THEN u.lf ELSE last_failure END
                   FROM json_to_recordset(CAST($1 AS JSON)) AS u (id TEXT, st TEXT, d BIGINT, c BOOLEAN, n BIGINT, e BIGINT, ls BIGINT, lf TEXT)
                   WHERE deliveries.id = u.id AND claimed",
    })
    .bind(json(&batch.updates))
    .execute()
    .await
    .map(|_| ())
}

pub(in super::super) async fn insert_attempts(tx: &mut Tx, batch: &Batch) -> db::Result<()> {
    if batch.attempts.is_empty() {
        return Ok(());
    }
    tx.query(PerEngine {
        sqlite: "INSERT INTO attempts
                     (delivery_id, number, started_at, duration_us, status, failure, reason, address, request_headers,
                      response_headers, response_body, response_body_cut, next_attempt_at)
                 SELECT value ->> 'id', value ->> 'n', value ->> 'b', value ->> 'u', value ->> 'ls', value ->> 'lf', value ->> 'y',
                        value ->> 'p', value ->> 'qh', value ->> 'rh', value ->> 'rb', value ->> 'rc', value ->> 'x'
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO attempts
                       (delivery_id, number, started_at, duration_us, status, failure, reason, address, request_headers,
                        response_headers, response_body, response_body_cut, next_attempt_at)
                   SELECT id, n, b, u, ls, lf, y, p, qh, rh, rb, rc, x
                   FROM json_to_recordset(CAST($1 AS JSON)) AS row (id TEXT, n BIGINT, b BIGINT, u BIGINT, ls BIGINT, lf TEXT, y TEXT, p TEXT,
                        qh TEXT, rh TEXT, rb TEXT, rc BOOLEAN, x BIGINT)
                   ON CONFLICT DO NOTHING",
    })
    .bind(json(&batch.attempts))
    .execute()
    .await
    .map(|_| ())
}

/// Makes the first waiting delivery of each object due, where none of it is pending, or later where it is not to be before:
/// which webhooks have something due by that, and when.
pub(in super::super) async fn promote(tx: &mut Tx, promotions: &[Promotion], now_ms: i64) -> db::Result<HashMap<WebhookId, i64>> {
    if promotions.is_empty() {
        return Ok(HashMap::new());
    }
    // 'pending' comes before 'waiting', in the index too: the first row is a pending one, if there is any.
    let rows: Vec<(String, i64)> = tx
        .query(PerEngine {
            sqlite: "UPDATE deliveries
                     SET state = 'pending', due_at = MAX($2, COALESCE(not_before, $2))
                     WHERE state = 'waiting' AND id IN (
                         SELECT (SELECT d.id
                                 FROM deliveries d
                                 WHERE d.webhook_id = p.value ->> 'w' AND d.order_key = p.value ->> 'k' AND d.completed_at IS NULL
                                 ORDER BY d.state, d.sequence
                                 LIMIT 1)
                         FROM json_each($1) p
                     )
                     RETURNING webhook_id, due_at",
            postgres: "UPDATE deliveries
                       SET state = 'pending', due_at = GREATEST($2, COALESCE(not_before, $2))
                       WHERE state = 'waiting' AND id IN (
                           SELECT (SELECT d.id
                                   FROM deliveries d
                                   WHERE d.webhook_id = p.w AND d.order_key = p.k AND d.completed_at IS NULL
                                   ORDER BY d.state, d.sequence
                                   LIMIT 1)
                           FROM jsonb_to_recordset($1) AS p (w TEXT, k TEXT)
                       )
                       RETURNING webhook_id, due_at",
        })
        .bind(Json(promotions))
        .bind(now_ms)
        .all()
        .await?;
    let mut due: HashMap<WebhookId, i64> = HashMap::new();
    for (webhook, at) in rows {
        let first = due.entry(db::decode("deliveries.webhook_id", &webhook)?).or_insert(at);
        *first = at.min(*first);
    }
    Ok(due)
}

/// Makes deliveries of a webhook due that wait behind nothing any longer, because what was before them was cancelled.
pub(in super::super) async fn promote_heads(tx: &mut Tx, webhook: WebhookId, now_ms: i64, max: i64) -> db::Result<()> {
    tx.query(
        "UPDATE deliveries
         SET state = 'pending', due_at = $2
         WHERE state = 'waiting' AND id IN (
             SELECT d.id
             FROM deliveries d
             WHERE d.webhook_id = $1 AND d.order_key IS NOT NULL AND d.completed_at IS NULL AND d.state = 'waiting'
               AND NOT EXISTS (SELECT 1 FROM deliveries b
                               WHERE b.webhook_id = d.webhook_id AND b.order_key = d.order_key AND b.completed_at IS NULL
                                 AND (b.state = 'pending' OR b.sequence < d.sequence))
             ORDER BY d.order_key
             LIMIT $3)",
    )
    .bind(webhook.to_string())
    .bind(now_ms)
    .bind(max)
    .execute()
    .await
    .map(|_| ())
}

/// Cancels unfinished deliveries of a webhook, some at a time: all of them, or those due before a moment and those made before it
/// that wait behind nothing else. How many that were due, and whether that was all.
pub(in super::super) async fn cancel(tx: &mut Tx, cancel: &Cancel, now_ms: i64, max: i64) -> db::Result<(u64, bool)> {
    let pending = tx
        .query(
            "UPDATE deliveries
             SET state = 'cancelled', due_at = NULL, claimed = FALSE, completed_at = $3, last_failure = $4
             WHERE id IN (SELECT id FROM deliveries
                          WHERE webhook_id = $1 AND due_at < $2 AND NOT claimed
                          ORDER BY due_at LIMIT $5)",
        )
        .bind(cancel.webhook.to_string())
        .bind(cancel.due_before)
        .bind(now_ms)
        .bind(cancel.why)
        .bind(max)
        .execute()
        .await?;
    if pending == 0 && cancel.again_at.is_some() {
        // Of those that wait only what has lost the one before it can be meant.
        return Ok((0, true));
    }
    let waiting = tx
        .query(
            "UPDATE deliveries
             SET state = 'cancelled', completed_at = $3, last_failure = $4
             WHERE state = 'waiting' AND id IN (SELECT d.id FROM deliveries d
                          WHERE d.webhook_id = $1 AND d.order_key IS NOT NULL AND d.completed_at IS NULL AND d.state = 'waiting'
                            AND d.created_at < $2
                            AND ($6 OR NOT EXISTS (SELECT 1 FROM deliveries b
                                                   WHERE b.webhook_id = d.webhook_id AND b.order_key = d.order_key
                                                     AND b.completed_at IS NULL AND b.state = 'pending'))
                          ORDER BY d.order_key LIMIT $5)",
        )
        .bind(cancel.webhook.to_string())
        .bind(cancel.due_before)
        .bind(now_ms)
        .bind(cancel.why)
        .bind(max)
        .bind(cancel.again_at.is_none())
        .execute()
        .await?;
    let max = u64::try_from(max).unwrap_or(0);
    Ok((pending, pending < max && waiting < max))
}
