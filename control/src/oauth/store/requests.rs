//! `oauth_requests`.

use std::collections::BTreeMap;

use clearway_config::ClientId;
use sqlx::types::Json;

use crate::db::{self, Db, On, Tx};

/// Parameters by their names.
type Pairs = BTreeMap<String, String>;

pub(in crate::oauth) async fn insert(
    db: &Db,
    hash: &[u8; 32],
    client: ClientId,
    params: Pairs,
    expires_at: i64,
) -> db::Result<()> {
    db.query("INSERT INTO oauth_requests (hash, client_id, params, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(hash.to_vec())
        .bind(client.to_string())
        .bind(Json(params))
        .bind(expires_at)
        .execute()
        .await
        .map(|_| ())
}

/// What a client has pushed and nobody has decided on.
pub(in crate::oauth) async fn find<'c>(
    on: impl On<'c>,
    hash: &[u8; 32],
    client: ClientId,
    now_ms: i64,
) -> db::Result<Option<Pairs>> {
    let row: Option<(Json<Pairs>,)> = on
        .query("SELECT params FROM oauth_requests WHERE hash = $1 AND client_id = $2 AND expires_at > $3")
        .bind(hash.to_vec())
        .bind(client.to_string())
        .bind(now_ms)
        .optional()
        .await?;
    Ok(row.map(|(Json(params),)| params))
}

/// Takes a request away, so that nobody decides on it again; whether it was there.
pub(in crate::oauth) async fn take(tx: &mut Tx, hash: &[u8; 32], now_ms: i64) -> db::Result<bool> {
    let taken = tx
        .query("DELETE FROM oauth_requests WHERE hash = $1 AND expires_at > $2")
        .bind(hash.to_vec())
        .bind(now_ms)
        .execute()
        .await?;
    Ok(taken > 0)
}

/// Removes those that nobody decided on in time; a thousand at most.
pub(in crate::oauth) async fn sweep(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query("DELETE FROM oauth_requests WHERE hash IN (SELECT hash FROM oauth_requests WHERE expires_at < $1 LIMIT 1000)")
        .bind(now_ms)
        .execute()
        .await
}
