//! `/events/types`: the catalogue, and operators' own types beside it.

use axum::{Extension, extract::State};
use clearway_config::envelope::Success;
use http::StatusCode;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    catalogue,
    http::Events,
    type_store,
    types::{self, register, remove, replace},
    view::TypeView,
};
use crate::{
    audit::Actor,
    db,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Fields, Form, Id, IfMatch, List, PageParams, Paging, Permit, Query,
        ReadEvents, Repeatable, Turn, fields, tagged,
    },
};

/// Characters of what a type is said to be.
const DESCRIPTION_CHARS_MAX: usize = 500;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, put, delete))
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "order.shipped", "description": "An order was handed to the carrier.",
    "schema": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}}))]
struct NewTypeForm {
    /// Two to five words of a-z, 0-9 and _ with dots between; none of Clearway's own nouns in front.
    #[schema(max_length = 100)]
    name: String,
    /// When it happens; 1 to 500 characters.
    #[schema(min_length = 1, max_length = 500)]
    description: String,
    /// JSON Schema (draft 2020-12) of its data: at most 32 KiB, referring only to itself. Patterns are regular
    /// expressions without look-around and back-references.
    #[schema(value_type = Object)]
    schema: Value,
}

impl Form for NewTypeForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields
            .required("name", |value| types::name_of(&fields::text(usize::MAX)(value)?).map_err(|why| ("format_invalid", why)));
        let TypeForm { description, schema } = TypeForm::read(fields)?;
        Some(Self { name: name?, description, schema })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"description": "An order was handed to the carrier.",
    "schema": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}}))]
struct TypeForm {
    /// When it happens; 1 to 500 characters.
    #[schema(min_length = 1, max_length = 500)]
    description: String,
    /// JSON Schema (draft 2020-12) of its data: at most 32 KiB, referring only to itself. Patterns are regular
    /// expressions without look-around and back-references.
    #[schema(value_type = Object)]
    schema: Value,
}

impl Form for TypeForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let description = fields.required("description", fields::text(DESCRIPTION_CHARS_MAX));
        let schema = fields.required("schema", |value| Ok(value.clone()));
        Some(Self { description: description?, schema: schema? })
    }
}

#[derive(Debug)]
struct ListQuery(Paging<String>);

impl Form for ListQuery {
    fn read(fields: &mut Fields) -> Option<Self> {
        let paging = Paging::read(fields);
        if paging.as_ref().is_some_and(|paging: &Paging<String>| paging.offset > 0) {
            fields.refuse("offset", ("unknown", "is not known here; use cursor".into()));
        }
        Some(Self(paging?))
    }
}

/// List types of events
///
/// By name: Clearway's own, each with whether it happens yet, and those that were registered here.
#[utoipa::path(get, path = "/events/types", operation_id = "event_types_list", tag = "events", params(PageParams),
    security(("key" = ["read:events"])),
    responses((status = 200, description = "A page of types", body = Success<List<TypeView>>)))]
async fn list(State(api): State<Api>, _: Permit<ReadEvents>, Query(ListQuery(paging)): Query<ListQuery>) -> Answered {
    let after = paging.cursor.unwrap_or_default();
    let own = catalogue::all().filter(|entry| *entry.name > *after).map(TypeView::from);
    let registered = type_store::types(&api.db, &after, paging.limit + 1).await?;
    let mut all: Vec<TypeView> = own.chain(registered.into_iter().map(TypeView::from)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let page = db::cut(all, paging.limit, |view| view.name.clone());
    let total = i64::try_from(catalogue::all().count()).unwrap_or(0) + type_store::count_types(&api.db).await?;
    Answer::ok(&List::of(page, Some(total)))
}

/// Read a type of event
///
/// Clearway's own types, or one that the account has registered.
#[utoipa::path(get, path = "/events/types/{name}", operation_id = "event_types_read", tag = "events",
    params(("name" = String, Path, description = "The type's name, or an older one")), security(("key" = ["read:events"])),
    responses((status = 200, description = "The type", body = Success<TypeView>)))]
async fn read(State(api): State<Api>, _: Permit<ReadEvents>, Id(name): Id<String>) -> Answered {
    if let Some(entry) = catalogue::find(&name) {
        return Answer::ok(&TypeView::from(entry));
    }
    let found = type_store::find_type(&api.db, &name).await?.ok_or_else(ApiError::not_found)?;
    let version = found.version;
    Ok(tagged(Answer::ok(&TypeView::from(found))?, version))
}

/// Register a type of event
///
/// Of an account's own: its services emit events of it, and its webhooks choose by it.
#[utoipa::path(post, path = "/events/types", operation_id = "event_types_create", tag = "events", request_body = NewTypeForm,
    security(("key" = ["admin:platform"])),
    responses((status = 201, description = "The type", body = Success<TypeView>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    repeatable: Repeatable,
    Body(form, bytes): Body<NewTypeForm>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let actor = Actor::from(&*caller);
    let NewTypeForm { name, description, schema } = form;
    let made = register(&mut tx, &api.world, (&actor, caller.account_id), name, description, schema).await?;
    let version = made.version;
    let view = TypeView::from(made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(tagged(Answer::created(&view)?, version))
}

/// Change a type of event
///
/// Its version is counted up. Events that have been accepted stay as they are.
#[utoipa::path(put, path = "/events/types/{name}", operation_id = "event_types_update", tag = "events",
    params(("name" = String, Path, description = "The type's name"), ("If-Match" = Option<String>, Header, description = "The `ETag` of the type as it was read")),
    request_body = TypeForm, security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The type as it is now", body = Success<TypeView>)))]
async fn put(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Extension(events): Extension<Events>,
    Id(name): Id<String>,
    IfMatch(expected): IfMatch,
    Body(TypeForm { description, schema }, _): Body<TypeForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let actor = Actor::from(&*caller);
    let who = (&actor, caller.account_id);
    let changed = replace(&mut tx, &api.world, who, (&name, expected), description, schema).await?;
    tx.commit().await?;
    events.checkers.forget(&name);
    let version = changed.version;
    Ok(tagged(Answer::ok(&TypeView::from(changed))?, version))
}

/// Take a type of event away
///
/// No further event of it is accepted. Those that have been are delivered.
#[utoipa::path(delete, path = "/events/types/{name}", operation_id = "event_types_delete", tag = "events",
    params(("name" = String, Path, description = "The type's name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the type as it was read")),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The type as it was", body = Success<TypeView>)))]
async fn delete(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Extension(events): Extension<Events>,
    Id(name): Id<String>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let actor = Actor::from(&*caller);
    let removed = remove(&mut tx, &api.world, (&actor, caller.account_id), (&name, expected)).await?;
    tx.commit().await?;
    events.checkers.forget(&name);
    Answer::ok(&TypeView::from(removed))
}
