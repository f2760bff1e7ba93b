//! Every statement that changes `memberships`.

use clearway_config::{AccountId, UserId};

use super::Role;
use crate::db::{self, On, Tx};

/// Makes the person a member. A conflict (`memberships_pkey`) where they are one already.
pub async fn insert(tx: &mut Tx, account: AccountId, user: UserId, role: Role, now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO memberships (account_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(account.to_string())
        .bind(user.to_string())
        .bind(role.as_str())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Where an account's people are told by mail what concerns all of it: its owners and admins, ten at most.
pub async fn addresses<'c>(on: impl On<'c>, account: AccountId) -> db::Result<Vec<String>> {
    let rows: Vec<(String,)> = on
        .query(
            "SELECT u.email
             FROM memberships m JOIN users u ON u.id = m.user_id
             WHERE m.account_id = $1 AND m.role IN ('owner', 'admin')
             ORDER BY u.created_at, u.id
             LIMIT 10",
        )
        .bind(account.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(email,)| email).collect())
}
