//! Every statement on `projects`.

use clearway_config::{AccountId, ProjectId};
use sqlx::{FromRow, types::Json};

use super::Project;
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    account_id: String,
    title: String,
    summary: String,
    description: String,
    url: Option<String>,
    tags: Json<Vec<String>>,
    app_id: Option<String>,
    version: i64,
    published_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

/// How many an account has, and how many of those are published.
#[derive(Debug, Clone, Copy, FromRow)]
pub(super) struct Counts {
    pub(super) projects: i64,
    pub(super) published: i64,
}

pub(super) async fn insert(tx: &mut Tx, project: &Project) -> db::Result<()> {
    let of = project.clone();
    tx.query(
        "INSERT INTO projects (id, account_id, title, summary, description, url, tags, app_id, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)",
    )
    .bind(of.id.to_string())
    .bind(of.account_id.to_string())
    .bind(of.title)
    .bind(of.summary)
    .bind(of.description)
    .bind(of.url)
    .bind(Json(of.tags))
    .bind(of.app_id.map(|id| id.to_string()))
    .bind(of.version)
    .bind(of.created_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save(tx: &mut Tx, project: &Project) -> db::Result<()> {
    let of = project.clone();
    let changed = tx
        .query(
            "UPDATE projects
             SET title = $3, summary = $4, description = $5, url = $6, tags = $7, app_id = $8, version = $9, published_at = $10,
                 updated_at = $11
             WHERE id = $1 AND account_id = $2",
        )
        .bind(of.id.to_string())
        .bind(of.account_id.to_string())
        .bind(of.title)
        .bind(of.summary)
        .bind(of.description)
        .bind(of.url)
        .bind(Json(of.tags))
        .bind(of.app_id.map(|id| id.to_string()))
        .bind(of.version)
        .bind(of.published_at)
        .bind(of.updated_at)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

pub(super) async fn delete(tx: &mut Tx, project: &Project) -> db::Result<()> {
    tx.query("DELETE FROM projects WHERE id = $1 AND account_id = $2")
        .bind(project.id.to_string())
        .bind(project.account_id.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// The project, if it is of `account`; NULL is every account, for admins.
pub(super) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: ProjectId) -> db::Result<Option<Project>> {
    let row = on
        .query(
            "SELECT id, account_id, title, summary, description, url, tags, app_id, version, published_at, created_at, updated_at
             FROM projects
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Project::try_from).transpose()
}

/// [`find`], and nobody else changes the project until this transaction ends. SQLite has one writer anyway.
pub(super) async fn lock(tx: &mut Tx, account: Option<AccountId>, id: ProjectId) -> db::Result<Option<Project>> {
    tx.query(PerEngine {
        sqlite: "SELECT id FROM projects WHERE id = $1",
        postgres: "SELECT id FROM projects WHERE id = $1 FOR UPDATE",
    })
    .bind(id.to_string())
    .optional::<(String,)>()
    .await?;
    find(tx, account, id).await
}

/// All of an account's, newest first.
pub async fn of_account<'c>(on: impl On<'c>, account: AccountId, max: i64) -> db::Result<Vec<Project>> {
    let rows: Vec<Row> = on
        .query(
            "SELECT id, account_id, title, summary, description, url, tags, app_id, version, published_at, created_at, updated_at
             FROM projects
             WHERE account_id = $1
             ORDER BY id DESC
             LIMIT $2",
        )
        .bind(account.to_string())
        .bind(max)
        .all()
        .await?;
    rows.into_iter().map(Project::try_from).collect()
}

/// None of an account's is left.
pub async fn forget(tx: &mut Tx, account: AccountId) -> db::Result<()> {
    tx.query("DELETE FROM projects WHERE account_id = $1").bind(account.to_string()).execute().await.map(|_| ())
}

/// Newest first; `published` is only what everybody sees.
pub(super) async fn list<'c>(
    on: impl On<'c>,
    account: AccountId,
    published: bool,
    paging: Paging<ProjectId>,
) -> db::Result<Page<Project, ProjectId>> {
    let rows = on
        .query(
            "SELECT id, account_id, title, summary, description, url, tags, app_id, version, published_at, created_at, updated_at
             FROM projects
             WHERE account_id = $1 AND (NOT $2 OR published_at IS NOT NULL) AND (CAST($3 AS TEXT) IS NULL OR id < $3)
             ORDER BY id DESC
             LIMIT $4 OFFSET $5",
        )
        .bind(account.to_string())
        .bind(published)
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let projects = rows.into_iter().map(Project::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(projects, paging.limit, |project| project.id))
}

pub(super) async fn count<'c>(on: impl On<'c>, account: AccountId) -> db::Result<Counts> {
    on.query("SELECT count(*) AS projects, count(published_at) AS published FROM projects WHERE account_id = $1")
        .bind(account.to_string())
        .one()
        .await
}

impl TryFrom<Row> for Project {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("projects.id", &row.id)?,
            account_id: db::decode("projects.account_id", &row.account_id)?,
            title: row.title,
            summary: row.summary,
            description: row.description,
            url: row.url,
            tags: row.tags.0,
            app_id: row.app_id.map(|id| db::decode("projects.app_id", &id)).transpose()?,
            version: row.version,
            published_at: row.published_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
