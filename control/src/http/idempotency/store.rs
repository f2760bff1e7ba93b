//! Every statement on `idempotency_keys`.

use sqlx::FromRow;

use crate::db::{self, Db, Tx};

/// Rows that one sweep removes at most, so that it never holds the writer for long.
const SWEEP_MAX: i64 = 1_000;

#[derive(Debug, FromRow)]
pub(super) struct Kept {
    pub(super) fingerprint: Vec<u8>,
    pub(super) status: i64,
    pub(super) body: String,
}

/// What was answered, unless it is older than `since`.
pub(super) async fn find(tx: &mut Tx, caller: &str, key: &str, since: i64) -> db::Result<Option<Kept>> {
    tx.query(
        "SELECT fingerprint, status, body
         FROM idempotency_keys
         WHERE caller_id = $1 AND idempotency_key = $2 AND created_at > $3",
    )
    .bind(caller.to_owned())
    .bind(key.to_owned())
    .bind(since)
    .optional()
    .await
}

/// Keeps an answer. A row that is there is out of date, or [`find`] would have found it; unless another control
/// process wrote it meanwhile: then this waits for its commit, and is a conflict that undoes the act.
pub(super) async fn insert(
    tx: &mut Tx,
    caller: &str,
    key: &str,
    fingerprint: &[u8],
    status: u16,
    body: String,
    now_ms: i64,
) -> db::Result<()> {
    tx.query("DELETE FROM idempotency_keys WHERE caller_id = $1 AND idempotency_key = $2 AND created_at <= $3")
        .bind(caller.to_owned())
        .bind(key.to_owned())
        .bind(now_ms - super::KEPT_MS)
        .execute()
        .await?;
    tx.query(
        "INSERT INTO idempotency_keys (caller_id, idempotency_key, fingerprint, status, body, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(caller.to_owned())
    .bind(key.to_owned())
    .bind(fingerprint.to_vec())
    .bind(i64::from(status))
    .bind(body)
    .bind(now_ms)
    .execute()
    .await
    .map(|_| ())
}

/// Forgets what is older than `before`; how many were forgotten.
pub async fn sweep(db: &Db, before: i64) -> db::Result<u64> {
    db.query(
        "DELETE FROM idempotency_keys
         WHERE (caller_id, idempotency_key) IN (
             SELECT caller_id, idempotency_key FROM idempotency_keys WHERE created_at <= $1 LIMIT $2
         )",
    )
    .bind(before)
    .bind(SWEEP_MAX)
    .execute()
    .await
}
