//! Every statement on `users`.

use clearway_config::{AccountId, UserId};
use sqlx::FromRow;

use super::model::{NewUser, User};
use crate::db::{self, On, PerEngine, Tx};

#[derive(Debug, FromRow)]
struct FirstRow {
    email: String,
    account_id: String,
}

#[derive(FromRow)]
struct Row {
    id: String,
    account_id: String,
    email: String,
    name: String,
    password_hash: String,
    created_at: i64,
    password_changed_at: Option<i64>,
    suspended_at: Option<i64>,
    version: i64,
}

pub(super) async fn any<'c>(on: impl On<'c>) -> db::Result<bool> {
    on.query("SELECT count(*) FROM (SELECT id FROM users LIMIT 1) one").scalar::<i64>().await.map(|count| count > 0)
}

/// A person whose address is theirs. A conflict (`users_email_key`) where somebody has the address.
pub async fn insert(tx: &mut Tx, new: &NewUser<'_>) -> db::Result<()> {
    tx.query(
        "INSERT INTO users (id, account_id, email, name, role, password_hash, created_at, email_verified_at)
         VALUES ($1, $2, $3, $4, 'owner', $5, $6, $6)",
    )
    .bind(new.id.to_string())
    .bind(new.account.to_string())
    .bind(new.email.to_lowercase())
    .bind(new.name.to_owned())
    .bind(new.password_hash.clone())
    .bind(new.now_ms)
    .execute()
    .await
    .map(|_| ())
}

pub async fn find<'c>(on: impl On<'c>, id: UserId) -> db::Result<Option<User>> {
    let row = on
        .query(
            "SELECT id, account_id, email, name, password_hash, created_at, password_changed_at, suspended_at, version
             FROM users
             WHERE id = $1",
        )
        .bind(id.to_string())
        .optional::<Row>()
        .await?;
    row.map(User::try_from).transpose()
}

/// `email` in lower case.
pub async fn find_by_email<'c>(on: impl On<'c>, email: &str) -> db::Result<Option<User>> {
    let row = on
        .query(
            "SELECT id, account_id, email, name, password_hash, created_at, password_changed_at, suspended_at, version
             FROM users
             WHERE email = $1",
        )
        .bind(email.to_owned())
        .optional::<Row>()
        .await?;
    row.map(User::try_from).transpose()
}

/// The person, and nobody else changes them until this transaction ends. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx, id: UserId) -> db::Result<Option<User>> {
    let locked = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM users WHERE id = $1",
            postgres: "SELECT id FROM users WHERE id = $1 FOR UPDATE",
        })
        .bind(id.to_string())
        .optional::<(String,)>()
        .await?;
    match locked {
        Some(_) => find(tx, id).await,
        None => Ok(None),
    }
}

/// The same password, hashed at another cost; nothing where it has been changed meanwhile.
pub async fn replace_hash(tx: &mut Tx, id: UserId, old: &str, new: String) -> db::Result<()> {
    tx.query("UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2")
        .bind(id.to_string())
        .bind(old.to_owned())
        .bind(new)
        .execute()
        .await
        .map(|_| ())
}

/// Another password.
pub async fn set_password(tx: &mut Tx, id: UserId, hash: String, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE users SET password_hash = $2, password_changed_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(hash)
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Another name.
pub async fn rename(tx: &mut Tx, id: UserId, name: &str) -> db::Result<()> {
    tx.query("UPDATE users SET name = $2, version = version + 1 WHERE id = $1")
        .bind(id.to_string())
        .bind(name.to_owned())
        .execute()
        .await
        .map(|_| ())
}

/// Another address, which has been proved. A conflict (`users_email_key`) where somebody has it.
pub async fn set_email(tx: &mut Tx, id: UserId, email: &str, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE users SET email = $2, email_verified_at = $3, version = version + 1 WHERE id = $1")
        .bind(id.to_string())
        .bind(email.to_owned())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// The first admin: address and account.
pub(super) async fn first(tx: &mut Tx) -> db::Result<Option<(String, AccountId)>> {
    let row = tx.query("SELECT email, account_id FROM users ORDER BY created_at, id LIMIT 1").optional::<FirstRow>().await?;
    row.map(|row| Ok((row.email, db::decode("users.account_id", &row.account_id)?))).transpose()
}

impl TryFrom<Row> for User {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("users.id", &row.id)?,
            account_id: db::decode("users.account_id", &row.account_id)?,
            email: row.email,
            name: row.name,
            password_hash: row.password_hash,
            created_at: row.created_at,
            password_changed_at: row.password_changed_at,
            suspended_at: row.suspended_at,
            version: row.version,
        })
    }
}
