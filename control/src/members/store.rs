//! Every statement that changes `memberships`.

use clearway_config::{AccountId, UserId};
use sqlx::FromRow;

use super::Role;
use crate::{
    db::{self, On, Tx},
    users::User,
};

/// An account as one of its members sees it.
#[derive(Debug, Clone)]
pub struct Membership {
    pub account_id: AccountId,
    pub name: String,
    pub role: Role,
    pub suspended: bool,
}

#[derive(Debug, FromRow)]
struct Row {
    account_id: String,
    name: String,
    role: String,
    suspended_at: Option<i64>,
}

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

/// The accounts where a person is a member, their own first and then by age; `max` at most.
pub async fn of_person<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<Membership>> {
    let rows: Vec<Row> = on
        .query(
            "SELECT m.account_id, a.name, m.role, a.suspended_at
             FROM memberships m JOIN accounts a ON a.id = m.account_id JOIN users u ON u.id = m.user_id
             WHERE m.user_id = $1
             ORDER BY CASE WHEN m.account_id = u.account_id THEN 0 ELSE 1 END, m.created_at, m.account_id
             LIMIT $2",
        )
        .bind(user.to_string())
        .bind(max)
        .all()
        .await?;
    let membership = |row: Row| {
        Ok(Membership {
            account_id: db::decode("memberships.account_id", &row.account_id)?,
            name: row.name,
            role: db::decode("memberships.role", &row.role)?,
            suspended: row.suspended_at.is_some(),
        })
    };
    rows.into_iter().map(membership).collect()
}

/// The account that a person's sessions act for unless they say otherwise: their own, or else the first they have
/// joined. `None` where they are no member of any.
pub async fn home<'c>(on: impl On<'c>, user: &User) -> db::Result<Option<AccountId>> {
    Ok(of_person(on, user.id, 1).await?.first().map(|membership| membership.account_id))
}
