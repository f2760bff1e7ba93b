//! Collections: read by everybody, put together by whoever runs the catalogue.

use axum::extract::State as Given;
use clearway_config::{AppId, ErrorCode, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::store::{
        self,
        collections::{self, APPS_MAX, COLLECTIONS_MAX, Collection, Slug},
    },
    view::ListingView,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Fields, Form, Id, IfMatch, Permit,
        fields::{list as list_of, number, parsed, text, text_or_none},
        issue, tagged,
        time::rfc3339,
    },
};

const TITLE_CHARS_MAX: usize = 80;
const SUMMARY_CHARS_MAX: usize = 300;
const POSITION_MAX: u64 = 10_000;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read)).routes(routes!(put, delete))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"name": "for-shops", "title": "For shops", "summary": "What merchants begin with.", "position": 1,
    "version": 1, "updated_at": "2026-11-20T12:00:00.000Z"}))]
struct CollectionView {
    name: String,
    title: String,
    summary: String,
    position: i64,
    /// Counts its changes; also its `ETag`.
    version: i64,
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct WholeCollectionView {
    #[serde(flatten)]
    collection: CollectionView,
    /// Those that are published, at most 50, in its order.
    apps: Vec<ListingView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Collections {
    /// In their order.
    items: Vec<CollectionView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CollectionDeleted {
    name: String,
}

impl From<Collection> for CollectionView {
    fn from(of: Collection) -> Self {
        Self {
            name: of.slug,
            title: of.title,
            summary: of.summary,
            position: of.position,
            version: of.version,
            updated_at: rfc3339(of.updated_at),
        }
    }
}

/// What a collection shall be, as a whole.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"title": "For shops", "summary": "What merchants begin with.", "position": 1,
    "apps": ["app_1QjvzY8L2d0ZB9oU4hXwVn"]}))]
struct CollectionForm {
    #[schema(min_length = 1, max_length = 80)]
    title: String,
    #[schema(max_length = 300)]
    summary: Option<String>,
    /// Where it stands among the others; 0 when left out.
    #[schema(maximum = 10000)]
    position: Option<u64>,
    /// In this order.
    #[schema(value_type = Vec<String>, max_items = 50)]
    apps: Vec<AppId>,
}

impl Form for CollectionForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let title = fields.required("title", text(TITLE_CHARS_MAX));
        let summary = fields.optional("summary", text_or_none(SUMMARY_CHARS_MAX));
        let position = fields.optional("position", number(0, POSITION_MAX));
        let apps = fields.required("apps", list_of(APPS_MAX, parsed::<AppId>));
        Some(Self { title: title?, summary: summary?, position: position?, apps: apps? })
    }
}

/// List the collections
///
/// Takes no credential.
#[utoipa::path(get, path = "/apps/collections", operation_id = "app_collections_list", tag = "marketplace",
    responses((status = 200, description = "Every collection", body = Success<Collections>)))]
async fn list(Given(api): Given<Api>) -> Answered {
    let items = collections::list(&api.db).await?.into_iter().map(CollectionView::from).collect();
    Answer::ok(&Collections { items })
}

/// Read a collection with its apps
///
/// Takes no credential.
#[utoipa::path(get, path = "/apps/collections/{name}", operation_id = "app_collections_read", tag = "marketplace",
    params(("name" = String, Path, description = "As in its list")),
    responses((status = 200, description = "The collection", body = Success<WholeCollectionView>)))]
async fn read(Given(api): Given<Api>, Id(slug): Id<Slug>) -> Answered {
    let collection = collections::find(&api.db, &slug).await?.ok_or_else(ApiError::not_found)?;
    let apps = collections::apps(&api.db, &slug).await?.into_iter().map(ListingView::from).collect();
    let version = collection.version;
    Ok(tagged(Answer::ok(&WholeCollectionView { collection: collection.into(), apps })?, version))
}

/// Put a collection together
///
/// Makes it, or replaces it as a whole.
#[utoipa::path(put, path = "/admin/collections/{name}", operation_id = "admin_collections_put", tag = "admin",
    params(("name" = String, Path, description = "1 to 60 letters a to z, digits and `-`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = CollectionForm, security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The collection", body = Success<CollectionView>)))]
async fn put(
    Given(api): Given<Api>,
    caller: Permit<AdminPlatform>,
    Id(slug): Id<Slug>,
    IfMatch(expected): IfMatch,
    Body(form, _): Body<CollectionForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let old = collections::find(&mut tx, &slug).await?;
    let seen = old.as_ref().map_or(0, |old| old.version);
    if expected.is_some_and(|expected| expected != seen) {
        return Err(ApiError::new(ErrorCode::PreconditionFailed));
    }
    if old.is_none() && collections::count(&mut tx).await? >= COLLECTIONS_MAX {
        let message = format!("There are {COLLECTIONS_MAX} collections already, which is the most.");
        return Err(ApiError::saying(ErrorCode::ObjectLimitReached, message));
    }
    let mut apps = form.apps;
    let mut met = std::collections::HashSet::new();
    apps.retain(|app| met.insert(*app));
    for app in &apps {
        if store::find(&mut tx, &app.to_string()).await?.is_none() {
            return Err(ApiError::invalid(&[issue("apps", "unknown", format!("{app} was never published"))]));
        }
    }
    let now_ms = api.world.now_ms();
    let collection = Collection {
        slug: slug.to_string(),
        title: form.title,
        summary: form.summary.unwrap_or_default(),
        position: form.position.and_then(|n| i64::try_from(n).ok()).unwrap_or(0),
        version: seen + 1,
        created_at: old.as_ref().map_or(now_ms, |old| old.created_at),
        updated_at: now_ms,
    };
    collections::put(&mut tx, &collection, &apps).await?;
    let action = if old.is_some() { "collection.updated" } else { "collection.created" };
    let changes = Changes::default().field("title", old.map(|old| old.title), &collection.title).field("apps", (), &apps);
    note(&mut tx, &api, &caller, action, &slug, changes).await?;
    tx.commit().await?;
    let version = collection.version;
    Ok(tagged(Answer::ok(&CollectionView::from(collection))?, version))
}

/// Delete a collection
///
/// Its apps stay.
#[utoipa::path(delete, path = "/admin/collections/{name}", operation_id = "admin_collections_delete", tag = "admin",
    params(("name" = String, Path, description = "As in its list"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "It is gone", body = Success<CollectionDeleted>)))]
async fn delete(Given(api): Given<Api>, caller: Permit<AdminPlatform>, Id(slug): Id<Slug>, seen: IfMatch) -> Answered {
    let mut tx = api.db.begin().await?;
    let old = collections::find(&mut tx, &slug).await?.ok_or_else(ApiError::not_found)?;
    seen.check(old.version)?;
    collections::delete(&mut tx, &slug).await?;
    note(&mut tx, &api, &caller, "collection.deleted", &slug, Changes::default().field("title", old.title, ())).await?;
    tx.commit().await?;
    Answer::ok(&CollectionDeleted { name: slug.to_string() })
}

async fn note(
    tx: &mut crate::db::Tx,
    api: &Api,
    caller: &Permit<AdminPlatform>,
    action: &'static str,
    slug: &Slug,
    changes: Changes,
) -> crate::db::Result<()> {
    let object_id = slug.to_string();
    let event = Event { action, account_id: caller.account_id, object_kind: "collection", object_id: &object_id, changes };
    audit::record(tx, &api.world, &Actor::from(&**caller), event).await
}
