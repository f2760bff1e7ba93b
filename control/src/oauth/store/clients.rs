//! `oauth_clients` and `oauth_client_secrets`.

use clearway_config::{AccountId, ClientId, Scopes, SecretId};
use serde_json::Value;
use sqlx::{FromRow, types::Json};

use crate::{
    db::{self, Db, On, Page, PerEngine, Tx, cut},
    http::Paging,
    oauth::clients::{Client, GrantType},
};

/// Secrets of a client that are looked at: more are never in force.
const SECRETS_READ_MAX: i64 = 16;

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    account_id: String,
    name: String,
    homepage: Option<String>,
    auth_method: String,
    grant_types: Json<Vec<GrantType>>,
    redirect_uris: Json<Vec<String>>,
    scopes: Json<Scopes>,
    access_lifetime: i64,
    refresh_lifetime: i64,
    jwks: Option<Json<Value>>,
    registered_by: Option<String>,
    dpop_bound: bool,
    disabled_at: Option<i64>,
    generation: i64,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

pub(in crate::oauth) async fn insert(tx: &mut Tx, client: &Client) -> db::Result<()> {
    tx.query(
        "INSERT INTO oauth_clients
             (id, account_id, name, homepage, auth_method, grant_types, redirect_uris, scopes, access_lifetime, refresh_lifetime,
              disabled_at, generation, version, created_at, updated_at, jwks, registered_by,
              dpop_bound)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(client.id.to_string())
    .bind(client.account_id.to_string())
    .bind(client.name.clone())
    .bind(client.homepage.clone())
    .bind(client.auth_method.as_str())
    .bind(Json(client.grant_types.clone()))
    .bind(Json(client.redirect_uris.clone()))
    .bind(Json(client.scopes.clone()))
    .bind(client.access_lifetime)
    .bind(client.refresh_lifetime)
    .bind(client.disabled_at)
    .bind(client.generation)
    .bind(client.version)
    .bind(client.created_at)
    .bind(client.updated_at)
    .bind(client.jwks.clone().map(Json))
    .bind(client.registered_by.map(|by| by.to_string()))
    .bind(client.dpop_bound)
    .execute()
    .await
    .map(|_| ())
}

/// Writes what an update may change.
pub(in crate::oauth) async fn save(tx: &mut Tx, client: &Client) -> db::Result<()> {
    tx.query(
        "UPDATE oauth_clients
         SET name = $3, homepage = $4, grant_types = $5, redirect_uris = $6, scopes = $7, access_lifetime = $8,
             refresh_lifetime = $9, disabled_at = $10, generation = $11, version = $12, updated_at = $13, jwks = $14,
             dpop_bound = $15
         WHERE id = $1 AND account_id = $2",
    )
    .bind(client.id.to_string())
    .bind(client.account_id.to_string())
    .bind(client.name.clone())
    .bind(client.homepage.clone())
    .bind(Json(client.grant_types.clone()))
    .bind(Json(client.redirect_uris.clone()))
    .bind(Json(client.scopes.clone()))
    .bind(client.access_lifetime)
    .bind(client.refresh_lifetime)
    .bind(client.disabled_at)
    .bind(client.generation)
    .bind(client.version)
    .bind(client.updated_at)
    .bind(client.jwks.clone().map(Json))
    .bind(client.dpop_bound)
    .execute()
    .await
    .map(|_| ())
}

/// With everything that refers to it.
pub(in crate::oauth) async fn delete(tx: &mut Tx, client: &Client) -> db::Result<()> {
    let id = client.id.to_string();
    tx.query("DELETE FROM oauth_devices WHERE client_id = $1").bind(id.clone()).execute().await?;
    tx.query("DELETE FROM oauth_requests WHERE client_id = $1").bind(id.clone()).execute().await?;
    tx.query("DELETE FROM oauth_codes WHERE client_id = $1").bind(id.clone()).execute().await?;
    tx.query("DELETE FROM oauth_refresh_tokens WHERE grant_id IN (SELECT id FROM oauth_grants WHERE client_id = $1)")
        .bind(id.clone())
        .execute()
        .await?;
    tx.query("DELETE FROM oauth_grants WHERE client_id = $1").bind(id.clone()).execute().await?;
    tx.query("DELETE FROM oauth_client_secrets WHERE client_id = $1").bind(id.clone()).execute().await?;
    tx.query("DELETE FROM oauth_clients WHERE id = $1 AND account_id = $2")
        .bind(id)
        .bind(client.account_id.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// The client, if it is of `account`; NULL is every account, for admins and for whoever looks after the protocol.
pub(in crate::oauth) async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: ClientId) -> db::Result<Option<Client>> {
    let row = on
        .query(
            "SELECT id, account_id, name, homepage, auth_method, grant_types, redirect_uris, scopes, access_lifetime,
                    refresh_lifetime, jwks, registered_by, dpop_bound, disabled_at, generation, version, created_at, updated_at
             FROM oauth_clients
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Client::try_from).transpose()
}

/// [`find`], and nobody else changes it until this transaction ends. SQLite has one writer anyway.
pub(in crate::oauth) async fn lock(tx: &mut Tx, account: Option<AccountId>, id: ClientId) -> db::Result<Option<Client>> {
    tx.query(PerEngine { sqlite: "SELECT 1 WHERE $1 = $1", postgres: "SELECT 1 FROM oauth_clients WHERE id = $1 FOR UPDATE" })
        .bind(id.to_string())
        .execute()
        .await?;
    find(&mut *tx, account, id).await
}

/// Newest first.
pub(in crate::oauth) async fn list(db: &Db, account: AccountId, paging: Paging<ClientId>) -> db::Result<Page<Client, ClientId>> {
    let rows = db
        .query(
            "SELECT id, account_id, name, homepage, auth_method, grant_types, redirect_uris, scopes, access_lifetime,
                    refresh_lifetime, jwks, registered_by, dpop_bound, disabled_at, generation, version, created_at, updated_at
             FROM oauth_clients
             WHERE account_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3 OFFSET $4",
        )
        .bind(account.to_string())
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let clients = rows.into_iter().map(Client::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(clients, paging.limit, |client| client.id))
}

pub(in crate::oauth) async fn count<'c>(on: impl On<'c>, account: AccountId) -> db::Result<i64> {
    on.query("SELECT count(*) FROM oauth_clients WHERE account_id = $1").bind(account.to_string()).scalar().await
}

pub(in crate::oauth) async fn insert_secret(
    tx: &mut Tx,
    id: SecretId,
    client: ClientId,
    hash: &[u8; 32],
    now_ms: i64,
) -> db::Result<()> {
    tx.query("INSERT INTO oauth_client_secrets (id, client_id, hash, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id.to_string())
        .bind(client.to_string())
        .bind(hash.to_vec())
        .bind(now_ms)
        .execute()
        .await
        .map(|_| ())
}

/// The hashes of the secrets in force.
pub(in crate::oauth) async fn secrets<'c>(on: impl On<'c>, client: ClientId, now_ms: i64) -> db::Result<Vec<Vec<u8>>> {
    let rows: Vec<(Vec<u8>,)> = on
        .query(
            "SELECT hash
             FROM oauth_client_secrets
             WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2)
             ORDER BY created_at DESC
             LIMIT $3",
        )
        .bind(client.to_string())
        .bind(now_ms)
        .bind(SECRETS_READ_MAX)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(hash,)| hash).collect())
}

/// Has the secrets end at `until`, where they would not end before.
pub(in crate::oauth) async fn end_secrets(tx: &mut Tx, client: ClientId, until: i64) -> db::Result<()> {
    tx.query("UPDATE oauth_client_secrets SET expires_at = $2 WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2)")
        .bind(client.to_string())
        .bind(until)
        .execute()
        .await
        .map(|_| ())
}

pub(in crate::oauth) async fn count_secrets(tx: &mut Tx, client: ClientId, now_ms: i64) -> db::Result<i64> {
    tx.query("SELECT count(*) FROM oauth_client_secrets WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > $2)")
        .bind(client.to_string())
        .bind(now_ms)
        .scalar()
        .await
}

/// Removes secrets that have ended; a thousand at most.
pub(in crate::oauth) async fn sweep_secrets(db: &Db, now_ms: i64) -> db::Result<u64> {
    db.query(
        "DELETE FROM oauth_client_secrets
         WHERE id IN (SELECT id FROM oauth_client_secrets WHERE expires_at <= $1 LIMIT 1000)",
    )
    .bind(now_ms)
    .execute()
    .await
}

impl TryFrom<Row> for Client {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("oauth_clients.id", &row.id)?,
            account_id: db::decode("oauth_clients.account_id", &row.account_id)?,
            name: row.name,
            homepage: row.homepage,
            auth_method: db::decode("oauth_clients.auth_method", &row.auth_method)?,
            grant_types: row.grant_types.0,
            redirect_uris: row.redirect_uris.0,
            scopes: row.scopes.0,
            access_lifetime: row.access_lifetime,
            refresh_lifetime: row.refresh_lifetime,
            jwks: row.jwks.map(|jwks| jwks.0),
            dpop_bound: row.dpop_bound,
            registered_by: row.registered_by.as_deref().map(|by| db::decode("oauth_clients.registered_by", by)).transpose()?,
            disabled_at: row.disabled_at,
            generation: row.generation,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
