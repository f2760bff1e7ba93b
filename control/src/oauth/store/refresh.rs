//! `oauth_refresh_tokens`.

use clearway_config::{ClientId, GrantId};
use sqlx::FromRow;

use crate::{
    db::{self, Db, On, Tx},
    oauth::refresh::Held,
};

#[derive(Debug, FromRow)]
struct Row {
    replaces: Option<Vec<u8>>,
    expires_at: i64,
    used_at: Option<i64>,
    repeats: i64,
    sealed_answer: Option<Vec<u8>>,
}

pub(in crate::oauth) async fn insert(
    tx: &mut Tx,
    hash: &[u8; 32],
    grant: GrantId,
    replaces: Option<&[u8; 32]>,
    (now_ms, expires_at): (i64, i64),
) -> db::Result<()> {
    tx.query(
        "INSERT INTO oauth_refresh_tokens (hash, grant_id, replaces, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(hash.to_vec())
    .bind(grant.to_string())
    .bind(replaces.map(|hash| hash.to_vec()))
    .bind(now_ms)
    .bind(expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// The grant of a token, if it is this client's: what is to be locked before the token is looked at.
pub(in crate::oauth) async fn grant_of<'c>(on: impl On<'c>, hash: &[u8; 32], client: ClientId) -> db::Result<Option<GrantId>> {
    let row: Option<(String,)> = on
        .query(
            "SELECT t.grant_id
             FROM oauth_refresh_tokens t JOIN oauth_grants g ON g.id = t.grant_id
             WHERE t.hash = $1 AND g.client_id = $2",
        )
        .bind(hash.to_vec())
        .bind(client.to_string())
        .optional()
        .await?;
    row.map(|(id,)| db::decode("oauth_refresh_tokens.grant_id", &id)).transpose()
}

pub(in crate::oauth) async fn find<'c>(on: impl On<'c>, hash: &[u8; 32]) -> db::Result<Option<Held>> {
    let row = on
        .query(
            "SELECT replaces, expires_at, used_at, repeats, sealed_answer
             FROM oauth_refresh_tokens
             WHERE hash = $1",
        )
        .bind(hash.to_vec())
        .optional::<Row>()
        .await?;
    row.map(|row| {
        Ok(Held {
            replaces: row.replaces,
            expires_at: row.expires_at,
            used_at: row.used_at,
            repeats: row.repeats,
            sealed_answer: row.sealed_answer,
        })
    })
    .transpose()
}

/// It was used; `sealed` is what was answered.
pub(in crate::oauth) async fn used(tx: &mut Tx, hash: &[u8; 32], sealed: Vec<u8>, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE oauth_refresh_tokens SET used_at = $2, sealed_answer = $3 WHERE hash = $1")
        .bind(hash.to_vec())
        .bind(now_ms)
        .bind(sealed)
        .execute()
        .await
        .map(|_| ())
}

/// Its answer was given out once more.
pub(in crate::oauth) async fn repeated(tx: &mut Tx, hash: &[u8; 32]) -> db::Result<()> {
    tx.query("UPDATE oauth_refresh_tokens SET repeats = repeats + 1 WHERE hash = $1")
        .bind(hash.to_vec())
        .execute()
        .await
        .map(|_| ())
}

/// What was answered has arrived: it is kept no longer.
pub(in crate::oauth) async fn forget_answer(tx: &mut Tx, hash: &[u8]) -> db::Result<()> {
    tx.query("UPDATE oauth_refresh_tokens SET sealed_answer = NULL WHERE hash = $1")
        .bind(hash.to_vec())
        .execute()
        .await
        .map(|_| ())
}

/// Of a grant that has ended.
pub(in crate::oauth) async fn forget_answers(tx: &mut Tx, grant: GrantId) -> db::Result<()> {
    tx.query("UPDATE oauth_refresh_tokens SET sealed_answer = NULL WHERE grant_id = $1")
        .bind(grant.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// Removes tokens that have expired; a thousand at most.
pub(in crate::oauth) async fn sweep(db: &Db, before: i64) -> db::Result<u64> {
    db.query(
        "DELETE FROM oauth_refresh_tokens
         WHERE hash IN (SELECT hash FROM oauth_refresh_tokens WHERE expires_at < $1 LIMIT 1000)",
    )
    .bind(before)
    .execute()
    .await
}
