//! `/stores/{id}/products`.

use std::collections::BTreeMap;

use axum::extract::State;
use clearway_config::{ProductId, StoreId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act::{create, remove, update},
    model::{
        ATTRIBUTE_CHARS_MAX, ATTRIBUTE_NAME_CHARS_MAX, ATTRIBUTES_MAX, DESCRIPTION_CHARS_MAX, IMAGE_URL_CHARS_MAX, NewProduct,
        PRICE_MAX, PRODUCTS_MAX, Product, ProductUpdate, QUANTITY_MAX, SKU_CHARS_MAX, TITLE_CHARS_MAX,
    },
    store,
};
use crate::{
    audit::Actor,
    http::{
        Answer, Answered, Api, ApiError, Body, Fields, Form, Id, Ids, IfMatch, List, PageParams, Paging, Permit, Query,
        ReadStores, Repeatable, Turn, WriteStores,
        fields::{self, Wrong, number, text, text_or_none},
        tagged,
        time::rfc3339,
    },
    stores,
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create_one)).routes(routes!(read, put, delete))
}

#[derive(Debug, ToSchema)]
#[schema(as = ProductCreateForm, example = json!({"title": "Mug", "price": 12500000, "sku": "MUG-01", "quantity": 40}))]
#[expect(dead_code, reason = "describes the body for the document; NewProduct is what is read")]
struct CreateDocument {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    /// In millionths of the currency: 12.50 is 12500000.
    #[schema(minimum = 0, maximum = 1000000000000000_i64)]
    price: i64,
    /// ISO 4217; the store's when left out.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// The merchant's own number of it, of one product of the store: 1 to 64 characters.
    #[schema(max_length = 64)]
    sku: Option<String>,
    /// At most 5,000 characters.
    #[schema(max_length = 5000)]
    description: Option<String>,
    /// How many there are; null: they are not counted.
    #[schema(minimum = 0, maximum = 1000000000)]
    quantity: Option<i64>,
    /// `https://` or `http://`, at most 2,048 characters.
    #[schema(max_length = 2048)]
    image_url: Option<String>,
    /// Whether it is on sale; true when left out.
    active: Option<bool>,
    /// At most 32 texts of at most 500 characters, by names of at most 64.
    attributes: Option<BTreeMap<String, String>>,
}

/// What to change; a field left out stays, null resets it.
#[derive(Debug, ToSchema)]
#[schema(as = ProductUpdateForm, example = json!({"price": 11000000, "quantity": 39}))]
#[expect(dead_code, reason = "describes the body for the document; ProductUpdate is what is read")]
struct UpdateDocument {
    /// 1 to 200 characters. Cannot be cleared.
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    /// In millionths of the currency. Cannot be cleared.
    #[schema(minimum = 0, maximum = 1000000000000000_i64)]
    price: Option<i64>,
    /// ISO 4217. Cannot be cleared.
    #[schema(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    #[schema(max_length = 64)]
    sku: Option<String>,
    #[schema(max_length = 5000)]
    description: Option<String>,
    /// Null: they are not counted.
    #[schema(minimum = 0, maximum = 1000000000)]
    quantity: Option<i64>,
    #[schema(max_length = 2048)]
    image_url: Option<String>,
    active: Option<bool>,
    attributes: Option<BTreeMap<String, String>>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Only the product of this SKU.
    sku: Option<String>,
}

#[derive(Debug)]
struct ListForm {
    sku: Option<String>,
    paging: Paging<ProductId>,
}

impl Form for ProductUpdate {
    fn read(fields: &mut Fields) -> Option<Self> {
        let title = fields.kept("title", text(TITLE_CHARS_MAX));
        let price = fields.kept("price", amount(PRICE_MAX));
        let currency = fields.kept("currency", fields::currency);
        let sku = fields.patch("sku", text(SKU_CHARS_MAX));
        let description = fields.patch("description", text_or_none(DESCRIPTION_CHARS_MAX));
        let quantity = fields.patch("quantity", amount(QUANTITY_MAX));
        let image_url = fields.patch("image_url", image_url);
        let active = fields.patch("active", fields::yes_or_no);
        let attributes = fields.patch("attributes", attributes);
        Some(Self {
            title: title?,
            price: price?,
            currency: currency?,
            sku: sku?,
            description: description?.map(Option::unwrap_or_default),
            quantity: quantity?,
            image_url: image_url?,
            active: active?.map(|active| active.unwrap_or(true)),
            attributes: attributes?.map(Option::unwrap_or_default),
        })
    }
}

impl Form for NewProduct {
    fn read(fields: &mut Fields) -> Option<Self> {
        let more = ProductUpdate::read(fields)?;
        let missing = [("title", more.title.is_none()), ("price", more.price.is_none())];
        for (name, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
            fields.refuse(name, ("required", "is required".into()));
        }
        Some(Self { title: more.title.clone()?, price: more.price?, more })
    }
}

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let sku = fields.optional("sku", text(SKU_CHARS_MAX));
        let paging = Paging::read(fields);
        Some(Self { sku: sku?, paging: paging? })
    }
}

/// A number that fits into a signed one, as `max` does.
fn amount(max: u64) -> impl Fn(&Value) -> Result<i64, Wrong> {
    move |value| number(0, max)(value).map(|n| i64::try_from(n).unwrap_or(i64::MAX))
}

fn image_url(value: &Value) -> Result<String, Wrong> {
    let text = text(IMAGE_URL_CHARS_MAX)(value)?;
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.as_str().len() <= IMAGE_URL_CHARS_MAX => Ok(url.into()),
        _ => Err(("format_invalid", "must be a URL such as https://example.com/mug.jpg".into())),
    }
}

fn attributes(value: &Value) -> Result<BTreeMap<String, String>, Wrong> {
    let wrong = || ("format_invalid", "must be an object of texts".to_owned());
    let given = value.as_object().ok_or_else(wrong)?;
    if given.len() > ATTRIBUTES_MAX {
        return Err(("too_long", format!("must have at most {ATTRIBUTES_MAX} attributes")));
    }
    let mut read = BTreeMap::new();
    for (name, value) in given {
        text(ATTRIBUTE_NAME_CHARS_MAX)(&Value::String(name.clone()))?;
        read.insert(name.clone(), text_or_none(ATTRIBUTE_CHARS_MAX)(value)?);
    }
    Ok(read)
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "prod_1QjvzY8L2d0ZB9oU4hXwVn", "store_id": "store_1QjvzY8L2d0ZB9oU4hXwVm", "sku": "MUG-01",
    "title": "Mug", "description": "A mug of blue stoneware.", "price": 12500000, "currency": "USD", "quantity": 40,
    "image_url": null, "active": true, "attributes": {"colour": "blue"}, "version": 1,
    "created_at": "2026-11-20T12:00:00.000Z", "updated_at": "2026-11-20T12:00:00.000Z"}))]
struct ProductView {
    #[schema(value_type = String)]
    id: ProductId,
    #[schema(value_type = String)]
    store_id: StoreId,
    sku: Option<String>,
    title: String,
    description: String,
    /// In millionths of the currency.
    price: i64,
    /// ISO 4217.
    currency: String,
    /// Null: they are not counted.
    quantity: Option<i64>,
    image_url: Option<String>,
    active: bool,
    attributes: BTreeMap<String, String>,
    /// Counts its changes; also its `ETag`.
    version: i64,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProductDeleted {
    #[schema(value_type = String)]
    id: ProductId,
}

impl From<Product> for ProductView {
    fn from(of: Product) -> Self {
        Self {
            id: of.id,
            store_id: of.store_id,
            sku: of.sku,
            title: of.title,
            description: of.description,
            price: of.price,
            currency: of.currency,
            quantity: of.quantity,
            image_url: of.image_url,
            active: of.active,
            attributes: of.attributes,
            version: of.version,
            created_at: rfc3339(of.created_at),
            updated_at: rfc3339(of.updated_at),
        }
    }
}

/// List a store's products
///
/// Newest first.
#[utoipa::path(get, path = "/stores/{id}/products", operation_id = "products_list", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`"), ListParams, PageParams),
    security(("key" = ["read:stores"])),
    responses((status = 200, description = "A page of products", body = Success<List<ProductView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadStores>, Id(id): Id<StoreId>, Query(form): Query<ListForm>) -> Answered {
    stores::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let is_whole = form.sku.is_none();
    let page = store::list(&api.db, id, form.sku, form.paging).await?;
    let total = if is_whole { Some(store::count(&api.db, id, PRODUCTS_MAX).await?) } else { None };
    Answer::ok(&List::of(page.map(ProductView::from), total))
}

/// Create a product
///
/// Emits `product.created`.
#[utoipa::path(post, path = "/stores/{id}/products", operation_id = "products_create", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`")), request_body = CreateDocument,
    security(("key" = ["write:stores"])),
    responses((status = 201, description = "The product", body = Success<ProductView>)))]
async fn create_one(
    State(api): State<Api>,
    caller: Permit<WriteStores>,
    Id(id): Id<StoreId>,
    repeatable: Repeatable,
    Body(new, bytes): Body<NewProduct>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let made = create(&mut tx, &api.world, &Actor::from(&*caller), caller.bounds(), id, new).await?;
    let version = made.version;
    let view = ProductView::from(made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(tagged(Answer::created(&view)?, version))
}

/// Read a product
///
/// Its `ETag` is what a change of it is conditional on.
#[utoipa::path(get, path = "/stores/{id}/products/{product_id}", operation_id = "products_read", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`"),
        ("product_id" = String, Path, description = "The product's id, `prod_…`")),
    security(("key" = ["read:stores"])),
    responses((status = 200, description = "The product", body = Success<ProductView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadStores>, Ids(id, product): Ids<StoreId, ProductId>) -> Answered {
    let found = store::find(&api.db, caller.bounds(), id, product).await?.ok_or_else(ApiError::not_found)?;
    let version = found.version;
    Ok(tagged(Answer::ok(&ProductView::from(found))?, version))
}

/// Update a product
///
/// Replaces the fields that are given; one left out stays, null resets it. `If-Match` with the `ETag` that was read keeps two
/// editors apart. Emits `product.updated`, unless nothing differs.
#[utoipa::path(put, path = "/stores/{id}/products/{product_id}", operation_id = "products_update", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`"),
        ("product_id" = String, Path, description = "The product's id, `prod_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = UpdateDocument, security(("key" = ["write:stores"])),
    responses((status = 200, description = "The product as it is now", body = Success<ProductView>)))]
async fn put(
    State(api): State<Api>,
    caller: Permit<WriteStores>,
    Ids(id, product): Ids<StoreId, ProductId>,
    IfMatch(expected): IfMatch,
    Body(change, _): Body<ProductUpdate>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let which = (caller.bounds(), id, product);
    let new = update(&mut tx, &api.world, &Actor::from(&*caller), which, change, expected).await?;
    tx.commit().await?;
    let version = new.version;
    Ok(tagged(Answer::ok(&ProductView::from(new))?, version))
}

/// Delete a product
///
/// Emits `product.deleted`.
#[utoipa::path(delete, path = "/stores/{id}/products/{product_id}", operation_id = "products_delete", tag = "stores",
    params(("id" = String, Path, description = "The store's id, `store_…`"),
        ("product_id" = String, Path, description = "The product's id, `prod_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:stores"])),
    responses((status = 200, description = "It is gone", body = Success<ProductDeleted>)))]
async fn delete(
    State(api): State<Api>,
    caller: Permit<WriteStores>,
    Ids(id, product): Ids<StoreId, ProductId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let which = (caller.bounds(), id, product);
    remove(&mut tx, &api.world, &Actor::from(&*caller), which, expected).await?;
    tx.commit().await?;
    Answer::ok(&ProductDeleted { id: product })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use super::*;

    /// The document describes a form by its struct, and the form is read by hand: they must name the same fields.
    #[test]
    fn the_document_names_the_fields_that_are_read() {
        fn named<T: PartialSchema>() -> BTreeSet<String> {
            let schema = serde_json::to_value(T::schema()).unwrap();
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        }
        fn read<T: Form>() -> BTreeSet<String> {
            Fields::names::<T>().into_iter().map(str::to_owned).collect()
        }
        assert_eq!(named::<CreateDocument>(), read::<NewProduct>());
        assert_eq!(named::<UpdateDocument>(), read::<ProductUpdate>());
    }
}
