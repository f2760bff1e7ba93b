//! `oauth_grants`, and who the people are that gave them.

use clearway_config::{AccountId, ClientId, GrantId, Scopes, UserId};
use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, Db, On, Page, PerEngine, Tx, cut},
    http::Paging,
    oauth::{
        grants::{AppBounds, Grant, Standing},
        identity::Identity,
        resource::Resource,
    },
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
    resource: Option<String>,
    identity: String,
    jkt: Option<String>,
}

/// What a person has let an application do, for their export.
#[derive(Debug, FromRow)]
pub struct Given {
    pub client_id: String,
    pub account_id: String,
    pub scopes: Json<Scopes>,
    pub created_at: i64,
    pub last_used_at: i64,
    pub expires_at: i64,
    pub revoked_at: Option<i64>,
}

#[derive(Debug, FromRow)]
struct StandingRow {
    account_suspended_at: Option<i64>,
    user_suspended_at: Option<i64>,
    platform: bool,
    role: Option<String>,
    app_account_id: Option<String>,
    app_state: Option<String>,
    installed_scopes: Option<Json<Scopes>>,
}

pub(in crate::oauth) async fn insert(tx: &mut Tx, grant: &Grant) -> db::Result<()> {
    tx.query(
        "INSERT INTO oauth_grants (id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, resource,
              identity, jkt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(grant.id.to_string())
    .bind(grant.client_id.to_string())
    .bind(grant.account_id.to_string())
    .bind(grant.user_id.map(|id| id.to_string()))
    .bind(Json(grant.scopes.clone()))
    .bind(grant.created_at)
    .bind(grant.last_used_at)
    .bind(grant.expires_at)
    .bind(grant.resource.path().map(str::to_owned))
    .bind(grant.identity.stored())
    .bind(grant.jkt.clone())
    .execute()
    .await
    .map(|_| ())
}

/// The grant, if it is of `account`; NULL is every account, for whoever looks after the protocol.
pub(in crate::oauth) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: GrantId) -> db::Result<Option<Grant>> {
    let row = on
        .query(
            "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at, resource, identity,
                    jkt
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
            "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at, resource, identity,
                    jkt
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

/// Has whoever refreshes a grant's tokens prove a key.
pub(in crate::oauth) async fn bind(tx: &mut Tx, id: GrantId, jkt: &str) -> db::Result<()> {
    tx.query("UPDATE oauth_grants SET jkt = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(jkt.to_owned())
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

/// A person's grants that were not ended, in one account or in all of them; nobody else ends them or is given tokens of them
/// until this transaction ends. SQLite has one writer anyway.
pub(in crate::oauth) async fn lock_of_person(tx: &mut Tx, user: UserId, account: Option<AccountId>) -> db::Result<Vec<Grant>> {
    let mut grants = Vec::new();
    loop {
        let rows = tx
            .query(PerEngine {
                sqlite: "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at, resource, identity, jkt
                         FROM oauth_grants
                         WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2) AND revoked_at IS NULL AND id > $3
                         ORDER BY id
                         LIMIT $4",
                postgres: "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at, resource, identity, jkt
                           FROM oauth_grants
                           WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2) AND revoked_at IS NULL AND id > $3
                           ORDER BY id
                           LIMIT $4
                           FOR UPDATE",
            })
            .bind(user.to_string())
            .bind(account.map(|id| id.to_string()))
            .bind(after(&grants))
            .bind(AT_ONCE_MAX)
            .all::<Row>()
            .await?;
        if !extend(&mut grants, rows)? {
            return Ok(grants);
        }
    }
}

/// What people of an account have let a client do there, as [`lock_of_person`] has it.
pub(in crate::oauth) async fn lock_in_account(tx: &mut Tx, account: AccountId, client: ClientId) -> db::Result<Vec<Grant>> {
    let mut grants = Vec::new();
    loop {
        let rows = tx
            .query(PerEngine {
                sqlite: "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at, resource, identity, jkt
                         FROM oauth_grants
                         WHERE account_id = $1 AND client_id = $2 AND user_id IS NOT NULL AND revoked_at IS NULL AND id > $3
                         ORDER BY id
                         LIMIT $4",
                postgres: "SELECT id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at, revoked_at, resource, identity, jkt
                           FROM oauth_grants
                           WHERE account_id = $1 AND client_id = $2 AND user_id IS NOT NULL AND revoked_at IS NULL AND id > $3
                           ORDER BY id
                           LIMIT $4
                           FOR UPDATE",
            })
            .bind(account.to_string())
            .bind(client.to_string())
            .bind(after(&grants))
            .bind(AT_ONCE_MAX)
            .all::<Row>()
            .await?;
        if !extend(&mut grants, rows)? {
            return Ok(grants);
        }
    }
}

/// From where the next page of those that are locked goes on.
fn after(grants: &[Grant]) -> String {
    grants.last().map(|grant| grant.id.to_string()).unwrap_or_default()
}

/// Adds a page; whether there may be another.
fn extend(grants: &mut Vec<Grant>, rows: Vec<Row>) -> db::Result<bool> {
    let full = i64::try_from(rows.len()).is_ok_and(|rows| rows == AT_ONCE_MAX);
    for row in rows {
        grants.push(Grant::try_from(row)?);
    }
    Ok(full)
}

/// What a person has let applications do so far, newest first: application, account, scopes as JSON, and when it was given,
/// last used, ends and was ended.
pub async fn given_by<'c>(on: impl On<'c>, user: UserId, max: i64) -> db::Result<Vec<Given>> {
    on.query(
        "SELECT client_id, account_id, scopes, created_at, last_used_at, expires_at, revoked_at
         FROM oauth_grants
         WHERE user_id = $1
         ORDER BY id DESC
         LIMIT $2",
    )
    .bind(user.to_string())
    .bind(max)
    .all()
    .await
}

/// What stands behind a grant to `client` now: an account, a person with a role in it, and, where the client is an app's,
/// whether the app is installed. `None` where the account is gone.
pub(in crate::oauth) async fn standing<'c>(
    on: impl On<'c>,
    account: AccountId,
    user: Option<UserId>,
    client: ClientId,
) -> db::Result<Option<Standing>> {
    let row = on
        .query(
            "SELECT a.suspended_at AS account_suspended_at, u.suspended_at AS user_suspended_at, a.platform, m.role,
                    p.account_id AS app_account_id, p.state AS app_state, i.scopes AS installed_scopes
             FROM accounts a
             LEFT JOIN memberships m ON m.account_id = a.id AND m.user_id = $2
             LEFT JOIN users u ON u.id = m.user_id
             LEFT JOIN app_clients l ON l.client_id = $3
             LEFT JOIN apps p ON p.id = l.app_id
             LEFT JOIN installations i ON i.app_id = p.id AND i.account_id = a.id AND i.uninstalled_at IS NULL
             WHERE a.id = $1",
        )
        .bind(account.to_string())
        .bind(user.map(|id| id.to_string()))
        .bind(client.to_string())
        .optional::<StandingRow>()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let role = row.role.as_deref().map(|role| db::decode("memberships.role", role)).transpose()?;
    let suspended = row.account_suspended_at.or(row.user_suspended_at).is_some();
    let app = match (row.app_account_id, row.app_state.as_deref(), row.installed_scopes) {
        (None, ..) => AppBounds::None,
        (Some(_), Some("suspended" | "removed"), _) => AppBounds::Closed,
        (Some(of), ..) if of == account.to_string() => AppBounds::None,
        (Some(_), _, Some(Json(scopes))) => AppBounds::Installed(scopes),
        (Some(_), _, None) => AppBounds::Closed,
    };
    Ok(Some(Standing { suspended, platform: row.platform, role, app }))
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
        tx.query("DELETE FROM oauth_devices WHERE grant_id = $1").bind(id.clone()).execute().await?;
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
            resource: Resource::of_path(row.resource),
            identity: Identity::of_stored(&row.identity),
            jkt: row.jkt,
        })
    }
}
