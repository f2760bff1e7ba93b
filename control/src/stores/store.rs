//! Every statement on `stores`.

use clearway_config::{AccountId, StoreId};
use sqlx::FromRow;

use super::Store;
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    account_id: String,
    name: String,
    currency: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

pub(super) async fn insert(tx: &mut Tx, store: &Store) -> db::Result<()> {
    tx.query(
        "INSERT INTO stores (id, account_id, name, currency, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(store.id.to_string())
    .bind(store.account_id.to_string())
    .bind(store.name.clone())
    .bind(store.currency.clone())
    .bind(store.version)
    .bind(store.created_at)
    .bind(store.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save(tx: &mut Tx, store: &Store) -> db::Result<()> {
    tx.query("UPDATE stores SET name = $3, currency = $4, version = $5, updated_at = $6 WHERE id = $1 AND account_id = $2")
        .bind(store.id.to_string())
        .bind(store.account_id.to_string())
        .bind(store.name.clone())
        .bind(store.currency.clone())
        .bind(store.version)
        .bind(store.updated_at)
        .execute()
        .await
        .map(|_| ())
}

pub(super) async fn delete(tx: &mut Tx, store: &Store) -> db::Result<()> {
    tx.query("DELETE FROM stores WHERE id = $1 AND account_id = $2")
        .bind(store.id.to_string())
        .bind(store.account_id.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// The store, if it is of `account`; NULL is every account, for admins.
pub async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: StoreId) -> db::Result<Option<Store>> {
    let row = on
        .query(
            "SELECT id, account_id, name, currency, version, created_at, updated_at
             FROM stores
             WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
        )
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Store::try_from).transpose()
}

/// [`find`], and nobody else takes the store until this transaction ends. SQLite has one writer anyway.
pub async fn lock(tx: &mut Tx, account: Option<AccountId>, id: StoreId) -> db::Result<Option<Store>> {
    let row = tx
        .query(PerEngine {
            sqlite: "SELECT id, account_id, name, currency, version, created_at, updated_at
                     FROM stores
                     WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)",
            postgres: "SELECT id, account_id, name, currency, version, created_at, updated_at
                       FROM stores
                       WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR account_id = $2)
                       FOR UPDATE",
        })
        .bind(id.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Store::try_from).transpose()
}

/// Newest first.
pub(super) async fn list<'c>(on: impl On<'c>, account: AccountId, paging: Paging<StoreId>) -> db::Result<Page<Store, StoreId>> {
    let rows = on
        .query(
            "SELECT id, account_id, name, currency, version, created_at, updated_at
             FROM stores
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
    let stores = rows.into_iter().map(Store::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(stores, paging.limit, |store| store.id))
}

pub(super) async fn count<'c>(on: impl On<'c>, account: AccountId) -> db::Result<i64> {
    on.query("SELECT count(*) FROM stores WHERE account_id = $1").bind(account.to_string()).scalar().await
}

impl TryFrom<Row> for Store {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        let Row { id, account_id, name, currency, version, created_at, updated_at } = row;
        let (id, account_id) = (db::decode("stores.id", &id)?, db::decode("stores.account_id", &account_id)?);
        Ok(Self { id, account_id, name, currency, version, created_at, updated_at })
    }
}
