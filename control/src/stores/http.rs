//! `/stores`.

use axum::extract::State;
use clearway_config::{AccountId, StoreId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Store, StoreUpdate, close, open, store, update};
use crate::{
    audit::Actor,
    http::{
        Answer, Answered, Api, ApiError, Body, Fields, Form, Id, IfMatch, List, PageParams, Paging, Permit, Query, ReadStores,
        Repeatable, Turn, WriteStores, fields, tagged, time::rfc3339,
    },
};

const NAME_CHARS_MAX: usize = 100;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, put, delete))
}

#[derive(Debug, ToSchema)]
#[schema(as = StoreCreateForm, example = json!({"name": "Example Shop", "currency": "USD"}))]
struct CreateForm {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// ISO 4217: what products are in, unless they say another.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: String,
    /// The account that the store is of; an admin may name another than its own.
    #[schema(value_type = Option<String>)]
    account_id: Option<AccountId>,
}

#[derive(Debug, ToSchema)]
#[schema(as = StoreUpdateForm, example = json!({"name": "Example Shop"}))]
struct UpdateForm {
    /// 1 to 100 characters. Cannot be cleared.
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// ISO 4217, of products that are made from now on. Cannot be cleared.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Another account's stores; for admins.
    account_id: Option<String>,
}

#[derive(Debug)]
struct ListForm {
    account_id: Option<AccountId>,
    paging: Paging<StoreId>,
}

impl Form for CreateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", fields::text(NAME_CHARS_MAX));
        let currency = fields.required("currency", fields::currency);
        let account_id = fields.optional("account_id", fields::parsed);
        Some(Self { name: name?, currency: currency?, account_id: account_id? })
    }
}

impl Form for UpdateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.kept("name", fields::text(NAME_CHARS_MAX));
        let currency = fields.kept("currency", fields::currency);
        Some(Self { name: name?, currency: currency? })
    }
}

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let account_id = fields.optional("account_id", fields::parsed);
        let paging = Paging::read(fields);
        Some(Self { account_id: account_id?, paging: paging? })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "store_1QjvzY8L2d0ZB9oU4hXwVn", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "name": "Example Shop",
    "currency": "USD", "version": 1, "created_at": "2026-11-20T12:00:00.000Z", "updated_at": "2026-11-20T12:00:00.000Z"}))]
struct StoreView {
    #[schema(value_type = String)]
    id: StoreId,
    #[schema(value_type = String)]
    account_id: AccountId,
    name: String,
    /// ISO 4217.
    currency: String,
    /// Counts its changes; also its `ETag`.
    version: i64,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct StoreDeleted {
    #[schema(value_type = String)]
    id: StoreId,
}

impl From<Store> for StoreView {
    fn from(store: Store) -> Self {
        let Store { id, account_id, name, currency, version, created_at, updated_at } = store;
        Self { id, account_id, name, currency, version, created_at: rfc3339(created_at), updated_at: rfc3339(updated_at) }
    }
}

/// List stores
///
/// Newest first.
#[utoipa::path(get, path = "/stores", operation_id = "stores_list", tag = "stores", params(ListParams, PageParams),
    security(("key" = ["read:stores"])),
    responses((status = 200, description = "A page of stores", body = Success<List<StoreView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadStores>, Query(form): Query<ListForm>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list(&api.db, account, form.paging).await?;
    let total = store::count(&api.db, account).await?;
    Answer::ok(&List::of(page.map(StoreView::from), Some(total)))
}

/// Create a store
///
/// It has no products yet.
#[utoipa::path(post, path = "/stores", operation_id = "stores_create", tag = "stores", request_body = CreateForm,
    security(("key" = ["write:stores"])),
    responses((status = 201, description = "The store", body = Success<StoreView>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteStores>,
    repeatable: Repeatable,
    Body(form, bytes): Body<CreateForm>,
) -> Answered {
    let account = caller.account(form.account_id)?;
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let made = open(&mut tx, &api.world, &Actor::from(&*caller), account, form.name, form.currency).await?;
    let version = made.version;
    let view = StoreView::from(made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(tagged(Answer::created(&view)?, version))
}

/// Read a store
///
/// Its `ETag` is what a change of it is conditional on.
#[utoipa::path(get, path = "/stores/{id}", operation_id = "stores_read", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`")), security(("key" = ["read:stores"])),
    responses((status = 200, description = "The store", body = Success<StoreView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadStores>, Id(id): Id<StoreId>) -> Answered {
    let found = store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let version = found.version;
    Ok(tagged(Answer::ok(&StoreView::from(found))?, version))
}

/// Update a store
///
/// Replaces the fields that are given. `If-Match` with the `ETag` that was read keeps two editors apart.
#[utoipa::path(put, path = "/stores/{id}", operation_id = "stores_update", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = UpdateForm, security(("key" = ["write:stores"])),
    responses((status = 200, description = "The store as it is now", body = Success<StoreView>)))]
async fn put(
    State(api): State<Api>,
    caller: Permit<WriteStores>,
    Id(id): Id<StoreId>,
    IfMatch(expected): IfMatch,
    Body(UpdateForm { name, currency }, _): Body<UpdateForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let change = StoreUpdate { name, currency };
    let new = update(&mut tx, &api.world, &Actor::from(&*caller), caller.bounds(), id, change, expected).await?;
    tx.commit().await?;
    let version = new.version;
    Ok(tagged(Answer::ok(&StoreView::from(new))?, version))
}

/// Delete a store
///
/// One that holds products is not deleted.
#[utoipa::path(delete, path = "/stores/{id}", operation_id = "stores_delete", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:stores"])),
    responses((status = 200, description = "It is gone", body = Success<StoreDeleted>)))]
async fn delete(
    State(api): State<Api>,
    caller: Permit<WriteStores>,
    Id(id): Id<StoreId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let mut tx = api.db.begin().await?;
    close(&mut tx, &api.world, &Actor::from(&*caller), caller.bounds(), id, expected).await?;
    tx.commit().await?;
    Answer::ok(&StoreDeleted { id })
}
