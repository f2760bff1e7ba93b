//! `oauth_devices`.

use clearway_config::{ClientId, GrantId, Scopes};
use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, Db, On, PerEngine, Tx},
    oauth::{device::Device, identity::Identity, resource::Resource},
};

#[derive(Debug, FromRow)]
struct Row {
    hash: Vec<u8>,
    user_code: String,
    client_id: String,
    scopes: Json<Scopes>,
    identity: String,
    resource: Option<String>,
    pause: i64,
    asked_at: Option<i64>,
    denied: bool,
    grant_id: Option<String>,
    authenticated_at: Option<i64>,
    expires_at: i64,
}

/// A conflict (`oauth_devices_user_code_key`) where another device has the code that people type.
pub(in crate::oauth) async fn insert(db: &Db, device: &Device) -> db::Result<()> {
    db.query(
        "INSERT INTO oauth_devices (hash, user_code, client_id, scopes, identity, resource, pause, denied, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(device.hash.clone())
    .bind(device.user_code.clone())
    .bind(device.client_id.to_string())
    .bind(Json(device.wanted.scopes.clone()))
    .bind(device.wanted.identity.stored())
    .bind(device.resource.path().map(str::to_owned))
    .bind(device.pause_s)
    .bind(device.denied)
    .bind(device.expires_at)
    .execute()
    .await
    .map(|_| ())
}

/// The device that a person has typed the code of, while nobody has decided on it.
pub(in crate::oauth) async fn waiting<'c>(on: impl On<'c>, user_code: &str, now_ms: i64) -> db::Result<Option<Device>> {
    let row = on
        .query(
            "SELECT hash, user_code, client_id, scopes, identity, resource, pause, asked_at, denied, grant_id, authenticated_at,
                    expires_at
             FROM oauth_devices
             WHERE user_code = $1 AND expires_at > $2 AND grant_id IS NULL AND NOT denied",
        )
        .bind(user_code.to_owned())
        .bind(now_ms)
        .optional::<Row>()
        .await?;
    row.map(Device::try_from).transpose()
}

/// The device that holds a code, if it is this client's; nobody else decides or answers until this transaction ends. SQLite has
/// one writer anyway.
pub(in crate::oauth) async fn lock(tx: &mut Tx, hash: &[u8; 32], client: ClientId) -> db::Result<Option<Device>> {
    let row = tx
        .query(PerEngine {
            sqlite: "SELECT hash, user_code, client_id, scopes, identity, resource, pause, asked_at, denied, grant_id,
                            authenticated_at, expires_at
                     FROM oauth_devices
                     WHERE hash = $1 AND client_id = $2",
            postgres: "SELECT hash, user_code, client_id, scopes, identity, resource, pause, asked_at, denied, grant_id,
                              authenticated_at, expires_at
                       FROM oauth_devices
                       WHERE hash = $1 AND client_id = $2
                       FOR UPDATE",
        })
        .bind(hash.to_vec())
        .bind(client.to_string())
        .optional::<Row>()
        .await?;
    row.map(Device::try_from).transpose()
}

/// Notes that the device has asked, and how long it is to wait from now on.
pub(in crate::oauth) async fn asked(tx: &mut Tx, device: &Device, pause_s: i64, now_ms: i64) -> db::Result<()> {
    tx.query("UPDATE oauth_devices SET asked_at = $2, pause = $3 WHERE hash = $1")
        .bind(device.hash.clone())
        .bind(now_ms)
        .bind(pause_s)
        .execute()
        .await
        .map(|_| ())
}

/// Notes what a person has decided: a grant and when they had signed in, or no. Whether nobody had decided before.
pub(in crate::oauth) async fn decide(tx: &mut Tx, device: &Device, given: Option<(GrantId, i64)>) -> db::Result<bool> {
    let (grant, authenticated_at) = given.map(|(grant, at)| (grant.to_string(), at)).unzip();
    let decided = tx
        .query(
            "UPDATE oauth_devices SET grant_id = $2, authenticated_at = $3, denied = $4
             WHERE hash = $1 AND grant_id IS NULL AND NOT denied",
        )
        .bind(device.hash.clone())
        .bind(grant)
        .bind(authenticated_at)
        .bind(given.is_none())
        .execute()
        .await?;
    Ok(decided > 0)
}

pub(in crate::oauth) async fn remove(tx: &mut Tx, device: &Device) -> db::Result<()> {
    tx.query("DELETE FROM oauth_devices WHERE hash = $1").bind(device.hash.clone()).execute().await.map(|_| ())
}

/// Removes those whose time was over before a moment; a thousand at most.
pub(in crate::oauth) async fn sweep(db: &Db, before: i64) -> db::Result<u64> {
    db.query("DELETE FROM oauth_devices WHERE hash IN (SELECT hash FROM oauth_devices WHERE expires_at < $1 LIMIT 1000)")
        .bind(before)
        .execute()
        .await
}

impl TryFrom<Row> for Device {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            hash: row.hash,
            user_code: row.user_code,
            client_id: db::decode("oauth_devices.client_id", &row.client_id)?,
            wanted: crate::oauth::authorize::Wanted { scopes: row.scopes.0, identity: Identity::of_stored(&row.identity) },
            resource: Resource::of_path(row.resource),
            pause_s: row.pause,
            asked_at: row.asked_at,
            denied: row.denied,
            grant_id: row.grant_id.as_deref().map(|id| db::decode("oauth_devices.grant_id", id)).transpose()?,
            authenticated_at: row.authenticated_at,
            expires_at: row.expires_at,
        })
    }
}
