//! Every statement on `registrations`, `user_tokens`, `counted_attempts` and `devices`.

use clearway_config::UserId;
use sqlx::FromRow;

use crate::db::{self, Db, On, Tx};

/// Rows that one sweep removes from a table at most.
const SWEEP_MAX: i64 = 1_000;

/// Somebody who wants to register and has to prove the address yet.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Registration {
    pub(super) email: String,
    pub(super) name: String,
    pub(super) password_hash: String,
}

pub(super) async fn insert_registration(
    tx: &mut Tx,
    hash: &[u8; 32],
    new: &Registration,
    now_ms: i64,
    expires_at: i64,
) -> db::Result<()> {
    tx.query(
        "INSERT INTO registrations (hash, email, name, password_hash, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(hash.to_vec())
    .bind(new.email.clone())
    .bind(new.name.clone())
    .bind(new.password_hash.clone())
    .bind(now_ms)
    .bind(expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// Takes the registration that a token stands for, so that nobody takes it again.
pub(super) async fn take_registration(tx: &mut Tx, hash: &[u8; 32], now_ms: i64) -> db::Result<Option<Registration>> {
    tx.query("DELETE FROM registrations WHERE hash = $1 AND expires_at > $2 RETURNING email, name, password_hash")
        .bind(hash.to_vec())
        .bind(now_ms)
        .optional()
        .await
}

/// The newest that waits for its address to be proved.
pub(super) async fn newest_registration(tx: &mut Tx, email: &str, now_ms: i64) -> db::Result<Option<Registration>> {
    tx.query(
        "SELECT email, name, password_hash
         FROM registrations
         WHERE email = $1 AND expires_at > $2
         ORDER BY created_at DESC, hash
         LIMIT 1",
    )
    .bind(email.to_owned())
    .bind(now_ms)
    .optional()
    .await
}

/// Once somebody has proved the address, no other token for it is good.
pub(super) async fn forget_registrations(tx: &mut Tx, email: &str) -> db::Result<()> {
    tx.query("DELETE FROM registrations WHERE email = $1").bind(email.to_owned()).execute().await.map(|_| ())
}

/// What a token of a user is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    ResetPassword,
    SignIn,
    ChangeEmail,
    /// Password or link were right, and the second factor is asked for.
    SecondFactor,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ResetPassword => "reset_password",
            Self::SignIn => "sign_in",
            Self::ChangeEmail => "change_email",
            Self::SecondFactor => "second_factor",
        }
    }
}

/// A token that is about to be given out.
#[derive(Debug)]
pub struct NewToken<'a> {
    pub hash: [u8; 32],
    pub user: UserId,
    pub purpose: Purpose,
    /// Where it is sent.
    pub email: &'a str,
    pub expires_at: i64,
}

pub async fn insert_token(tx: &mut Tx, new: &NewToken<'_>, now_ms: i64) -> db::Result<()> {
    tx.query(
        "INSERT INTO user_tokens (hash, user_id, purpose, email, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(new.hash.to_vec())
    .bind(new.user.to_string())
    .bind(new.purpose.as_str())
    .bind(new.email.to_owned())
    .bind(now_ms)
    .bind(new.expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// Whose token it is and where it was sent; the token stays good.
pub(super) async fn token<'c>(
    on: impl On<'c>,
    hash: &[u8; 32],
    purpose: Purpose,
    now_ms: i64,
) -> db::Result<Option<(UserId, String)>> {
    let row: Option<(String, String)> = on
        .query("SELECT user_id, email FROM user_tokens WHERE hash = $1 AND purpose = $2 AND expires_at > $3")
        .bind(hash.to_vec())
        .bind(purpose.as_str())
        .bind(now_ms)
        .optional()
        .await?;
    row.map(|(user, email)| Ok((db::decode("user_tokens.user_id", &user)?, email))).transpose()
}

/// [`token`], and nobody takes it again.
pub async fn take_token(tx: &mut Tx, hash: &[u8; 32], purpose: Purpose, now_ms: i64) -> db::Result<Option<(UserId, String)>> {
    let row: Option<(String, String)> = tx
        .query("DELETE FROM user_tokens WHERE hash = $1 AND purpose = $2 AND expires_at > $3 RETURNING user_id, email")
        .bind(hash.to_vec())
        .bind(purpose.as_str())
        .bind(now_ms)
        .optional()
        .await?;
    row.map(|(user, email)| Ok((db::decode("user_tokens.user_id", &user)?, email))).transpose()
}

/// None of a person's tokens is good any more: where the password or the address was changed.
pub async fn forget_tokens(tx: &mut Tx, user: UserId) -> db::Result<()> {
    tx.query("DELETE FROM user_tokens WHERE user_id = $1").bind(user.to_string()).execute().await.map(|_| ())
}

/// Counts one more; how many that is since they were begun to be counted, and when that ends.
pub(super) async fn count_attempt(tx: &mut Tx, subject: &[u8; 32], now_ms: i64, ends_at: i64) -> db::Result<(i64, i64)> {
    tx.query(
        "INSERT INTO counted_attempts (subject, count, began_at, ends_at) VALUES ($1, 1, $2, $3)
         ON CONFLICT (subject) DO UPDATE
         SET count = CASE WHEN counted_attempts.ends_at <= $2 THEN 1 ELSE counted_attempts.count + 1 END,
             began_at = CASE WHEN counted_attempts.ends_at <= $2 THEN $2 ELSE counted_attempts.began_at END,
             ends_at = CASE WHEN counted_attempts.ends_at <= $2 THEN $3 ELSE counted_attempts.ends_at END
         RETURNING count, ends_at",
    )
    .bind(subject.to_vec())
    .bind(now_ms)
    .bind(ends_at)
    .one()
    .await
}

pub(super) async fn forget_attempts(tx: &mut Tx, subject: &[u8; 32]) -> db::Result<()> {
    tx.query("DELETE FROM counted_attempts WHERE subject = $1").bind(subject.to_vec()).execute().await.map(|_| ())
}

pub(super) async fn take_attempt_back(tx: &mut Tx, subject: &[u8; 32]) -> db::Result<()> {
    tx.query("UPDATE counted_attempts SET count = count - 1 WHERE subject = $1 AND count > 0")
        .bind(subject.to_vec())
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn device<'c>(on: impl On<'c>, hash: &[u8; 32], used_since: i64) -> db::Result<Option<UserId>> {
    let row: Option<(String,)> = on
        .query("SELECT user_id FROM devices WHERE hash = $1 AND last_used_at > $2")
        .bind(hash.to_vec())
        .bind(used_since)
        .optional()
        .await?;
    row.map(|(user,)| db::decode("devices.user_id", &user)).transpose()
}

pub(super) async fn note_device(tx: &mut Tx, hash: &[u8; 32], now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE devices SET last_used_at = $2 WHERE hash = $1").bind(hash.to_vec()).bind(now_ms).execute().await.map(|_| ())
}

/// Adds a device, and forgets those that were used longest ago of a person who has more than `max`.
pub(super) async fn insert_device(tx: &mut Tx, hash: &[u8; 32], user: UserId, now_ms: i64, max: i64) -> db::Result<()> {
    tx.query("INSERT INTO devices (hash, user_id, created_at, last_used_at) VALUES ($1, $2, $3, $3)")
        .bind(hash.to_vec())
        .bind(user.to_string())
        .bind(now_ms)
        .execute()
        .await?;
    tx.query(
        "DELETE FROM devices
         WHERE hash IN (SELECT hash FROM devices WHERE user_id = $1 ORDER BY last_used_at DESC, hash LIMIT 1000 OFFSET $2)",
    )
    .bind(user.to_string())
    .bind(max)
    .execute()
    .await
    .map(|_| ())
}

/// Since when and until when each of a person's devices was used, those used last first.
pub async fn devices<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<(i64, i64)>> {
    on.query("SELECT created_at, last_used_at FROM devices WHERE user_id = $1 ORDER BY last_used_at DESC, hash LIMIT $2")
        .bind(user.to_string())
        .bind(max)
        .all()
        .await
}

/// Nothing is left by which a person could sign in or prove the address.
pub async fn forget_person(tx: &mut Tx, user: UserId, email: &str) -> db::Result<()> {
    forget_tokens(tx, user).await?;
    forget_registrations(tx, email).await?;
    tx.query("DELETE FROM devices WHERE user_id = $1").bind(user.to_string()).execute().await.map(|_| ())
}

/// Removes what has run out, a thousand rows of each kind at most.
pub(super) async fn sweep(db: &Db, now_ms: i64, devices_used_before: i64) -> db::Result<u64> {
    let mut rows = 0;
    rows += db
        .query("DELETE FROM registrations WHERE hash IN (SELECT hash FROM registrations WHERE expires_at <= $1 LIMIT $2)")
        .bind(now_ms)
        .bind(SWEEP_MAX)
        .execute()
        .await?;
    rows += db
        .query("DELETE FROM user_tokens WHERE hash IN (SELECT hash FROM user_tokens WHERE expires_at <= $1 LIMIT $2)")
        .bind(now_ms)
        .bind(SWEEP_MAX)
        .execute()
        .await?;
    rows += db
        .query(
            "DELETE FROM counted_attempts WHERE subject IN (SELECT subject FROM counted_attempts WHERE ends_at <= $1 LIMIT $2)",
        )
        .bind(now_ms)
        .bind(SWEEP_MAX)
        .execute()
        .await?;
    rows += db
        .query("DELETE FROM devices WHERE hash IN (SELECT hash FROM devices WHERE last_used_at <= $1 LIMIT $2)")
        .bind(devices_used_before)
        .bind(SWEEP_MAX)
        .execute()
        .await?;
    Ok(rows)
}
