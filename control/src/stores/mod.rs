//! Stores: an account's, each with a catalogue of products that [`crate::products`] keeps.
//!
//! A store has a name and the currency that its products are in unless they say another. It goes once it holds no product.

mod http;
mod store;

use clearway_config::{AccountId, ErrorCode, StoreId};

pub use http::routes;
pub use store::{find, lock};

use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::ApiError,
    world::World,
};

/// Stores of one account at most, whatever its plan.
const STORES_MAX: i64 = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub id: StoreId,
    pub account_id: AccountId,
    pub name: String,
    /// ISO 4217.
    pub currency: String,
    /// Counts its changes, from 1.
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct StoreUpdate {
    pub name: Option<String>,
    /// Of products that are made from now on.
    pub currency: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no such store")]
    NotFound,
    #[error("no such account")]
    AccountNotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("the account has {STORES_MAX} stores")]
    Full,
    #[error("it holds products")]
    NotEmpty,
    #[error("the store could not be stored")]
    Store(#[from] db::Error),
}

/// Opens a store of `account`.
pub async fn open(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    account: AccountId,
    name: String,
    currency: String,
) -> Result<Store, StoreError> {
    // Locks the account, so that two callers cannot both take the last place.
    let account = accounts::lock(tx, account).await?.ok_or(StoreError::AccountNotFound)?.id;
    if store::count(&mut *tx, account).await? >= STORES_MAX {
        return Err(StoreError::Full);
    }
    let now_ms = world.now_ms();
    let id = world.id(StoreId::new);
    let made = Store { id, account_id: account, name, currency, version: 1, created_at: now_ms, updated_at: now_ms };
    store::insert(tx, &made).await?;
    let changes = Changes::default().field("name", (), &made.name).field("currency", (), &made.currency);
    note(tx, world, actor, "store.created", &made, changes).await?;
    Ok(made)
}

/// Changes the given fields; `expected` is the version that the caller has seen.
pub async fn update(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: StoreId,
    update: StoreUpdate,
    expected: Option<i64>,
) -> Result<Store, StoreError> {
    let old = seen(tx, bounds, id, expected).await?;
    let name = update.name.unwrap_or_else(|| old.name.clone());
    let currency = update.currency.unwrap_or_else(|| old.currency.clone());
    let changes = Changes::default().field("name", &old.name, &name).field("currency", &old.currency, &currency);
    if changes.is_empty() {
        return Ok(old);
    }
    let new = Store { name, currency, version: old.version + 1, updated_at: world.now_ms(), ..old };
    store::save(tx, &new).await?;
    note(tx, world, actor, "store.updated", &new, changes).await?;
    Ok(new)
}

/// Closes a store that holds no product.
pub async fn close(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: StoreId,
    expected: Option<i64>,
) -> Result<(), StoreError> {
    let old = seen(tx, bounds, id, expected).await?;
    // Its products refer to it: the database knows whether there are any.
    store::delete(tx, &old).await.map_err(|error| match error {
        db::Error::MissingReference => StoreError::NotEmpty,
        error => error.into(),
    })?;
    note(tx, world, actor, "store.deleted", &old, Changes::default().field("name", &old.name, ())).await?;
    Ok(())
}

async fn seen(tx: &mut Tx, bounds: Option<AccountId>, id: StoreId, expected: Option<i64>) -> Result<Store, StoreError> {
    let found = store::lock(tx, bounds, id).await?.ok_or(StoreError::NotFound)?;
    if expected.is_some_and(|expected| found.version != expected) {
        return Err(StoreError::Changed);
    }
    Ok(found)
}

async fn note(tx: &mut Tx, world: &World, actor: &Actor, action: &'static str, of: &Store, changes: Changes) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "store", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound | StoreError::AccountNotFound => ApiError::not_found(),
            StoreError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            StoreError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The account has {STORES_MAX} stores already, which is the most."),
            ),
            StoreError::NotEmpty => ApiError::saying(ErrorCode::Conflict, "The store holds products; delete them first."),
            StoreError::Store(error) => error.into(),
        }
    }
}
