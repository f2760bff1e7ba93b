//! Every statement on `users`.

use clearway_config::{AccountId, UserId};

use crate::db::{self, On, Tx};

pub(super) async fn any<'c>(on: impl On<'c>) -> db::Result<bool> {
    on.query("SELECT count(*) FROM (SELECT id FROM users LIMIT 1) one").scalar::<i64>().await.map(|count| count > 0)
}

pub(super) async fn insert(
    tx: &mut Tx,
    id: UserId,
    account: AccountId,
    email: &str,
    role: &'static str,
    password_hash: String,
    now_ms: i64,
) -> db::Result<()> {
    tx.query("INSERT INTO users (id, account_id, email, role, password_hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(id.to_string())
        .bind(account.to_string())
        .bind(email.to_lowercase())
        .bind(role)
        .bind(password_hash)
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}
