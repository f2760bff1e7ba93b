//! `oauth_signing_keys`.

use sqlx::FromRow;

use crate::db::{self, On, PerEngine, Tx};

/// Keys that are looked at: those that sign, will sign, and did.
const KEYS_MAX: i64 = 16;

#[derive(Debug, Clone, FromRow)]
pub(in crate::oauth) struct Stored {
    /// Its thumbprint (RFC 7638), and the `kid` of what it signs.
    pub(in crate::oauth) id: String,
    pub(in crate::oauth) sealed: Vec<u8>,
    /// The public key, in JSON.
    pub(in crate::oauth) jwk: String,
    pub(in crate::oauth) created_at: i64,
    pub(in crate::oauth) signs_from: i64,
}

/// Newest first.
pub(in crate::oauth) async fn all<'c>(on: impl On<'c>) -> db::Result<Vec<Stored>> {
    on.query("SELECT id, sealed, jwk, created_at, signs_from FROM oauth_signing_keys ORDER BY signs_from DESC, id LIMIT $1")
        .bind(KEYS_MAX)
        .all()
        .await
}

/// From here to the transaction's end no other makes a key. SQLite has one writer anyway.
pub(in crate::oauth) async fn lock(tx: &mut Tx) -> db::Result<()> {
    tx.query(PerEngine { sqlite: "SELECT 1", postgres: "SELECT pg_advisory_xact_lock(4991386027318862461)" })
        .execute()
        .await
        .map(|_| ())
}

pub(in crate::oauth) async fn insert(tx: &mut Tx, stored: &Stored) -> db::Result<()> {
    tx.query("INSERT INTO oauth_signing_keys (id, sealed, jwk, created_at, signs_from) VALUES ($1, $2, $3, $4, $5)")
        .bind(stored.id.clone())
        .bind(stored.sealed.clone())
        .bind(stored.jwk.clone())
        .bind(stored.created_at)
        .bind(stored.signs_from)
        .execute()
        .await
        .map(|_| ())
}

pub(in crate::oauth) async fn remove(tx: &mut Tx, id: &str) -> db::Result<()> {
    tx.query("DELETE FROM oauth_signing_keys WHERE id = $1").bind(id.to_owned()).execute().await.map(|_| ())
}
