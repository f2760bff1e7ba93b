//! Every statement on `usage_days` and `quotas_reached`, and the writes to `key_uses`.

use clearway_config::{AccountId, KeyId, ProxyId};
use serde::Serialize;
use sqlx::{FromRow, types::Json};

use crate::db::{self, Db, On, Page, PerEngine, Tx, cut};

/// What one ledger admitted for a subject on a day.
#[derive(Debug, Serialize)]
pub(super) struct Day {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) day: u32,
    pub(super) admitted: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct LastUse {
    pub(super) id: String,
    pub(super) at: i64,
    pub(super) address: Option<String>,
}

/// Writes totals, the whole batch in one statement; one that is smaller than what is there changes nothing.
pub(super) async fn keep_greatest(tx: &mut Tx, proxy: &ProxyId, ledger: &[u8], days: Vec<Day>) -> db::Result<()> {
    tx.query(PerEngine {
        sqlite: "INSERT INTO usage_days (proxy_id, ledger_id, subject_kind, subject_id, day, admitted)
                 SELECT $1, $2, value ->> 'kind', value ->> 'id', value ->> 'day', value ->> 'admitted'
                 FROM json_each($3)
                 WHERE TRUE
                 ON CONFLICT (subject_kind, subject_id, day, ledger_id, proxy_id) DO UPDATE
                 SET admitted = excluded.admitted
                 WHERE excluded.admitted > usage_days.admitted",
        postgres: "INSERT INTO usage_days (proxy_id, ledger_id, subject_kind, subject_id, day, admitted)
                   SELECT $1, $2, kind, id, day, admitted
                   FROM jsonb_to_recordset($3) AS total (kind TEXT, id TEXT, day BIGINT, admitted BIGINT)
                   ON CONFLICT (subject_kind, subject_id, day, ledger_id, proxy_id) DO UPDATE
                   SET admitted = excluded.admitted
                   WHERE excluded.admitted > usage_days.admitted",
    })
    .bind(proxy.to_string())
    .bind(ledger.to_vec())
    .bind(Json(days))
    .execute()
    .await
    .map(|_| ())
}

/// Writes when keys were used, unless a later use is known.
pub(super) async fn keep_latest(tx: &mut Tx, uses: Vec<LastUse>) -> db::Result<()> {
    tx.query(PerEngine {
        sqlite: "INSERT INTO key_uses (key_id, last_used_at, last_used_address)
                 SELECT value ->> 'id', value ->> 'at', value ->> 'address'
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT (key_id) DO UPDATE
                 SET last_used_at = excluded.last_used_at, last_used_address = excluded.last_used_address
                 WHERE excluded.last_used_at > key_uses.last_used_at",
        postgres: "INSERT INTO key_uses (key_id, last_used_at, last_used_address)
                   SELECT id, at, address
                   FROM jsonb_to_recordset($1) AS used (id TEXT, at BIGINT, address TEXT)
                   ON CONFLICT (key_id) DO UPDATE
                   SET last_used_at = excluded.last_used_at, last_used_address = excluded.last_used_address
                   WHERE excluded.last_used_at > key_uses.last_used_at",
    })
    .bind(Json(uses))
    .execute()
    .await
    .map(|_| ())
}

/// Days that a subject's requests are counted over.
#[derive(Debug, Serialize)]
pub(super) struct Period {
    pub(super) kind: &'static str,
    pub(super) id: String,
    /// `day` or `month`.
    pub(super) period: &'static str,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// A quota that has been reached.
#[derive(Debug, Serialize, FromRow)]
pub(super) struct Reached {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) period: String,
    pub(super) first: i64,
    pub(super) account_id: String,
    pub(super) allowed: i64,
    pub(super) admitted: i64,
    pub(super) overage: bool,
}

/// Of accounts' periods those in which the plan's limit was reached, unless that was told of before.
pub(super) async fn accounts_reached(tx: &mut Tx, periods: Vec<Period>) -> db::Result<Vec<Reached>> {
    tx.query(PerEngine {
        sqlite: "SELECT 'account' AS kind, w.id, w.period, w.first, w.id AS account_id, w.allowed, w.admitted, w.overage
                 FROM (
                     SELECT w.id, w.period, w.first, p.overage,
                            CASE w.period WHEN 'day' THEN p.per_day ELSE p.per_month END AS allowed,
                            (SELECT SUM(u.admitted) FROM usage_days u
                             WHERE u.subject_kind = 'account' AND u.subject_id = w.id AND u.day BETWEEN w.first AND w.last)
                                AS admitted
                     FROM (SELECT value ->> 'id' AS id, value ->> 'period' AS period, value ->> 'first' AS first,
                                  value ->> 'last' AS last
                           FROM json_each($1)) w
                     JOIN subscriptions s ON s.account_id = w.id AND s.ended_at IS NULL
                     JOIN plans p ON p.name = s.plan
                     WHERE NOT EXISTS (SELECT 1 FROM quotas_reached r
                                       WHERE r.subject_kind = 'account' AND r.subject_id = w.id AND r.period = w.period
                                         AND r.first_day = w.first)
                 ) w
                 WHERE w.allowed IS NOT NULL AND w.admitted >= w.allowed",
        postgres: "SELECT 'account' AS kind, w.id, w.period, w.first, w.id AS account_id, w.allowed, w.admitted, w.overage
                   FROM (
                       SELECT w.id, w.period, w.first, p.overage,
                              CASE w.period WHEN 'day' THEN p.per_day ELSE p.per_month END AS allowed,
                              (SELECT CAST(SUM(u.admitted) AS BIGINT) FROM usage_days u
                               WHERE u.subject_kind = 'account' AND u.subject_id = w.id AND u.day BETWEEN w.first AND w.last)
                                  AS admitted
                       FROM jsonb_to_recordset($1) AS w (id TEXT, period TEXT, first BIGINT, last BIGINT)
                       JOIN subscriptions s ON s.account_id = w.id AND s.ended_at IS NULL
                       JOIN plans p ON p.name = s.plan
                       WHERE NOT EXISTS (SELECT 1 FROM quotas_reached r
                                         WHERE r.subject_kind = 'account' AND r.subject_id = w.id AND r.period = w.period
                                           AND r.first_day = w.first)
                   ) w
                   WHERE w.allowed IS NOT NULL AND w.admitted >= w.allowed",
    })
    .bind(Json(periods))
    .all()
    .await
}

/// Of keys' periods those in which the key's own limit was reached, unless that was told of before.
pub(super) async fn keys_reached(tx: &mut Tx, periods: Vec<Period>) -> db::Result<Vec<Reached>> {
    tx.query(PerEngine {
        sqlite: "SELECT 'key' AS kind, w.id, w.period, w.first, w.account_id, w.allowed, w.admitted, FALSE AS overage
                 FROM (
                     SELECT w.id, w.period, w.first, k.account_id,
                            CASE w.period WHEN 'day' THEN k.per_day ELSE k.per_month END AS allowed,
                            (SELECT SUM(u.admitted) FROM usage_days u
                             WHERE u.subject_kind = 'key' AND u.subject_id = w.id AND u.day BETWEEN w.first AND w.last)
                                AS admitted
                     FROM (SELECT value ->> 'id' AS id, value ->> 'period' AS period, value ->> 'first' AS first,
                                  value ->> 'last' AS last
                           FROM json_each($1)) w
                     JOIN api_keys k ON k.id = w.id
                     WHERE (k.per_day IS NOT NULL OR k.per_month IS NOT NULL)
                       AND NOT EXISTS (SELECT 1 FROM quotas_reached r
                                       WHERE r.subject_kind = 'key' AND r.subject_id = w.id AND r.period = w.period
                                         AND r.first_day = w.first)
                 ) w
                 WHERE w.allowed IS NOT NULL AND w.admitted >= w.allowed",
        postgres: "SELECT 'key' AS kind, w.id, w.period, w.first, w.account_id, w.allowed, w.admitted, FALSE AS overage
                   FROM (
                       SELECT w.id, w.period, w.first, k.account_id,
                              CASE w.period WHEN 'day' THEN k.per_day ELSE k.per_month END AS allowed,
                              (SELECT CAST(SUM(u.admitted) AS BIGINT) FROM usage_days u
                               WHERE u.subject_kind = 'key' AND u.subject_id = w.id AND u.day BETWEEN w.first AND w.last)
                                  AS admitted
                       FROM jsonb_to_recordset($1) AS w (id TEXT, period TEXT, first BIGINT, last BIGINT)
                       JOIN api_keys k ON k.id = w.id
                       WHERE (k.per_day IS NOT NULL OR k.per_month IS NOT NULL)
                         AND NOT EXISTS (SELECT 1 FROM quotas_reached r
                                         WHERE r.subject_kind = 'key' AND r.subject_id = w.id AND r.period = w.period
                                           AND r.first_day = w.first)
                   ) w
                   WHERE w.allowed IS NOT NULL AND w.admitted >= w.allowed",
    })
    .bind(Json(periods))
    .all()
    .await
}

/// Notes that quotas are told of; those that nobody had noted.
pub(super) async fn note_reached(
    tx: &mut Tx,
    reached: &[Reached],
    now_ms: i64,
) -> db::Result<Vec<(String, String, String, i64)>> {
    tx.query(PerEngine {
        sqlite: "INSERT INTO quotas_reached (subject_kind, subject_id, period, first_day, reached_at)
                 SELECT value ->> 'kind', value ->> 'id', value ->> 'period', value ->> 'first', $2
                 FROM json_each($1)
                 WHERE TRUE
                 ON CONFLICT (subject_kind, subject_id, period, first_day) DO NOTHING
                 RETURNING subject_kind, subject_id, period, first_day",
        postgres: "INSERT INTO quotas_reached (subject_kind, subject_id, period, first_day, reached_at)
                   SELECT kind, id, period, first, $2
                   FROM jsonb_to_recordset($1) AS reached (kind TEXT, id TEXT, period TEXT, first BIGINT)
                   ORDER BY kind, id, period, first
                   ON CONFLICT (subject_kind, subject_id, period, first_day) DO NOTHING
                   RETURNING subject_kind, subject_id, period, first_day",
    })
    .bind(Json(reached))
    .bind(now_ms)
    .all()
    .await
}

/// Forgets quotas that were told of before `before`, `max` at most.
pub(super) async fn forget_reached(db: &Db, before: i64, max: i64) -> db::Result<u64> {
    db.query(
        "DELETE FROM quotas_reached
         WHERE (subject_kind, subject_id, period, first_day) IN (
             SELECT subject_kind, subject_id, period, first_day FROM quotas_reached WHERE reached_at <= $1 LIMIT $2
         )",
    )
    .bind(before)
    .bind(max)
    .execute()
    .await
}

#[derive(Debug, FromRow)]
pub(super) struct DayTotal {
    pub(super) day: i64,
    pub(super) admitted: i64,
}

#[derive(Debug, FromRow)]
pub(super) struct KeyTotal {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) admitted: i64,
}

/// An account's days, those without requests left out; at most as many rows as days.
pub(super) async fn account_days<'c>(on: impl On<'c>, account: AccountId, from: i64, to: i64) -> db::Result<Vec<DayTotal>> {
    on.query(
        "SELECT day, CAST(SUM(admitted) AS BIGINT) AS admitted
         FROM usage_days
         WHERE subject_kind = 'account' AND subject_id = $1 AND day BETWEEN $2 AND $3
         GROUP BY day
         ORDER BY day",
    )
    .bind(account.to_string())
    .bind(from)
    .bind(to)
    .all()
    .await
}

/// A key's days, if it is a key of the account.
pub(super) async fn key_days<'c>(
    on: impl On<'c>,
    account: AccountId,
    key: KeyId,
    from: i64,
    to: i64,
) -> db::Result<Vec<DayTotal>> {
    on.query(
        "SELECT u.day, CAST(SUM(u.admitted) AS BIGINT) AS admitted
         FROM usage_days u
         JOIN api_keys k ON k.id = u.subject_id
         WHERE u.subject_kind = 'key' AND u.subject_id = $1 AND k.account_id = $2 AND u.day BETWEEN $3 AND $4
         GROUP BY u.day
         ORDER BY u.day",
    )
    .bind(key.to_string())
    .bind(account.to_string())
    .bind(from)
    .bind(to)
    .all()
    .await
}

/// An account's keys with what each was admitted over the days, those without any left out, newest key first.
pub(super) async fn keys<'c>(
    on: impl On<'c>,
    account: AccountId,
    from: i64,
    to: i64,
    after: Option<KeyId>,
    limit: u32,
) -> db::Result<Page<KeyTotal, String>> {
    let rows = on
        .query(
            "SELECT k.id, k.name, CAST(SUM(u.admitted) AS BIGINT) AS admitted
             FROM api_keys k
             JOIN usage_days u ON u.subject_kind = 'key' AND u.subject_id = k.id AND u.day BETWEEN $2 AND $3
             WHERE k.account_id = $1 AND (CAST($4 AS TEXT) IS NULL OR k.id < $4)
             GROUP BY k.id, k.name
             ORDER BY k.id DESC
             LIMIT $5",
        )
        .bind(account.to_string())
        .bind(from)
        .bind(to)
        .bind(after.map(|id| id.to_string()))
        .bind(i64::from(limit) + 1)
        .all::<KeyTotal>()
        .await?;
    Ok(cut(rows, limit, |row| row.id.clone()))
}

/// All accounts' days, those without requests left out.
pub(super) async fn platform_days<'c>(on: impl On<'c>, from: i64, to: i64) -> db::Result<Vec<DayTotal>> {
    on.query(
        "SELECT day, CAST(SUM(admitted) AS BIGINT) AS admitted
         FROM usage_days
         WHERE subject_kind = 'account' AND day BETWEEN $1 AND $2
         GROUP BY day
         ORDER BY day",
    )
    .bind(from)
    .bind(to)
    .all()
    .await
}

/// The accounts that were admitted most over the days, with their names.
pub(super) async fn busiest<'c>(on: impl On<'c>, from: i64, to: i64, max: i64) -> db::Result<Vec<KeyTotal>> {
    on.query(
        "SELECT a.id, a.name, CAST(SUM(u.admitted) AS BIGINT) AS admitted
         FROM usage_days u JOIN accounts a ON a.id = u.subject_id
         WHERE u.subject_kind = 'account' AND u.day BETWEEN $1 AND $2
         GROUP BY a.id, a.name
         ORDER BY 3 DESC, a.id
         LIMIT $3",
    )
    .bind(from)
    .bind(to)
    .bind(max)
    .all()
    .await
}
