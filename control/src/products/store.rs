//! Every statement on `products`.

use std::collections::BTreeMap;

use clearway_config::{AccountId, ProductId, StoreId};
use sqlx::{FromRow, types::Json};

use super::Product;
use crate::{
    db::{self, On, Page, PerEngine, Tx, cut},
    http::Paging,
};

#[derive(Debug, FromRow)]
struct Row {
    id: String,
    store_id: String,
    account_id: String,
    sku: Option<String>,
    title: String,
    description: String,
    price: i64,
    currency: String,
    quantity: Option<i64>,
    image_url: Option<String>,
    active: bool,
    attributes: Json<BTreeMap<String, String>>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

pub(super) async fn insert(tx: &mut Tx, product: &Product) -> db::Result<()> {
    let of = product.clone();
    tx.query(
        "INSERT INTO products
             (id, store_id, account_id, sku, title, description, price, currency, quantity, image_url, active, attributes,
              version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(of.id.to_string())
    .bind(of.store_id.to_string())
    .bind(of.account_id.to_string())
    .bind(of.sku)
    .bind(of.title)
    .bind(of.description)
    .bind(of.price)
    .bind(of.currency)
    .bind(of.quantity)
    .bind(of.image_url)
    .bind(of.active)
    .bind(Json(of.attributes))
    .bind(of.version)
    .bind(of.created_at)
    .bind(of.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn save(tx: &mut Tx, product: &Product) -> db::Result<()> {
    let of = product.clone();
    tx.query(
        "UPDATE products
         SET sku = $3, title = $4, description = $5, price = $6, currency = $7, quantity = $8, image_url = $9, active = $10,
             attributes = $11, version = $12, updated_at = $13
         WHERE id = $1 AND account_id = $2",
    )
    .bind(of.id.to_string())
    .bind(of.account_id.to_string())
    .bind(of.sku)
    .bind(of.title)
    .bind(of.description)
    .bind(of.price)
    .bind(of.currency)
    .bind(of.quantity)
    .bind(of.image_url)
    .bind(of.active)
    .bind(Json(of.attributes))
    .bind(of.version)
    .bind(of.updated_at)
    .execute()
    .await
    .map(|_| ())
}

pub(super) async fn delete(tx: &mut Tx, product: &Product) -> db::Result<()> {
    tx.query("DELETE FROM products WHERE id = $1 AND account_id = $2")
        .bind(product.id.to_string())
        .bind(product.account_id.to_string())
        .execute()
        .await
        .map(|_| ())
}

/// The product, if it is of this store and of `account`; NULL is every account, for admins.
pub(super) async fn find<'c>(
    on: impl On<'c>,
    account: Option<AccountId>,
    store: StoreId,
    id: ProductId,
) -> db::Result<Option<Product>> {
    let row = on
        .query(
            "SELECT id, store_id, account_id, sku, title, description, price, currency, quantity, image_url, active, attributes,
                    version, created_at, updated_at
             FROM products
             WHERE id = $1 AND store_id = $2 AND (CAST($3 AS TEXT) IS NULL OR account_id = $3)",
        )
        .bind(id.to_string())
        .bind(store.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<Row>()
        .await?;
    row.map(Product::try_from).transpose()
}

/// [`find`], and nobody else changes the product until this transaction ends. SQLite has one writer anyway.
pub(super) async fn lock(tx: &mut Tx, account: Option<AccountId>, store: StoreId, id: ProductId) -> db::Result<Option<Product>> {
    let locked = tx
        .query(PerEngine {
            sqlite: "SELECT id FROM products
                     WHERE id = $1 AND store_id = $2 AND (CAST($3 AS TEXT) IS NULL OR account_id = $3)",
            postgres: "SELECT id FROM products
                       WHERE id = $1 AND store_id = $2 AND (CAST($3 AS TEXT) IS NULL OR account_id = $3)
                       FOR UPDATE",
        })
        .bind(id.to_string())
        .bind(store.to_string())
        .bind(account.map(|id| id.to_string()))
        .optional::<(String,)>()
        .await?;
    match locked {
        Some(_) => find(tx, account, store, id).await,
        None => Ok(None),
    }
}

/// Newest first; `sku` finds the one that has it.
pub(super) async fn list<'c>(
    on: impl On<'c>,
    store: StoreId,
    sku: Option<String>,
    paging: Paging<ProductId>,
) -> db::Result<Page<Product, ProductId>> {
    let rows = on
        .query(
            "SELECT id, store_id, account_id, sku, title, description, price, currency, quantity, image_url, active, attributes,
                    version, created_at, updated_at
             FROM products
             WHERE store_id = $1
               AND (CAST($2 AS TEXT) IS NULL OR sku = $2)
               AND (CAST($3 AS TEXT) IS NULL OR id < $3)
             ORDER BY id DESC
             LIMIT $4 OFFSET $5",
        )
        .bind(store.to_string())
        .bind(sku)
        .bind(paging.cursor.map(|id| id.to_string()))
        .bind(i64::from(paging.limit) + 1)
        .bind(i64::from(paging.offset))
        .all::<Row>()
        .await?;
    let products = rows.into_iter().map(Product::try_from).collect::<db::Result<Vec<_>>>()?;
    Ok(cut(products, paging.limit, |product| product.id))
}

/// How many there are, up to `max`.
pub(super) async fn count<'c>(on: impl On<'c>, store: StoreId, max: i64) -> db::Result<i64> {
    on.query("SELECT count(*) FROM (SELECT id FROM products WHERE store_id = $1 LIMIT $2) found")
        .bind(store.to_string())
        .bind(max)
        .scalar()
        .await
}

impl TryFrom<Row> for Product {
    type Error = db::Error;

    fn try_from(row: Row) -> db::Result<Self> {
        Ok(Self {
            id: db::decode("products.id", &row.id)?,
            store_id: db::decode("products.store_id", &row.store_id)?,
            account_id: db::decode("products.account_id", &row.account_id)?,
            sku: row.sku,
            title: row.title,
            description: row.description,
            price: row.price,
            currency: row.currency,
            quantity: row.quantity,
            image_url: row.image_url,
            active: row.active,
            attributes: row.attributes.0,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
