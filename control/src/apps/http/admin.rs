//! `/admin/apps`: the queue of review, and what whoever runs the catalogue may do to an app.

use axum::extract::State as Given;
use clearway_config::{AppId, envelope::Success};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    super::{
        Act, Which,
        model::Waiting,
        store,
        view::{QueuedView, WholeAppView},
    },
    forms::{FeatureForm, Nothing, ReasonForm},
    shown,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    catalogue,
    db::Page,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Id, IfMatch, List, PageParams, Paging, Permit, Query, Repeatable,
        Turn,
    },
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(pending))
        .routes(routes!(read))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(suspend))
        .routes(routes!(resume))
        .routes(routes!(feature))
}

/// List what waits for review
///
/// Who has waited longest first. Those that are `pending` are still being checked.
#[utoipa::path(get, path = "/admin/apps/pending", operation_id = "admin_apps_pending", tag = "admin", params(PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of submissions", body = Success<List<QueuedView>>)))]
async fn pending(Given(api): Given<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<Waiting>>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    let page = store::queue(&mut tx, paging).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for waiting in page.items {
        items.extend(store::whole(&mut tx, None, waiting.app).await?.as_ref().and_then(QueuedView::of));
    }
    Answer::ok(&List::of(Page { items, next: page.next }, None))
}

/// Read any app
///
/// With its live version and its proposal, whoever's it is and whatever its state.
#[utoipa::path(get, path = "/admin/apps/{id}", operation_id = "admin_apps_read", tag = "admin",
    params(("id" = String, Path, description = "The app's id, `app_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The app", body = Success<WholeAppView>)))]
async fn read(Given(api): Given<Api>, _: Permit<AdminPlatform>, Id(id): Id<AppId>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    shown(&store::whole(&mut tx, None, id).await?.ok_or_else(ApiError::not_found)?)
}

/// Approve a proposal
///
/// Its developer may publish it from then on. `If-Match` makes sure that it is what was looked at. Emits `app.approved`.
#[utoipa::path(post, path = "/admin/apps/{id}/approve", operation_id = "admin_apps_approve", tag = "admin",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn approve(
    Given(api): Given<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, (id, expected), (Act::Approve, None)).await
}

/// Reject a proposal
///
/// Also one that was approved and is not published yet. Emits `app.rejected`.
#[utoipa::path(post, path = "/admin/apps/{id}/reject", operation_id = "admin_apps_reject", tag = "admin",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = ReasonForm, security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn reject(
    Given(api): Given<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(form, bytes): Body<ReasonForm>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, (id, expected), (Act::Reject, Some(form.reason))).await
}

/// Suspend an app
///
/// It leaves the catalogue and cannot be installed any more. Emits `app.suspended`.
#[utoipa::path(post, path = "/admin/apps/{id}/suspend", operation_id = "admin_apps_suspend", tag = "admin",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = ReasonForm, security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn suspend(
    Given(api): Given<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(form, bytes): Body<ReasonForm>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, (id, expected), (Act::Suspend, Some(form.reason))).await
}

/// End an app's suspension
///
/// It is in the catalogue again. Emits `app.updated`.
#[utoipa::path(post, path = "/admin/apps/{id}/resume", operation_id = "admin_apps_resume", tag = "admin",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The app as it is now", body = Success<WholeAppView>)))]
async fn resume(
    Given(api): Given<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    stepped(&api, &caller, turn, (id, expected), (Act::Resume, None)).await
}

/// Say whether an app is featured
///
/// The catalogue shows those that are featured first where it is asked for them.
#[utoipa::path(put, path = "/admin/apps/{id}/featured", operation_id = "admin_apps_feature", tag = "admin",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = FeatureForm,
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The app", body = Success<WholeAppView>)))]
async fn feature(
    Given(api): Given<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AppId>,
    seen: IfMatch,
    Body(form, _): Body<FeatureForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let whole = store::lock(&mut tx, None, id).await?.ok_or_else(ApiError::not_found)?;
    seen.check(whole.app.version)?;
    let featured_at = form.featured.then(|| api.world.now_ms());
    if !catalogue::set_featured(&mut tx, id, featured_at).await? {
        // Never published: there is nothing to feature.
        return Err(ApiError::not_found());
    }
    let object_id = id.to_string();
    let changes = Changes::default().field("featured", (), form.featured);
    let event =
        Event { action: "app.featured", account_id: whole.app.account_id, object_kind: "app", object_id: &object_id, changes };
    audit::record(&mut tx, &api.world, &Actor::from(&*caller), event).await?;
    tx.commit().await?;
    shown(&whole)
}

async fn stepped(
    api: &Api,
    caller: &Permit<AdminPlatform>,
    turn: Turn,
    (id, expected): (AppId, Option<i64>),
    act: (Act, Option<String>),
) -> Answered {
    super::stepped(api, caller, turn, Which { bounds: None, id, expected }, act).await
}
