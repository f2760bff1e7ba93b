//! Every statement on `users`.

use clearway_config::{AccountId, UserId};
use sqlx::FromRow;

use super::model::{NewUser, User};
use crate::{
    db::{self, Db, On, Page, PerEngine, Tx, Wanted, cut},
    http::Paging,
};

/// People that a search looks at: what it costs is bounded by it.
pub(super) const CANDIDATES_MAX: i64 = 1_000;

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
    erased_at: Option<i64>,
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
            "SELECT id, account_id, email, name, password_hash, created_at, password_changed_at, suspended_at, erased_at, version
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
            "SELECT id, account_id, email, name, password_hash, created_at, password_changed_at, suspended_at, erased_at, version
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

/// Nothing of the row says any more who it was, and nobody signs in by it. The address is one that cannot be.
pub async fn erase(tx: &mut Tx, id: UserId, now_ms: i64) -> db::Result<()> {
    tx.query(
        "UPDATE users
         SET email = $2, name = '', password_hash = '', suspended_at = COALESCE(suspended_at, $3), erased_at = $3,
             version = version + 1
         WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(format!("{}@erased.invalid", id.to_string().to_lowercase()))
    .bind(now_ms)
    .execute()
    .await
    .map(|_| ())
}

/// Suspends a person, or resumes them.
pub(super) async fn set_suspended(tx: &mut Tx, id: UserId, suspended_at: Option<i64>) -> db::Result<()> {
    tx.query("UPDATE users SET suspended_at = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(suspended_at)
        .execute()
        .await
        .map(|_| ())
}

/// Newest first.
pub(super) async fn list(db: &Db, status: Option<&'static str>, paging: Paging<UserId>) -> db::Result<Page<User, UserId>> {
    let rows = db
        .query(
            "SELECT id, account_id, email, name, password_hash, created_at, password_changed_at, suspended_at, erased_at, version
             FROM users
             WHERE (CAST($1 AS TEXT) IS NULL OR id < $1)
               AND (CAST($2 AS TEXT) IS NULL
                    OR $2 = CASE WHEN erased_at IS NOT NULL THEN 'erased' WHEN suspended_at IS NOT NULL THEN 'suspended'
                                 ELSE 'active' END)
             ORDER BY id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(status.map(str::to_owned))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    page(rows, paging.limit)
}

/// [`list`] of those whose address or name has, for each word that is wanted, one that begins with it: of
/// [`CANDIDATES_MAX`] of them, where more do.
pub(super) async fn search(
    db: &Db,
    wanted: &Wanted,
    status: Option<&'static str>,
    paging: Paging<UserId>,
) -> db::Result<Page<User, UserId>> {
    let rows = db
        .query(PerEngine {
            sqlite: "SELECT id, account_id, email, name, password_hash, created_at, password_changed_at, suspended_at, erased_at,
                            version
                     FROM (SELECT user_id FROM user_search WHERE user_search MATCH $1 LIMIT $2) found
                     JOIN users ON users.id = found.user_id
                     WHERE (CAST($3 AS TEXT) IS NULL OR id < $3)
                       AND (CAST($4 AS TEXT) IS NULL
                            OR $4 = CASE WHEN erased_at IS NOT NULL THEN 'erased' WHEN suspended_at IS NOT NULL THEN 'suspended'
                                         ELSE 'active' END)
                     ORDER BY id DESC
                     LIMIT $5 OFFSET $6",
            // The expression is that of the index users_search.
            postgres:
                "SELECT id, account_id, email, name, password_hash, created_at, password_changed_at, suspended_at, erased_at,
                              version
                       FROM (
                           SELECT id AS user_id FROM users
                           WHERE to_tsvector('simple', regexp_replace(lower(email || ' ' || name), '[^[:alnum:]]+', ' ', 'g'))
                                 @@ to_tsquery('simple', $1)
                           LIMIT $2
                       ) found
                       JOIN users ON users.id = found.user_id
                       WHERE (CAST($3 AS TEXT) IS NULL OR id < $3)
                         AND (CAST($4 AS TEXT) IS NULL
                              OR $4 = CASE WHEN erased_at IS NOT NULL THEN 'erased' WHEN suspended_at IS NOT NULL THEN 'suspended'
                                           ELSE 'active' END)
                       ORDER BY id DESC
                       LIMIT $5 OFFSET $6",
        })
        .bind(wanted.expression(db.engine(), None))
        .bind(CANDIDATES_MAX)
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(status.map(str::to_owned))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    page(rows, paging.limit)
}

fn page(rows: Vec<Row>, limit: u32) -> db::Result<Page<User, UserId>> {
    let users = rows.into_iter().map(User::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(users, limit, |user| user.id))
}

/// How many there are, how many of them are suspended, and how many came since a moment; without those who were erased.
pub async fn totals<'c>(on: impl On<'c>, since: i64) -> db::Result<(i64, i64, i64)> {
    on.query(
        "SELECT count(*), count(suspended_at), count(CASE WHEN created_at >= $1 THEN 1 END)
         FROM users
         WHERE erased_at IS NULL",
    )
    .bind(since)
    .one()
    .await
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
            erased_at: row.erased_at,
            version: row.version,
        })
    }
}
