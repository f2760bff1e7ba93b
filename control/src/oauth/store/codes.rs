//! `oauth_codes`.

use clearway_config::{ClientId, GrantId};
use sqlx::FromRow;

use crate::{
    db::{self, Db, PerEngine, Tx},
    oauth::code::Code,
};

#[derive(Debug, FromRow)]
struct Row {
    grant_id: String,
    client_id: String,
    redirect_uri: String,
    code_challenge: String,
    expires_at: i64,
    used_at: Option<i64>,
    nonce: Option<String>,
    authenticated_at: Option<i64>,
    jkt: Option<String>,
}

pub(in crate::oauth) async fn insert(tx: &mut Tx, hash: &[u8; 32], code: &Code, now_ms: i64) -> db::Result<()> {
    tx.query(
        "INSERT INTO oauth_codes (hash, grant_id, client_id, redirect_uri, code_challenge, created_at, expires_at, nonce,
              authenticated_at, jkt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(hash.to_vec())
    .bind(code.grant_id.to_string())
    .bind(code.client_id.to_string())
    .bind(code.redirect_uri.clone())
    .bind(code.code_challenge.clone())
    .bind(now_ms)
    .bind(code.expires_at)
    .bind(code.nonce.clone())
    .bind(code.authenticated_at)
    .bind(code.jkt.clone())
    .execute()
    .await
    .map(|_| ())
}

/// The code, if it is this client's; nobody else uses it until this transaction ends. SQLite has one writer anyway.
pub(in crate::oauth) async fn lock(tx: &mut Tx, hash: &[u8; 32], client: ClientId) -> db::Result<Option<Code>> {
    let row = tx
        .query(PerEngine {
            sqlite: "SELECT grant_id, client_id, redirect_uri, code_challenge, expires_at, used_at, nonce, authenticated_at, jkt
                     FROM oauth_codes
                     WHERE hash = $1 AND client_id = $2",
            postgres: "SELECT grant_id, client_id, redirect_uri, code_challenge, expires_at, used_at, nonce, authenticated_at,
                              jkt
                       FROM oauth_codes
                       WHERE hash = $1 AND client_id = $2
                       FOR UPDATE",
        })
        .bind(hash.to_vec())
        .bind(client.to_string())
        .optional::<Row>()
        .await?;
    row.map(|row| {
        Ok(Code {
            grant_id: db::decode::<GrantId>("oauth_codes.grant_id", &row.grant_id)?,
            client_id: db::decode::<ClientId>("oauth_codes.client_id", &row.client_id)?,
            redirect_uri: row.redirect_uri,
            code_challenge: row.code_challenge,
            expires_at: row.expires_at,
            used_at: row.used_at,
            nonce: row.nonce,
            authenticated_at: row.authenticated_at,
            jkt: row.jkt,
        })
    })
    .transpose()
}

pub(in crate::oauth) async fn used(tx: &mut Tx, hash: &[u8; 32], now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE oauth_codes SET used_at = $2 WHERE hash = $1").bind(hash.to_vec()).bind(now_ms).execute().await.map(|_| ())
}

/// Removes codes that cannot be used, nor noticed as used, any more; a thousand at most.
pub(in crate::oauth) async fn sweep(db: &Db, before: i64) -> db::Result<u64> {
    db.query("DELETE FROM oauth_codes WHERE hash IN (SELECT hash FROM oauth_codes WHERE expires_at < $1 LIMIT 1000)")
        .bind(before)
        .execute()
        .await
}
