//! Every statement on `users`.

use clearway_config::{AccountId, UserId};

use crate::db::{self, On, Tx};

#[derive(Debug, sqlx::FromRow)]
struct FirstRow {
    email: String,
    account_id: String,
}

pub(super) async fn any<'c>(on: impl On<'c>) -> db::Result<bool> {
    on.query("SELECT count(*) FROM (SELECT id FROM users LIMIT 1) one").scalar::<i64>().await.map(|count| count > 0)
}

/// A person whose address needs no proof. A conflict (`users_email_key`) where somebody has the address.
pub async fn insert(
    tx: &mut Tx,
    id: UserId,
    account: AccountId,
    email: &str,
    password_hash: String,
    now_ms: i64,
) -> db::Result<()> {
    tx.query(
        "INSERT INTO users (id, account_id, email, role, password_hash, created_at, email_verified_at)
         VALUES ($1, $2, $3, 'owner', $4, $5, $5)",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .bind(email.to_lowercase())
    .bind(password_hash)
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
