//! Every statement on `accounts` and `subscriptions`.

use clearway_config::{AccountId, SubscriptionId};
use sqlx::{FromRow, types::Json};

use super::Account;
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct AccountRow {
    id: String,
    name: String,
    created_at: i64,
    suspended_at: Option<i64>,
    plan: String,
    keys_max: Option<i64>,
    policies: String,
    brand: String,
    version: i64,
}

/// What proxies hold of an account.
#[derive(Debug, FromRow)]
pub(super) struct Fed {
    pub(super) id: String,
    pub(super) plan: String,
    pub(super) suspended_at: Option<i64>,
    policies: String,
}

impl Fed {
    pub(super) fn policies(&self) -> db::Result<Vec<String>> {
        names(&self.policies)
    }
}

pub(super) async fn insert(tx: &mut Tx, id: AccountId, name: &str, now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(id.to_string())
        .bind(name.to_owned())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Makes it the account of whoever runs Clearway: its owners and admins may act on every account.
pub async fn mark_platform(tx: &mut Tx, id: AccountId) -> db::Result<()> {
    tx.query(PerEngine {
        sqlite: "UPDATE accounts SET platform = 1 WHERE id = $1",
        postgres: "UPDATE accounts SET platform = TRUE WHERE id = $1",
    })
    .bind(id.to_string())
    .execute()
    .await
    .map(|_| ())
}

/// Whether it is the account of whoever runs Clearway.
pub async fn is_platform<'c>(on: impl On<'c>, id: AccountId) -> db::Result<bool> {
    let count: i64 = on.query("SELECT count(*) FROM accounts WHERE id = $1 AND platform").bind(id.to_string()).scalar().await?;
    Ok(count == 1)
}

/// The account of whoever runs Clearway; `None` before the first start has made it.
pub async fn platform<'c>(on: impl On<'c>) -> db::Result<Option<AccountId>> {
    let row: Option<(String,)> = on.query("SELECT id FROM accounts WHERE platform ORDER BY id LIMIT 1").optional().await?;
    row.map(|(id,)| db::decode("accounts.id", &id)).transpose()
}

/// Another name.
pub async fn rename(tx: &mut Tx, id: AccountId, name: &str) -> db::Result<()> {
    tx.query("UPDATE accounts SET name = $2, version = version + 1 WHERE id = $1")
        .bind(id.to_string())
        .bind(name.to_owned())
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn subscribe(tx: &mut Tx, id: SubscriptionId, account: AccountId, plan: &str, now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO subscriptions (id, account_id, plan, started_at) VALUES ($1, $2, $3, $4)")
        .bind(id.to_string())
        .bind(account.to_string())
        .bind(plan.to_owned())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn end_subscription(tx: &mut Tx, account: AccountId, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE subscriptions SET ended_at = $2 WHERE account_id = $1 AND ended_at IS NULL")
        .bind(account.to_string())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// Whether new subscriptions to a plan are taken.
pub(super) async fn is_offered(tx: &mut Tx, plan: &str) -> db::Result<bool> {
    let count: i64 =
        tx.query("SELECT count(*) FROM plans WHERE name = $1 AND retired = FALSE").bind(plan.to_owned()).scalar().await?;
    Ok(count == 1)
}

/// Whether one plan stands before another in the list of plans.
pub(super) async fn stands_before(tx: &mut Tx, one: &str, other: &str) -> db::Result<bool> {
    let count: i64 = tx
        .query(
            "SELECT count(*)
             FROM plans one, plans other
             WHERE one.name = $1 AND other.name = $2 AND one.position < other.position",
        )
        .bind(one.to_owned())
        .bind(other.to_owned())
        .scalar()
        .await?;
    Ok(count > 0)
}

pub(super) async fn set_suspended(tx: &mut Tx, id: AccountId, suspended_at: Option<i64>) -> db::Result<()> {
    tx.query("UPDATE accounts SET suspended_at = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(suspended_at)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn set_policies(tx: &mut Tx, id: AccountId, policies: &[String]) -> db::Result<()> {
    tx.query("UPDATE accounts SET policies = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(serde_json::json!(policies).to_string())
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn set_brand(tx: &mut Tx, id: AccountId, brand: &str) -> db::Result<()> {
    tx.query("UPDATE accounts SET brand = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(brand.to_owned())
        .execute()
        .await
        .map(|_| ())
}

/// Counts a change of what its view shows.
pub(super) async fn count_change(tx: &mut Tx, id: AccountId) -> db::Result<()> {
    tx.query("UPDATE accounts SET version = version + 1 WHERE id = $1").bind(id.to_string()).execute().await.map(|_| ())
}

fn names(text: &str) -> db::Result<Vec<String>> {
    serde_json::from_str(text).map_err(|e| db::undecodable("accounts.policies", &e.to_string()))
}

pub(super) async fn find<'c>(on: impl On<'c>, id: AccountId) -> db::Result<Option<Account>> {
    let row = on
        .query(
            "SELECT a.id, a.name, a.created_at, a.suspended_at, a.policies, a.brand, a.version, s.plan, p.keys_max
             FROM accounts a
             JOIN subscriptions s ON s.account_id = a.id AND s.ended_at IS NULL
             JOIN plans p ON p.name = s.plan
             WHERE a.id = $1",
        )
        .bind(id.to_string())
        .optional::<AccountRow>()
        .await?;
    row.map(Account::try_from).transpose()
}

/// The account, and nobody else takes it until this transaction ends. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx, id: AccountId) -> db::Result<Option<Account>> {
    // The row is locked before its subscription is read: another plan may have been committed meanwhile.
    let locked = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM accounts WHERE id = $1",
            postgres: "SELECT id FROM accounts WHERE id = $1 FOR UPDATE",
        })
        .bind(id.to_string())
        .optional::<(String,)>()
        .await?;
    match locked {
        Some(_) => find(tx, id).await,
        None => Ok(None),
    }
}

/// Newest first.
pub(super) async fn list<'c>(on: impl On<'c>, paging: Paging<AccountId>) -> db::Result<Page<Account, AccountId>> {
    let rows = on
        .query(
            "SELECT a.id, a.name, a.created_at, a.suspended_at, a.policies, a.brand, a.version, s.plan, p.keys_max
             FROM accounts a
             JOIN subscriptions s ON s.account_id = a.id AND s.ended_at IS NULL
             JOIN plans p ON p.name = s.plan
             WHERE CAST($1 AS TEXT) IS NULL OR a.id < $1
             ORDER BY a.id DESC
             LIMIT $2 OFFSET $3",
        )
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<AccountRow>()
        .await?;
    let accounts = rows.into_iter().map(Account::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(accounts, paging.limit, |account| account.id))
}

pub(super) async fn count<'c>(on: impl On<'c>) -> db::Result<i64> {
    on.query("SELECT count(*) FROM accounts").scalar().await
}

/// Some accounts as proxies hold them, for a delta.
pub(super) async fn fed<'c>(on: impl On<'c>, ids: &[String]) -> db::Result<Vec<Fed>> {
    on.query(PerEngine {
        sqlite: "SELECT a.id, s.plan, a.suspended_at, a.policies
                 FROM json_each($1) wanted
                 JOIN accounts a ON a.id = wanted.value
                 JOIN subscriptions s ON s.account_id = a.id AND s.ended_at IS NULL",
        postgres: "SELECT a.id, s.plan, a.suspended_at, a.policies
                   FROM jsonb_array_elements_text($1) wanted (id)
                   JOIN accounts a ON a.id = wanted.id
                   JOIN subscriptions s ON s.account_id = a.id AND s.ended_at IS NULL",
    })
    .bind(Json(ids.to_vec()))
    .all()
    .await
}

/// The next accounts as proxies hold them, by id.
pub(super) async fn fed_after<'c>(on: impl On<'c>, after: String, limit: u32) -> db::Result<Vec<Fed>> {
    on.query(
        "SELECT a.id, s.plan, a.suspended_at, a.policies
         FROM accounts a
         JOIN subscriptions s ON s.account_id = a.id AND s.ended_at IS NULL
         WHERE a.id > $1
         ORDER BY a.id
         LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .all()
    .await
}

impl TryFrom<AccountRow> for Account {
    type Error = db::Error;

    fn try_from(row: AccountRow) -> db::Result<Self> {
        let AccountRow { id, name, created_at, suspended_at, plan, keys_max, policies, brand, version } = row;
        let policies = names(&policies)?;
        Ok(Self { id: db::decode("accounts.id", &id)?, name, created_at, suspended_at, plan, keys_max, policies, brand, version })
    }
}

/// How many there are, how many of them are suspended, and how many were opened since a moment.
pub async fn totals<'c>(on: impl On<'c>, since: i64) -> db::Result<(i64, i64, i64)> {
    on.query("SELECT count(*), count(suspended_at), count(CASE WHEN created_at >= $1 THEN 1 END) FROM accounts")
        .bind(since)
        .one()
        .await
}
