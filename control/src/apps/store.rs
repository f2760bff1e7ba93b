//! Every statement on `apps`, `app_versions` and `app_clients`.

use clearway_config::{AccountId, AppId, AppVersionId, ClientId};
use sqlx::{FromRow, types::Json};

use super::{
    content::Content,
    model::{App, Finding, Version, Waiting, Whole},
};
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct AppRow {
    id: String,
    account_id: String,
    slug: String,
    state: String,
    live_id: Option<String>,
    proposal_id: Option<String>,
    reason: Option<String>,
    version: i64,
    published_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

#[derive(Debug, FromRow)]
struct VersionRow {
    id: String,
    app_id: String,
    number: String,
    state: String,
    content: Json<Content>,
    findings: Json<Vec<Finding>>,
    probe_id: Option<String>,
    check_due: Option<i64>,
    submitted_at: Option<i64>,
    decided_at: Option<i64>,
    decided_by: Option<String>,
    reason: Option<String>,
    created_at: i64,
    updated_at: i64,
}

/// A conflict (`apps_slug_key`) where the slug is another's.
pub(super) async fn insert(tx: &mut Tx, app: &App) -> db::Result<()> {
    let of = app.clone();
    tx.query(
        "INSERT INTO apps (id, account_id, slug, state, live_id, proposal_id, reason, version, published_at, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(of.id.to_string())
    .bind(of.account_id.to_string())
    .bind(of.slug)
    .bind(of.state.as_str())
    .bind(of.live.map(|id| id.to_string()))
    .bind(of.proposal.map(|id| id.to_string()))
    .bind(of.reason)
    .bind(of.version)
    .bind(of.published_at)
    .bind(of.created_at)
    .bind(of.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save(tx: &mut Tx, app: &App) -> db::Result<()> {
    let of = app.clone();
    let changed = tx
        .query(
            "UPDATE apps
             SET state = $3, live_id = $4, proposal_id = $5, reason = $6, version = $7, published_at = $8, updated_at = $9
             WHERE id = $1 AND account_id = $2",
        )
        .bind(of.id.to_string())
        .bind(of.account_id.to_string())
        .bind(of.state.as_str())
        .bind(of.live.map(|id| id.to_string()))
        .bind(of.proposal.map(|id| id.to_string()))
        .bind(of.reason)
        .bind(of.version)
        .bind(of.published_at)
        .bind(of.updated_at)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

/// The app, if it is of `account`; NULL is every account, for admins.
pub async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: AppId) -> db::Result<Option<App>> {
    let row = on
        .query(
            "SELECT id, account_id, slug, state, live_id, proposal_id, reason, version, published_at, created_at, updated_at
             FROM apps
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<AppRow>()
        .await?;
    row.map(App::try_from).transpose()
}

/// [`find`] with its versions, and nobody else changes the app until this transaction ends. SQLite has one writer anyway.
/// Installing, which refers to it, does not wait.
pub(super) async fn lock(tx: &mut Tx, account: Option<AccountId>, id: AppId) -> db::Result<Option<Whole>> {
    let locked = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM apps WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
            postgres: "SELECT id FROM apps WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2) FOR NO KEY UPDATE",
        })
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<(String,)>()
        .await?;
    match locked {
        Some(_) => whole(tx, account, id).await,
        None => Ok(None),
    }
}

/// [`find`] with its versions, as one state of the database.
pub(super) async fn whole(tx: &mut Tx, account: Option<AccountId>, id: AppId) -> db::Result<Option<Whole>> {
    let Some(app) = find(&mut *tx, account, id).await? else { return Ok(None) };
    let live = version(&mut *tx, app.live).await?;
    let proposal = version(&mut *tx, app.proposal).await?;
    Ok(Some(Whole { app, live, proposal }))
}

/// Newest first.
pub(super) async fn list<'c>(on: impl On<'c>, account: AccountId, paging: Paging<AppId>) -> db::Result<Page<App, AppId>> {
    let rows = on
        .query(
            "SELECT id, account_id, slug, state, live_id, proposal_id, reason, version, published_at, created_at, updated_at
             FROM apps
             WHERE account_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(account.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<AppRow>()
        .await?;
    let apps = rows.into_iter().map(App::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(apps, paging.limit, |app| app.id))
}

/// Of an account, those that are not removed.
pub(super) async fn count<'c>(on: impl On<'c>, account: AccountId) -> db::Result<i64> {
    on.query("SELECT count(*) FROM apps WHERE account_id = $1 AND state <> 'removed'").bind(account.to_string()).scalar().await
}

/// A conflict (`app_versions_app_id_number_key`) where the app has one of that number.
pub(super) async fn insert_version(tx: &mut Tx, version: &Version) -> db::Result<()> {
    let of = version.clone();
    tx.query(
        "INSERT INTO app_versions (id, app_id, number, state, content, findings, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(of.id.to_string())
    .bind(of.app_id.to_string())
    .bind(of.number.to_string())
    .bind(of.state.as_str())
    .bind(Json(of.content))
    .bind(Json(of.findings))
    .bind(of.created_at)
    .bind(of.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save_version(tx: &mut Tx, version: &Version) -> db::Result<()> {
    let of = version.clone();
    let changed = tx
        .query(
            "UPDATE app_versions
             SET number = $3, state = $4, content = $5, findings = $6, probe_id = $7, check_due = $8, submitted_at = $9,
                 decided_at = $10, decided_by = $11, reason = $12, updated_at = $13
             WHERE id = $1 AND app_id = $2",
        )
        .bind(of.id.to_string())
        .bind(of.app_id.to_string())
        .bind(of.number.to_string())
        .bind(of.state.as_str())
        .bind(Json(of.content))
        .bind(Json(of.findings))
        .bind(of.probe.map(|id| id.to_string()))
        .bind(of.check_due)
        .bind(of.submitted_at)
        .bind(of.decided_at)
        .bind(of.decided_by)
        .bind(of.reason)
        .bind(of.updated_at)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

async fn version<'c>(on: impl On<'c>, id: Option<AppVersionId>) -> db::Result<Option<Version>> {
    let Some(id) = id else { return Ok(None) };
    let row = on
        .query(
            "SELECT id, app_id, number, state, content, findings, probe_id, check_due, submitted_at, decided_at, decided_by,
                    reason, created_at, updated_at
             FROM app_versions
             WHERE id = $1",
        )
        .bind(id.to_string())
        .one::<VersionRow>()
        .await?;
    row.try_into().map(Some)
}

/// Newest first.
pub(super) async fn versions<'c>(
    on: impl On<'c>,
    app: AppId,
    paging: Paging<AppVersionId>,
) -> db::Result<Page<Version, AppVersionId>> {
    let rows = on
        .query(
            "SELECT id, app_id, number, state, content, findings, probe_id, check_due, submitted_at, decided_at, decided_by,
                    reason, created_at, updated_at
             FROM app_versions
             WHERE app_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(app.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<VersionRow>()
        .await?;
    let versions = rows.into_iter().map(Version::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(versions, paging.limit, |version| version.id))
}

pub(super) async fn count_versions(tx: &mut Tx, app: AppId) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM app_versions WHERE app_id = $1").bind(app.to_string()).scalar().await
}

/// What waits for the checks or for a person: who has waited longest first.
pub(super) async fn queue<'c>(on: impl On<'c>, paging: Paging<Waiting>) -> db::Result<Page<Waiting, Waiting>> {
    let after = paging.cursor.map(|after| (after.since, after.version.to_string())).unzip();
    let rows = on
        .query(
            "SELECT a.id, v.id, v.submitted_at FROM app_versions v JOIN apps a ON a.proposal_id = v.id
             WHERE v.state IN ('pending', 'in_review') AND v.submitted_at IS NOT NULL
               AND (CAST($1 AS BIGINT) IS NULL OR (v.submitted_at, v.id) > ($1, $2))
             ORDER BY v.submitted_at, v.id
             LIMIT $3 OFFSET $4",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<(String, String, i64)>()
        .await?;
    let waiting = |(app, version, since): (String, String, i64)| {
        Ok(Waiting { app: db::decode("apps.id", &app)?, version: db::decode("app_versions.id", &version)?, since })
    };
    let rows = rows.into_iter().map(waiting).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(rows, paging.limit, |waiting| *waiting))
}

/// Apps whose checks are due, who has waited longest first.
pub(super) async fn due<'c>(on: impl On<'c>, now_ms: i64, limit: u32) -> db::Result<Vec<AppId>> {
    let rows = on
        .query(
            "SELECT a.id FROM app_versions v JOIN apps a ON a.proposal_id = v.id
             WHERE v.check_due <= $1 AND v.state = 'pending'
             ORDER BY v.check_due
             LIMIT $2",
        )
        .bind(now_ms)
        .bind(i64::from(limit))
        .all::<(String,)>()
        .await?;
    rows.into_iter().map(|(id,)| db::decode("apps.id", &id)).collect()
}

/// The OAuth client of an app, and whose app it is.
pub async fn client_of<'c>(on: impl On<'c>, app: AppId) -> db::Result<Option<(ClientId, AccountId)>> {
    let row: Option<(String, String)> = on
        .query("SELECT l.client_id, a.account_id FROM app_clients l JOIN apps a ON a.id = l.app_id WHERE l.app_id = $1")
        .bind(app.to_string())
        .optional()
        .await?;
    row.map(|(client, account)| Ok((db::decode("app_clients.client_id", &client)?, db::decode("apps.account_id", &account)?)))
        .transpose()
}

/// Whether an OAuth client is an app's.
pub async fn is_client<'c>(on: impl On<'c>, client: ClientId) -> db::Result<bool> {
    let count: i64 = on.query("SELECT count(*) FROM app_clients WHERE client_id = $1").bind(client.to_string()).scalar().await?;
    Ok(count > 0)
}

/// A conflict (`app_clients_client_id_key`) where the client is another app's.
pub(super) async fn link(tx: &mut Tx, app: AppId, client: ClientId, now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO app_clients (app_id, client_id, created_at) VALUES ($1, $2, $3)")
        .bind(app.to_string())
        .bind(client.to_string())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn unlink(tx: &mut Tx, app: AppId) -> db::Result<()> {
    tx.query("DELETE FROM app_clients WHERE app_id = $1").bind(app.to_string()).execute().await.map(|_| ())
}

impl TryFrom<AppRow> for App {
    type Error = db::Error;

    fn try_from(row: AppRow) -> db::Result<Self> {
        let version = |column, id: Option<String>| id.map(|id| db::decode(column, &id)).transpose();
        Ok(Self {
            id: db::decode("apps.id", &row.id)?,
            account_id: db::decode("apps.account_id", &row.account_id)?,
            slug: row.slug,
            state: db::decode("apps.state", &row.state)?,
            live: version("apps.live_id", row.live_id)?,
            proposal: version("apps.proposal_id", row.proposal_id)?,
            reason: row.reason,
            version: row.version,
            published_at: row.published_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl TryFrom<VersionRow> for Version {
    type Error = db::Error;

    fn try_from(row: VersionRow) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("app_versions.id", &row.id)?,
            app_id: db::decode("app_versions.app_id", &row.app_id)?,
            number: db::decode("app_versions.number", &row.number)?,
            state: db::decode("app_versions.state", &row.state)?,
            content: row.content.0,
            findings: row.findings.0,
            probe: row.probe_id.map(|id| db::decode("app_versions.probe_id", &id)).transpose()?,
            check_due: row.check_due,
            submitted_at: row.submitted_at,
            decided_at: row.decided_at,
            decided_by: row.decided_by,
            reason: row.reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
