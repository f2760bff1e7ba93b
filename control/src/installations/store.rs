//! Every statement on `installations` and `installation_objects`.

use clearway_config::{AccountId, AppId, InstallationId, Scopes};
use sqlx::{FromRow, types::Json};

use super::model::{Installation, Tied};
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    app_id: String,
    slug: String,
    name: String,
    account_id: String,
    scopes: Json<Scopes>,
    app_version: String,
    installed_by: String,
    version: i64,
    installed_at: i64,
    updated_at: i64,
    uninstalled_at: Option<i64>,
}

/// A conflict (`installations_app_id_account_id_key`) where the account has the app already.
pub(super) async fn insert(tx: &mut Tx, installation: &Installation) -> db::Result<()> {
    let of = installation.clone();
    tx.query(
        "INSERT INTO installations (id, app_id, account_id, scopes, app_version, installed_by, version, installed_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(of.id.to_string())
    .bind(of.app_id.to_string())
    .bind(of.account_id.to_string())
    .bind(Json(of.scopes))
    .bind(of.app_version)
    .bind(of.installed_by)
    .bind(of.version)
    .bind(of.installed_at)
    .bind(of.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save(tx: &mut Tx, installation: &Installation) -> db::Result<()> {
    let of = installation.clone();
    let changed = tx
        .query(
            "UPDATE installations SET scopes = $3, app_version = $4, version = $5, updated_at = $6, uninstalled_at = $7
             WHERE id = $1 AND account_id = $2",
        )
        .bind(of.id.to_string())
        .bind(of.account_id.to_string())
        .bind(Json(of.scopes))
        .bind(of.app_version)
        .bind(of.version)
        .bind(of.updated_at)
        .bind(of.uninstalled_at)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(db::Error::Other(sqlx::Error::RowNotFound)) }
}

/// The installation, if it is of `account`; NULL is every account, for admins.
pub async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: InstallationId) -> db::Result<Option<Installation>> {
    let row = on
        .query(
            "SELECT i.id, i.app_id, l.slug, l.name, i.account_id, i.scopes, i.app_version, i.installed_by, i.version,
                    i.installed_at, i.updated_at, i.uninstalled_at
             FROM installations i JOIN app_listings l ON l.app_id = i.app_id
             WHERE i.id = $1 AND (CAST($2 AS TEXT) IS NULL OR i.account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Installation::try_from).transpose()
}

/// Nobody else changes it until this transaction ends. Its listing must be locked before.
pub(super) async fn lock(tx: &mut Tx, id: InstallationId) -> db::Result<Option<Installation>> {
    tx.query(PerEngine {
        sqlite: "SELECT id FROM installations WHERE id = $1",
        postgres: "SELECT id FROM installations WHERE id = $1 FOR UPDATE",
    })
    .bind(id.to_string())
    .optional::<(String,)>()
    .await?;
    find(tx, None, id).await
}

/// Those that are there, newest first; `app` is only that one.
pub(super) async fn list<'c>(
    on: impl On<'c>,
    account: AccountId,
    app: Option<AppId>,
    paging: Paging<InstallationId>,
) -> db::Result<Page<Installation, InstallationId>> {
    let rows = on
        .query(
            "SELECT i.id, i.app_id, l.slug, l.name, i.account_id, i.scopes, i.app_version, i.installed_by, i.version,
                    i.installed_at, i.updated_at, i.uninstalled_at
             FROM installations i JOIN app_listings l ON l.app_id = i.app_id
             WHERE i.account_id = $1 AND i.uninstalled_at IS NULL
               AND (CAST($2 AS TEXT) IS NULL OR i.app_id = $2)
               AND (CAST($3 AS TEXT) IS NULL OR i.id < $3)
             ORDER BY i.id DESC
             LIMIT $4 OFFSET $5",
        )
        .bind(account.to_string())
        .bind(app.map(|id| id.to_string()))
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let installations = rows.into_iter().map(Installation::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(installations, paging.limit, |installation| installation.id))
}

/// Whether the account has the app now.
pub async fn is_installed(tx: &mut Tx, app: AppId, account: AccountId) -> db::Result<bool> {
    let count: i64 = tx
        .query("SELECT count(*) FROM installations WHERE app_id = $1 AND account_id = $2 AND uninstalled_at IS NULL")
        .bind(app.to_string())
        .bind(account.to_string())
        .scalar()
        .await?;
    Ok(count > 0)
}

/// What is tied to it, keys first, in the order of their ids.
pub(super) async fn tied<'c>(on: impl On<'c>, id: InstallationId) -> db::Result<Vec<Tied>> {
    let rows: Vec<(String, String)> = on
        .query("SELECT kind, object_id FROM installation_objects WHERE installation_id = $1 ORDER BY kind, object_id LIMIT 1000")
        .bind(id.to_string())
        .all()
        .await?;
    let read = |(kind, id): (String, String)| {
        Ok(match kind.as_str() {
            "key" => Tied::Key(db::decode("installation_objects.object_id", &id)?),
            _ => Tied::Webhook(db::decode("installation_objects.object_id", &id)?),
        })
    };
    rows.into_iter().map(read).collect()
}

/// Whose it is, if it is anyone's.
pub(super) async fn tied_to(tx: &mut Tx, object: Tied) -> db::Result<Option<String>> {
    let row: Option<(String,)> =
        tx.query("SELECT installation_id FROM installation_objects WHERE object_id = $1").bind(object.id()).optional().await?;
    Ok(row.map(|(id,)| id))
}

pub(super) async fn insert_tied(tx: &mut Tx, id: InstallationId, object: Tied, now_ms: i64) -> db::Result<()> {
    tx.query("INSERT INTO installation_objects (installation_id, kind, object_id, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id.to_string())
        .bind(object.kind())
        .bind(object.id())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

impl TryFrom<Row> for Installation {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("installations.id", &row.id)?,
            app_id: db::decode("installations.app_id", &row.app_id)?,
            app_slug: row.slug,
            app_name: row.name,
            account_id: db::decode("installations.account_id", &row.account_id)?,
            scopes: row.scopes.0,
            app_version: row.app_version,
            installed_by: row.installed_by,
            version: row.version,
            installed_at: row.installed_at,
            updated_at: row.updated_at,
            uninstalled_at: row.uninstalled_at,
        })
    }
}
