//! Every statement on `usage_days`, and the writes to `key_uses`.

use clearway_config::{AccountId, KeyId, ProxyId};
use serde::Serialize;
use sqlx::{FromRow, types::Json};

use crate::db::{self, On, Page, PerEngine, Tx, cut};

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
