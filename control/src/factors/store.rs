//! Every statement on `totp_factors` and `recovery_codes`.

use clearway_config::UserId;
use sqlx::FromRow;

use super::act::Held;
use crate::db::{self, On, Tx};

/// A person's second factor, sealed.
#[derive(Debug, FromRow)]
pub(super) struct Sealed {
    pub(super) seed: Vec<u8>,
    pub(super) last_step: i64,
}

pub(super) async fn find<'c>(on: impl On<'c>, user: UserId) -> db::Result<Option<Sealed>> {
    on.query("SELECT seed, last_step FROM totp_factors WHERE user_id = $1").bind(user.to_string()).optional().await
}

/// In the place of one that was never confirmed.
pub(super) async fn put(tx: &mut Tx, user: UserId, seed: Vec<u8>, now_ms: i64) -> db::Result<()> {
    tx.query("DELETE FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NULL").bind(user.to_string()).execute().await?;
    tx.query("INSERT INTO totp_factors (user_id, seed, last_step, created_at) VALUES ($1, $2, 0, $3)")
        .bind(user.to_string())
        .bind(seed)
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Takes a step, so that no code of it or before is taken again; whether nobody else has meanwhile.
pub(super) async fn take_step(tx: &mut Tx, user: UserId, step: i64) -> db::Result<bool> {
    let taken = tx
        .query("UPDATE totp_factors SET last_step = $2 WHERE user_id = $1 AND last_step < $2")
        .bind(user.to_string())
        .bind(step)
        .execute()
        .await?;
    Ok(taken == 1)
}

pub(super) async fn confirm(tx: &mut Tx, user: UserId, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE totp_factors SET confirmed_at = $2 WHERE user_id = $1 AND confirmed_at IS NULL")
        .bind(user.to_string())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn remove(tx: &mut Tx, user: UserId) -> db::Result<()> {
    tx.query("DELETE FROM totp_factors WHERE user_id = $1").bind(user.to_string()).execute().await.map(|_| ())
}

pub(super) async fn forget_codes(tx: &mut Tx, user: UserId) -> db::Result<()> {
    tx.query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user.to_string()).execute().await.map(|_| ())
}

pub(super) async fn insert_code(tx: &mut Tx, user: UserId, hash: &[u8; 32], now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO recovery_codes (hash, user_id, created_at) VALUES ($1, $2, $3)")
        .bind(hash.to_vec())
        .bind(user.to_string())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Whether it was one of the person's; it is none any more.
pub(super) async fn take_code(tx: &mut Tx, user: UserId, hash: &[u8; 32]) -> db::Result<bool> {
    let taken = tx
        .query("DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2")
        .bind(user.to_string())
        .bind(hash.to_vec())
        .execute()
        .await?;
    Ok(taken == 1)
}

/// What a person has to show.
pub(super) async fn held<'c>(on: impl On<'c>, user: UserId) -> db::Result<Held> {
    on.query(
        "SELECT EXISTS (SELECT 1 FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL) AS totp,
                (SELECT count(*) FROM passkeys WHERE user_id = $1) AS passkeys,
                (SELECT count(*) FROM recovery_codes WHERE user_id = $1) AS recovery_codes",
    )
    .bind(user.to_string())
    .one()
    .await
}
