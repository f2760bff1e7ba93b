//! `oauth_proofs`.

use crate::db::{self, Db};

/// Remembers a proof until it would not be good any more; whether it was not known yet. Of two who show it at once, one is told so.
pub(in crate::oauth) async fn remember(db: &Db, hash: &[u8; 32], expires_at: i64) -> db::Result<bool> {
    let new = db
        .query("INSERT INTO oauth_proofs (hash, expires_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING")
        .bind(hash.to_vec())
        .bind(expires_at)
        .execute()
        .await?;
    Ok(new > 0)
}

/// Removes those that are good no more anyway; ten thousand at most.
pub(in crate::oauth) async fn sweep(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query("DELETE FROM oauth_proofs WHERE hash IN (SELECT hash FROM oauth_proofs WHERE expires_at < $1 LIMIT 10000)")
        .bind(now_ms)
        .execute()
        .await
}
