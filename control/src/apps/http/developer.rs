//! One's own apps: reading them under `/developer/apps`, writing them under `/apps`.

use axum::extract::State as Given;
use clearway_config::{AppId, AppVersionId, envelope::Success};
use http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        Act, ContentUpdate, NewApp, Which, act, store,
        view::{AppView, VersionView, WholeAppView},
    },
    forms::{CreateDocument, ListForm, ListParams, Nothing, UpdateDocument},
    shown,
};
use crate::{
    audit::Actor,
    http::{
        Answer, Answered, Api, ApiError, Body, Caller, DeleteApps, Id, IfMatch, List, PageParams, Paging, Permit, Query,
        ReadApps, Repeatable, Turn, WriteApps, WriteMarketplace, tagged,
    },
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(create))
        .routes(routes!(update, remove))
        .routes(routes!(versions))
        .routes(routes!(submit))
        .routes(routes!(withdraw))
        .routes(routes!(publish))
        .routes(routes!(deprecate))
        .routes(routes!(restore))
}

/// What seed 001 has under `/marketplace` too.
pub(super) fn aliases() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(create)).routes(routes!(update, remove))
}

/// List one's own apps
///
/// Newest first, whatever their state.
#[utoipa::path(get, path = "/developer/apps", operation_id = "developer_apps_list", tag = "apps", params(ListParams, PageParams),
    security(("key" = ["read:apps"])), responses((status = 200, description = "A page of apps", body = Success<List<AppView>>)))]
async fn list(Given(api): Given<Api>, caller: Permit<ReadApps>, Query(form): Query<ListForm>) -> Answered {
    let page = store::list(&api.db, caller.account(form.account_id)?, form.paging).await?;
    Answer::ok(&List::of(page.map(|app| AppView::from(&app)), None))
}

/// Create an app
///
/// It is a draft with a first version, which nobody else sees until it was reviewed and published. Emits `app.created`.
#[utoipa::path(post, path = "/apps", operation_id = "apps_create", tag = "apps",
    request_body = CreateDocument, security(("key" = ["write:apps"])),
    responses((status = 201, description = "The app", body = Success<WholeAppView>)))]
async fn create(
    Given(api): Given<Api>,
    caller: Permit<WriteApps>,
    repeatable: Repeatable,
    Body(new, bytes): Body<NewApp>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let made = act::create(&mut tx, &api.world, &Actor::from(&*caller), caller.account_id, new).await?;
    let view = WholeAppView::from(&made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(tagged(Answer::created(&view)?, made.app.version))
}

/// Read one of one's own apps
///
/// With its live version, its proposal, and what the proposal asks for beside the live version.
#[utoipa::path(get, path = "/developer/apps/{id}", operation_id = "developer_apps_read", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`")), security(("key" = ["read:apps"])),
    responses((status = 200, description = "The app", body = Success<WholeAppView>)))]
async fn read(Given(api): Given<Api>, caller: Permit<ReadApps>, Id(id): Id<AppId>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    shown(&store::whole(&mut tx, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?)
}

/// Write an app's next version
///
/// Changes the proposal; where there is none, one is made from the live version. A proposal that was rejected is a draft
/// again; one that is being reviewed must be withdrawn first. What the catalogue shows does not change by it. Emits
/// `app.updated`, unless nothing differs.
#[utoipa::path(put, path = "/apps/{id}", operation_id = "apps_update", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = UpdateDocument, security(("key" = ["write:apps"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn update(
    Given(api): Given<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    Body(change, _): Body<ContentUpdate>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let which = Which { bounds: caller.bounds(), id, expected };
    let new = act::edit(&mut tx, &api.world, &Actor::from(&*caller), which, change).await?;
    tx.commit().await?;
    shown(&new)
}

/// Remove an app
///
/// For good: it leaves the catalogue, and its slug is given to no other. Where it is installed it stays until it is
/// uninstalled. Emits `app.deleted`.
#[utoipa::path(delete, path = "/apps/{id}", operation_id = "apps_remove", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["delete:apps"])),
    responses((status = 200, description = "The app, removed", body = Success<WholeAppView>)))]
async fn remove(Given(api): Given<Api>, caller: Permit<DeleteApps>, Id(id): Id<AppId>, IfMatch(expected): IfMatch) -> Answered {
    let mut tx = api.db.begin().await?;
    let which = Which { bounds: caller.bounds(), id, expected };
    let new = act::step(&mut tx, &api.world, &Actor::from(&*caller), which, Act::Remove, None).await?;
    tx.commit().await?;
    shown(&new)
}

/// List an app's versions
///
/// Newest first.
#[utoipa::path(get, path = "/developer/apps/{id}/versions", operation_id = "developer_apps_versions", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"), PageParams), security(("key" = ["read:apps"])),
    responses((status = 200, description = "A page of versions", body = Success<List<VersionView>>)))]
async fn versions(
    Given(api): Given<Api>,
    caller: Permit<ReadApps>,
    Id(id): Id<AppId>,
    Query(paging): Query<Paging<AppVersionId>>,
) -> Answered {
    store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let page = store::versions(&api.db, id, paging).await?;
    Answer::ok(&List::of(page.map(|version| VersionView::from(&version)), None))
}

/// Submit an app's proposal for review
///
/// First come automatic checks: of the listing, the redirect URIs, the reasons for the scopes, the price, and whether the
/// webhook URL answers 401 to a signature that is not by a secret of the app. What they find makes the proposal `rejected`, with
/// `findings`; otherwise it is `in_review`, and a person decides. Emits `app.rejected` or `app.approved` in the end.
#[utoipa::path(post, path = "/apps/{id}/submit", operation_id = "apps_submit", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn submit(
    Given(api): Given<Api>,
    caller: Permit<WriteMarketplace>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, Which { bounds: caller.bounds(), id, expected }, Act::Submit).await
}

/// Take a proposal back from review
///
/// It is a draft again.
#[utoipa::path(post, path = "/apps/{id}/withdraw", operation_id = "apps_withdraw", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn withdraw(
    Given(api): Given<Api>,
    caller: Permit<WriteMarketplace>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, Which { bounds: caller.bounds(), id, expected }, Act::Withdraw).await
}

/// Publish an approved proposal
///
/// It takes the place of the live version in the catalogue. Emits `app.published`.
#[utoipa::path(post, path = "/apps/{id}/publish", operation_id = "apps_publish", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn publish(
    Given(api): Given<Api>,
    caller: Permit<WriteMarketplace>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, Which { bounds: caller.bounds(), id, expected }, Act::Publish).await
}

/// Deprecate an app
///
/// It leaves the catalogue and cannot be installed any more; where it is installed it stays. Emits `app.updated`.
#[utoipa::path(post, path = "/apps/{id}/deprecate", operation_id = "apps_deprecate", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn deprecate(
    Given(api): Given<Api>,
    caller: Permit<WriteMarketplace>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, Which { bounds: caller.bounds(), id, expected }, Act::Deprecate).await
}

/// Offer a deprecated app again
///
/// Emits `app.updated`.
#[utoipa::path(post, path = "/apps/{id}/restore", operation_id = "apps_restore", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:marketplace"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn restore(
    Given(api): Given<Api>,
    caller: Permit<WriteMarketplace>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, Which { bounds: caller.bounds(), id, expected }, Act::Restore).await
}

async fn stepped(api: &Api, caller: &Caller, turn: Turn, which: Which, what: Act) -> Answered {
    super::stepped(api, caller, turn, which, (what, None)).await
}
