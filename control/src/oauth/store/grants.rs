//! `oauth_grants`, and who the people are that gave them.

use clearway_config::{AccountId, ClientId, GrantId, Scopes, UserId};
use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, Db, On, Page, PerEngine, Tx, cut},
    http::Paging,
    oauth::grants::{Grant, Standing},
};

/// Rows that one statement reads at most.
const AT_ONCE_MAX: i64 = 1_000;
/// Grants that one sweep removes at most: each takes several statements.
const SWEEP_MAX: i64 = 200;

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    client_id: String,
    account_id: String,
    user_id: Option<String>,
    scopes: Json<Scopes>,
    created_at: i64,
    last_used_at: i64,
    expires_at: i64,
    revoked_at: Option<i64>,
}

#[derive(Debug, FromRow)]
struct StandingRow {
    account_suspended_at: Option<i64>,
    user_suspended_at: Option<i64>,
    platform: bool,
    role: Option<String>,
}

pub(in crate::oauth) async fn insert(tx: &mut Tx, grant: &Grant) -> db::Result<()> {
    tx.query(
        "INSERT INTO oauth_grants (id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(grant.id.to_string())
    .bind(grant.client_id.to_string())
    .bind(grant.account_id.to_string())
    .bind(grant.user_id.map(|id| id.to_string()))
    .bind(Json(grant.scopes.clone()))
    .bind(grant.created_at)
    .bind(grant.last_used_at)
    .bind(grant.expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// The grant, if it is of `account`; NULL is every account, for whoever looks after the protocol.
pub(in crate::oauth) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: GrantId) -> db::Result<Option<Grant>> {
    let row = on
        .query(
            "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at
             FROM oauth_grants
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Grant::try_from).transpose()
}

/// [`find`], and nobody else ends it or is given tokens of it until this transaction ends. SQLite has one writer anyway.
pub(in crate::oauth) async fn lock(tx: &mut Tx, account: Option<AccountId>, id: GrantId) -> db::Result<Option<Grant>> {
    tx.query(PerEngine { sqlite: "SELECT 1 WHERE $1 = $1", postgres: "SELECT 1 FROM oauth_grants WHERE id = $1 FOR UPDATE" })
        .bind(id.to_string())
        .execute()
        .await?;
    find(&mut *tx, account, id).await
}

/// An account's grants in force, newest first.
pub(in crate::oauth) async fn list(
    db: &Db,
    account: AccountId,
    paging: Paging<GrantId>,
    now_ms: i64,
) -> db::Result<Page<Grant, GrantId>> {
    let rows = db
        .query(
            "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at
             FROM oauth_grants
             WHERE account_id = $1 AND revoked_at IS NULL AND expires_at > $2 AND (CAST($3 AS TEXT) IS NULL OR id < $3)
             ORDER BY id DESC
             LIMIT $4 OFFSET $5",
        )
        .bind(account.to_string())
        .bind(now_ms)
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let grants = rows.into_iter().map(Grant::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(grants, paging.limit, |grant| grant.id))
}

/// Notes that tokens were given, and how long the grant goes on.
pub(in crate::oauth) async fn used(tx: &mut Tx, id: GrantId, now_ms: i64, expires_at: i64) -> db::Result<()> {
    tx.query("UPDATE oauth_grants SET last_used_at = $2, expires_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(now_ms)
        .bind(expires_at)
        .execute()
        .await
        .map(|_| ())
}

/// Ends a grant; whether it was in force.
pub(in crate::oauth) async fn end(tx: &mut Tx, id: GrantId, why: &str, now_ms: i64) -> db::Result<bool> {
    let ended = tx
        .query("UPDATE oauth_grants SET revoked_at = $2, revoked_for = $3 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id.to_string())
        .bind(now_ms)
        .bind(why.to_owned())
        .execute()
        .await?;
    Ok(ended > 0)
}

/// Ends all grants of a client; how many were in force.
pub(in crate::oauth) async fn end_of_client(tx: &mut Tx, client: ClientId, why: &str, now_ms: i64) -> db::Result<u64> {
    tx.query("UPDATE oauth_grants SET revoked_at = $2, revoked_for = $3 WHERE client_id = $1 AND revoked_at IS NULL")
        .bind(client.to_string())
        .bind(now_ms)
        .bind(why.to_owned())
        .execute()
        .await
}

/// A person's grants in force, in one account or in all of them.
pub(in crate::oauth) async fn of_person(tx: &mut Tx, user: UserId, account: Option<AccountId>) -> db::Result<Vec<Grant>> {
    let rows = tx
        .query(
            "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at
             FROM oauth_grants
             WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2) AND revoked_at IS NULL
             ORDER BY id
             LIMIT $3",
        )
        .bind(user.to_string())
        .bind(account.map(|id| id.to_string()))
        .bind(AT_ONCE_MAX)
        .all::<Row>()
        .await?;
    rows.into_iter().map(Grant::try_from).collect()
}

/// What stands behind a grant now: an account, and a person with a role in it. `None` where the account is gone.
pub(in crate::oauth) async fn standing<'c>(
    on: impl On<'c>,
    account: AccountId,
    user: Option<UserId>,
) -> db::Result<Option<Standing>> {
    let row = on
        .query(
            "SELECT a.suspended_at AS account_suspended_at, u.suspended_at AS user_suspended_at, a.platform, m.role
             FROM accounts a
             LEFT JOIN memberships m ON m.account_id = a.id AND m.user_id = $2
             LEFT JOIN users u ON u.id = m.user_id
             WHERE a.id = $1",
        )
        .bind(account.to_string())
        .bind(user.map(|id| id.to_string()))
        .optional::<StandingRow>()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let role = row.role.as_deref().map(|role| db::decode("memberships.role", role)).transpose()?;
    let suspended = row.account_suspended_at.or(row.user_suspended_at).is_some();
    Ok(Some(Standing { suspended, platform: row.platform, role }))
}

/// Removes grants that ended, by themselves or otherwise, before a moment, with what is left of them; two hundred at most.
pub(in crate::oauth) async fn sweep(tx: &mut Tx, before: i64) -> db::Result<u64> {
    let ids: Vec<(String,)> = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM oauth_grants WHERE expires_at < $1 OR revoked_at < $1 LIMIT $2",
            postgres: "SELECT id FROM oauth_grants WHERE expires_at < $1 OR revoked_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED",
        })
        .bind(before)
        .bind(SWEEP_MAX)
        .all()
        .await?;
    for (id,) in &ids {
        tx.query("DELETE FROM oauth_codes WHERE grant_id = $1").bind(id.clone()).execute().await?;
        tx.query("DELETE FROM oauth_refresh_tokens WHERE grant_id = $1").bind(id.clone()).execute().await?;
        tx.query("DELETE FROM oauth_grants WHERE id = $1").bind(id.clone()).execute().await?;
    }
    Ok(ids.len() as u64)
}

impl TryFrom<Row> for Grant {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("oauth_grants.id", &row.id)?,
            client_id: db::decode("oauth_grants.client_id", &row.client_id)?,
            account_id: db::decode("oauth_grants.account_id", &row.account_id)?,
            user_id: row.user_id.as_deref().map(|id| db::decode("oauth_grants.user_id", id)).transpose()?,
            scopes: row.scopes.0,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        })
    }
}
