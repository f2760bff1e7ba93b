//! The dispatcher's statements: on `dispatch`, on `deliveries`, `attempts` and `webhook_health` in batches, and the reads
//! of `events` and `webhooks` that go with them. What people ask for is in [`super::log`].
//!
//! Lock order on PostgreSQL: `dispatch`, then rows of `webhook_health`, then deliveries. Whoever makes a delivery due holds
//! its webhook's row of `webhook_health` to the commit, so that a dispatcher that looks for the next due one sees it.

use std::{collections::HashMap, sync::Arc};

use clearway_config::{AccountId, DeliveryId, EventId, WebhookId};
use serde::Serialize;
use sqlx::{FromRow, types::Json};

use super::{
    batch::{Batch, Cancel, Failing, Promotion},
    board::{Claimed, Event},
    lane::{Live, Terms},
};
use crate::{
    db::{self, Db, On, PerEngine, Tx},
    webhooks::RetryPolicy,
};

/// Takes the hold on dispatch from nobody, from oneself or from a holder that was last seen before `lost_before`: how far
/// events have been fanned out, or `None` where another holds it.
pub(super) async fn take_hold(tx: &mut Tx, me: &str, now_ms: i64, lost_before: i64) -> db::Result<Option<i64>> {
    let row: Option<(i64,)> = tx
        .query(
            "UPDATE dispatch
             SET holder = $1, seen_at = $2
             WHERE holder IS NULL OR holder = $1 OR seen_at < $3
             RETURNING fanned_out",
        )
        .bind(me.to_owned())
        .bind(now_ms)
        .bind(lost_before)
        .optional()
        .await?;
    Ok(row.map(|(fanned_out,)| fanned_out))
}

/// Whether `me` still holds dispatch; if so nobody else can take it before the commit.
pub(super) async fn keep_hold(tx: &mut Tx, me: &str, now_ms: i64, fanned_out: Option<i64>) -> db::Result<bool> {
    let kept = tx
        .query(
            "UPDATE dispatch
             SET seen_at = $2, fanned_out = COALESCE($3, fanned_out)
             WHERE holder = $1",
        )
        .bind(me.to_owned())
        .bind(now_ms)
        .bind(fanned_out)
        .execute()
        .await?;
    Ok(kept == 1)
}

/// Lets another process take it at once.
pub(super) async fn leave_hold(tx: &mut Tx, me: &str) -> db::Result<()> {
    tx.query("UPDATE dispatch SET holder = NULL WHERE holder = $1").bind(me.to_owned()).execute().await.map(|_| ())
}

/// What an earlier holder had in its memory becomes due.
pub(super) async fn release_claims(tx: &mut Tx, now_ms: i64) -> db::Result<u64> {
    tx.query(
        "INSERT INTO webhook_health (webhook_id, due_at)
         SELECT DISTINCT webhook_id, CAST($1 AS BIGINT)
         FROM deliveries
         WHERE claimed
         ON CONFLICT (webhook_id) DO UPDATE SET due_at = excluded.due_at",
    )
    .bind(now_ms)
    .execute()
    .await?;
    tx.query("UPDATE deliveries SET claimed = FALSE, due_at = $1 WHERE claimed").bind(now_ms).execute().await
}

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
pub(super) async fn events_after<'c>(on: impl On<'c>, sequence: i64, limit: u32) -> db::Result<(Vec<Event>, i64)> {
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
pub(super) async fn due<'c>(on: impl On<'c>, now_ms: i64, except: Vec<WebhookId>, limit: u32) -> db::Result<Vec<Arc<Terms>>> {
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
pub(super) async fn terms<'c>(on: impl On<'c>, ids: Vec<WebhookId>) -> db::Result<Vec<Arc<Terms>>> {
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

/// Rows for one of the three statements below, as text: PostgreSQL reads `JSON` in two thirds of the time of `JSONB`.
fn json<T: Serialize>(rows: &[T]) -> String {
    serde_json::to_string(rows).expect("rows have text keys and no failing parts")
}

/// Inserts deliveries with all that is known of them; one that is there already stays as it is.
pub(super) async fn insert(tx: &mut Tx, batch: &Batch) -> db::Result<()> {
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

/// Brings deliveries to where they are; what the last attempt came to stays where there was none.
pub(super) async fn update(tx: &mut Tx, batch: &Batch) -> db::Result<()> {
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
                 WHERE deliveries.id = u.id",
        postgres: "UPDATE deliveries
                   SET state = u.st, due_at = u.d, claimed = u.c, attempts = u.n, completed_at = u.e,
                       last_status = CASE WHEN u.n > attempts THEN u.ls ELSE last_status END,
                       last_failure = CASE WHEN u.n > attempts OR u.lf IS NOT NULL THEN u.lf ELSE last_failure END
                   FROM json_to_recordset(CAST($1 AS JSON)) AS u (id TEXT, st TEXT, d BIGINT, c BOOLEAN, n BIGINT, e BIGINT, ls BIGINT, lf TEXT)
                   WHERE deliveries.id = u.id",
    })
    .bind(json(&batch.updates))
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn insert_attempts(tx: &mut Tx, batch: &Batch) -> db::Result<()> {
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

/// Holds these rows to the commit; see the lock order above. One that is not there is made.
pub(super) async fn lock_health(tx: &mut Tx, mut ids: Vec<WebhookId>) -> db::Result<()> {
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
pub(super) async fn note_due(tx: &mut Tx, due: &HashMap<WebhookId, i64>) -> db::Result<()> {
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

/// Notes since when webhooks fail; the earliest that is known stays.
pub(super) async fn note_failing(tx: &mut Tx, failing: &HashMap<WebhookId, Failing>) -> db::Result<()> {
    if failing.is_empty() {
        return Ok(());
    }
    let since = |failing: &Failing| match failing {
        Failing::Since(at) => Some(*at),
        Failing::NoLonger => None,
    };
    let mut rows: Vec<(WebhookId, Option<i64>)> = failing.iter().map(|(webhook, failing)| (*webhook, since(failing))).collect();
    rows.sort_unstable();
    tx.query(PerEngine {
        sqlite: "INSERT INTO webhook_health (webhook_id, failing_since)
                 SELECT value ->> 0, value ->> 1
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT (webhook_id) DO UPDATE
                 SET failing_since = CASE WHEN excluded.failing_since IS NULL THEN NULL
                                          ELSE COALESCE(webhook_health.failing_since, excluded.failing_since) END,
                     warned_at = CASE WHEN excluded.failing_since IS NULL THEN NULL ELSE webhook_health.warned_at END",
        postgres: "INSERT INTO webhook_health (webhook_id, failing_since)
                   SELECT row ->> 0, CAST(row ->> 1 AS BIGINT)
                   FROM jsonb_array_elements($1) AS row
                   ON CONFLICT (webhook_id) DO UPDATE
                   SET failing_since = CASE WHEN excluded.failing_since IS NULL THEN NULL
                                            ELSE COALESCE(webhook_health.failing_since, excluded.failing_since) END,
                       warned_at = CASE WHEN excluded.failing_since IS NULL THEN NULL ELSE webhook_health.warned_at END",
    })
    .bind(Json(rows))
    .execute()
    .await
    .map(|_| ())
}

/// Makes the first waiting delivery of each object due, where none of it is pending; the webhooks of those.
pub(super) async fn promote(tx: &mut Tx, promotions: &[Promotion], now_ms: i64) -> db::Result<Vec<WebhookId>> {
    if promotions.is_empty() {
        return Ok(Vec::new());
    }
    // 'pending' comes before 'waiting', in the index too: the first row is a pending one, if there is any.
    let rows: Vec<(String,)> = tx
        .query(PerEngine {
            sqlite: "UPDATE deliveries
                     SET state = 'pending', due_at = $2
                     WHERE state = 'waiting' AND id IN (
                         SELECT (SELECT d.id
                                 FROM deliveries d
                                 WHERE d.webhook_id = p.value ->> 'w' AND d.order_key = p.value ->> 'k' AND d.completed_at IS NULL
                                 ORDER BY d.state, d.sequence
                                 LIMIT 1)
                         FROM json_each($1) p
                     )
                     RETURNING webhook_id",
            postgres: "UPDATE deliveries
                       SET state = 'pending', due_at = $2
                       WHERE state = 'waiting' AND id IN (
                           SELECT (SELECT d.id
                                   FROM deliveries d
                                   WHERE d.webhook_id = p.w AND d.order_key = p.k AND d.completed_at IS NULL
                                   ORDER BY d.state, d.sequence
                                   LIMIT 1)
                           FROM jsonb_to_recordset($1) AS p (w TEXT, k TEXT)
                       )
                       RETURNING webhook_id",
        })
        .bind(Json(promotions))
        .bind(now_ms)
        .all()
        .await?;
    let mut webhooks: Vec<WebhookId> =
        rows.iter().map(|(id,)| db::decode("deliveries.webhook_id", id)).collect::<db::Result<_>>()?;
    webhooks.sort_unstable();
    webhooks.dedup();
    Ok(webhooks)
}

/// Cancels unfinished deliveries of a webhook, some at a time: whether that was all of them.
pub(super) async fn cancel(tx: &mut Tx, cancel: &Cancel, now_ms: i64, max: i64) -> db::Result<bool> {
    let pending = tx
        .query(
            "UPDATE deliveries
             SET state = 'cancelled', due_at = NULL, claimed = FALSE, completed_at = $3, last_failure = $4
             WHERE id IN (SELECT id FROM deliveries
                          WHERE webhook_id = $1 AND due_at IS NOT NULL AND created_at < $2 AND NOT claimed
                          ORDER BY due_at LIMIT $5)",
        )
        .bind(cancel.webhook.to_string())
        .bind(cancel.made_before)
        .bind(now_ms)
        .bind(cancel.why)
        .bind(max)
        .execute()
        .await?;
    let waiting = tx
        .query(
            "UPDATE deliveries
             SET state = 'cancelled', completed_at = $3, last_failure = $4
             WHERE state = 'waiting' AND id IN (SELECT id FROM deliveries
                          WHERE webhook_id = $1 AND order_key IS NOT NULL AND completed_at IS NULL AND state = 'waiting'
                            AND created_at < $2
                          ORDER BY order_key LIMIT $5)",
        )
        .bind(cancel.webhook.to_string())
        .bind(cancel.made_before)
        .bind(now_ms)
        .bind(cancel.why)
        .bind(max)
        .execute()
        .await?;
    let max = u64::try_from(max).unwrap_or(0);
    Ok(pending < max && waiting < max)
}

/// When to look at a webhook again.
pub(super) async fn look_again(tx: &mut Tx, webhook: WebhookId, at: i64) -> db::Result<()> {
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
pub(super) async fn due_of(tx: &mut Tx, webhook: WebhookId, now_ms: i64, limit: usize) -> db::Result<Vec<Claimed>> {
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

pub(super) async fn claim(tx: &mut Tx, ids: Vec<DeliveryId>, until: i64) -> db::Result<()> {
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
pub(super) async fn settle_due(tx: &mut Tx, ids: Vec<WebhookId>) -> db::Result<()> {
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

/// Whether it has not been warned of before.
pub(super) async fn note_warned(tx: &mut Tx, webhook: WebhookId, now_ms: i64) -> db::Result<bool> {
    let noted = tx
        .query(
            "UPDATE webhook_health
             SET warned_at = $2
             WHERE webhook_id = $1 AND failing_since IS NOT NULL AND warned_at IS NULL AND disabled_at IS NULL",
        )
        .bind(webhook.to_string())
        .bind(now_ms)
        .execute()
        .await?;
    Ok(noted == 1)
}

/// What deleted webhooks left: a row with something due is come to at once, one without is removed.
pub(super) async fn tidy_health(db: &Db, now_ms: i64) -> db::Result<()> {
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
pub(super) async fn retentions(db: &Db) -> db::Result<Vec<i64>> {
    let rows: Vec<(i64,)> =
        db.query("SELECT DISTINCT event_retention_days FROM plans ORDER BY event_retention_days LIMIT 1000").all().await?;
    Ok(rows.into_iter().map(|(days,)| days).collect())
}

/// The next deliveries made before `end`, and whether each is finished and of an account that keeps it no longer than `days`.
pub(super) async fn deliveries_over(db: &Db, after: &str, end: String, days: i64, limit: u32) -> db::Result<Vec<(String, bool)>> {
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
pub(super) async fn remove_deliveries(db: &Db, ids: Vec<String>) -> db::Result<u64> {
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
pub(super) async fn events_over(db: &Db, after: i64, before: i64, days: i64, limit: u32) -> db::Result<Vec<(i64, bool)>> {
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

pub(super) async fn remove_events(db: &Db, sequences: Vec<i64>) -> db::Result<u64> {
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

/// Where the owners of an account are written to.
pub(super) async fn owners(tx: &mut Tx, account: AccountId) -> db::Result<Vec<String>> {
    let rows: Vec<(String,)> = tx
        .query("SELECT email FROM users WHERE account_id = $1 AND role = 'owner' ORDER BY id LIMIT 10")
        .bind(account.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(email,)| email).collect())
}
