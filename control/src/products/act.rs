//! Making, changing and deleting a product. Each is an event in the same transaction.

use clearway_config::{AccountId, ErrorCode, ProductId, StoreId};

use super::{
    model::{NewProduct, PRODUCTS_MAX, Product, ProductUpdate},
    store,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    events::{
        self, NewEvent,
        product::{ProductCreated, ProductDeleted, ProductUpdated},
    },
    http::ApiError,
    stores,
    world::World,
};

#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    #[error("no such product, or no such store")]
    NotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("the store has {PRODUCTS_MAX} products")]
    Full,
    #[error("another product of the store has this SKU")]
    SkuTaken,
    #[error("the product could not be stored")]
    Store(#[from] db::Error),
}

/// Puts a product into a store.
pub async fn create(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    bounds: Option<AccountId>,
    store_id: StoreId,
    new: NewProduct,
) -> Result<Product, ProductError> {
    // Locks the store, so that two callers cannot both take the last place.
    let of = stores::lock(tx, bounds, store_id).await?.ok_or(ProductError::NotFound)?;
    if store::count(&mut *tx, store_id, PRODUCTS_MAX).await? >= PRODUCTS_MAX {
        return Err(ProductError::Full);
    }
    let now_ms = world.now_ms();
    let blank = Product {
        id: world.id(ProductId::new),
        store_id,
        account_id: of.account_id,
        sku: None,
        title: new.title,
        description: String::new(),
        price: new.price,
        currency: of.currency,
        quantity: None,
        image_url: None,
        active: true,
        attributes: <_>::default(),
        version: 1,
        created_at: now_ms,
        updated_at: now_ms,
    };
    let made = ProductUpdate { title: None, price: None, ..new.more }.apply(&blank);
    store::insert(tx, &made).await.map_err(sku_taken)?;
    let changes = Changes::default().field("title", (), &made.title).field("sku", (), &made.sku).field("price", (), made.price);
    note(tx, world, actor, "product.created", &made, changes).await?;
    let event = ProductCreated { product: made.told() };
    events::emit(tx, world, NewEvent::of(made.account_id, &event)).await?;
    Ok(made)
}

/// Changes the given fields; `expected` is the version that the caller has seen. Nothing happens where nothing differs.
pub async fn update(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (bounds, store_id, id): (Option<AccountId>, StoreId, ProductId),
    update: ProductUpdate,
    expected: Option<i64>,
) -> Result<Product, ProductError> {
    let old = seen(tx, bounds, store_id, id, expected).await?;
    let new = update.apply(&old);
    let changes = new.differences(&old);
    if changes.is_empty() {
        return Ok(old);
    }
    let new = Product { version: old.version + 1, updated_at: world.now_ms(), ..new };
    store::save(tx, &new).await.map_err(sku_taken)?;
    let changed = changes.names();
    note(tx, world, actor, "product.updated", &new, changes).await?;
    let event = ProductUpdated { product: new.told(), changed };
    events::emit(tx, world, NewEvent::of(new.account_id, &event)).await?;
    Ok(new)
}

/// Takes a product out of its store.
pub async fn remove(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    (bounds, store_id, id): (Option<AccountId>, StoreId, ProductId),
    expected: Option<i64>,
) -> Result<(), ProductError> {
    let old = seen(tx, bounds, store_id, id, expected).await?;
    store::delete(tx, &old).await?;
    note(tx, world, actor, "product.deleted", &old, Changes::default().field("title", &old.title, ())).await?;
    let event = ProductDeleted { product: old.told() };
    events::emit(tx, world, NewEvent::of(old.account_id, &event)).await?;
    Ok(())
}

async fn seen(
    tx: &mut Tx,
    bounds: Option<AccountId>,
    store_id: StoreId,
    id: ProductId,
    expected: Option<i64>,
) -> Result<Product, ProductError> {
    let found = store::lock(tx, bounds, store_id, id).await?.ok_or(ProductError::NotFound)?;
    if expected.is_some_and(|expected| found.version != expected) {
        return Err(ProductError::Changed);
    }
    Ok(found)
}

async fn note(tx: &mut Tx, world: &World, actor: &Actor, action: &'static str, of: &Product, changes: Changes) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "product", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}

fn sku_taken(error: db::Error) -> ProductError {
    if error.is_conflict("products_store_id_sku_key") { ProductError::SkuTaken } else { error.into() }
}

impl From<ProductError> for ApiError {
    fn from(error: ProductError) -> Self {
        match error {
            ProductError::NotFound => ApiError::not_found(),
            ProductError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            ProductError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The store has {PRODUCTS_MAX} products already, which is the most."),
            ),
            ProductError::SkuTaken => ApiError::saying(ErrorCode::Conflict, "Another product of the store has this SKU."),
            ProductError::Store(error) => error.into(),
        }
    }
}
