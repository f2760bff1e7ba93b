//! The OAuth client of an app: `/apps/{id}/client`.

use axum::extract::State as Given;
use clearway_config::{AppId, ClientId, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::super::{
    Which,
    link::{self, Linked},
    store,
};
use crate::{
    audit::Actor,
    http::{
        Answer, Answered, Api, ApiError, Body, Caller, Fields, Form, Id, IfMatch, Permit, ReadApps, WriteApps, fields::parsed,
        tagged,
    },
    oauth::{OauthConfigView, config_of},
    sync::{Propagation, Wait},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read)).routes(routes!(put, remove)).routes(routes!(config))
}

#[derive(Debug, ToSchema)]
#[schema(as = AppClientForm, example = json!({"client_id": "client_1QjvzY8L2d0ZB9oU4hXwVn"}))]
struct LinkForm {
    /// An OAuth application of the app's account, and of no other app.
    #[schema(value_type = String)]
    client_id: ClientId,
}

impl Form for LinkForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { client_id: fields.required("client_id", parsed)? })
    }
}

/// By what an app asks people for access.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AppClientView, example = json!({"app_id": "app_1QjvzY8L2d0ZB9oU4hXwVn", "client_id": "client_1QjvzY8L2d0ZB9oU4hXwVn",
    "propagation": null}))]
struct LinkView {
    #[schema(value_type = String)]
    app_id: AppId,
    /// Null: the app asks nobody.
    #[schema(value_type = Option<String>)]
    client_id: Option<ClientId>,
    /// How far the end of what was issued before has come; null where there was nothing to end.
    propagation: Option<Propagation>,
}

/// Read an app's OAuth application
///
/// Which application acts for those who have installed the app. Without its secret.
#[utoipa::path(get, path = "/developer/apps/{id}/client", operation_id = "developer_apps_client", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`")), security(("key" = ["read:apps"])),
    responses((status = 200, description = "The OAuth application", body = Success<LinkView>)))]
async fn read(Given(api): Given<Api>, caller: Permit<ReadApps>, Id(id): Id<AppId>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    let app = store::find(&mut tx, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let client_id = store::client_of(&mut tx, id).await?.map(|(client, _)| client);
    Ok(tagged(Answer::ok(&LinkView { app_id: id, client_id, propagation: None })?, app.version))
}

/// How an app asks people for access.
#[derive(Debug, Serialize, ToSchema)]
struct AppOauthView {
    #[schema(value_type = String)]
    app_id: AppId,
    /// Null: the app asks nobody.
    oauth_config: Option<OauthConfigView>,
}

/// Read how an app asks people for access
///
/// The settings of its OAuth application, and where it sends people. Secrets are no part of it.
#[utoipa::path(get, path = "/apps/{id}/oauth/config", operation_id = "apps_oauth_config", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`")), security(("key" = ["read:apps"])),
    responses((status = 200, description = "The settings", body = Success<AppOauthView>)))]
async fn config(Given(api): Given<Api>, caller: Permit<ReadApps>, Id(id): Id<AppId>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    let app = store::find(&mut tx, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let oauth_config = match store::client_of(&mut tx, id).await? {
        Some((client, _)) => config_of(&mut tx, &api, Some(app.account_id), client).await?,
        None => None,
    };
    Answer::ok(&AppOauthView { app_id: id, oauth_config })
}

/// Give an app its OAuth application
///
/// From then on people let it act only in accounts that have the app installed, and for no more than it was installed for;
/// uninstalling ends that. What the application was let do before ends: answered once no proxy takes its tokens any more, or
/// refuses all requests.
#[utoipa::path(put, path = "/apps/{id}/client", operation_id = "apps_link_client", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = LinkForm, security(("key" = ["write:apps"])),
    responses((status = 200, description = "The OAuth application", body = Success<LinkView>)))]
async fn put(
    Given(api): Given<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<AppId>,
    IfMatch(expected): IfMatch,
    Body(form, _): Body<LinkForm>,
) -> Answered {
    linked(&api, &caller, Which { bounds: caller.bounds(), id, expected }, Some(form.client_id)).await
}

/// Take an app's OAuth application away
///
/// What it was let do ends, as when it is given.
#[utoipa::path(delete, path = "/apps/{id}/client", operation_id = "apps_unlink_client", tag = "apps",
    params(("id" = String, Path, description = "The app's id, `app_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:apps"])),
    responses((status = 200, description = "There is none any more", body = Success<LinkView>)))]
async fn remove(Given(api): Given<Api>, caller: Permit<WriteApps>, Id(id): Id<AppId>, IfMatch(expected): IfMatch) -> Answered {
    linked(&api, &caller, Which { bounds: caller.bounds(), id, expected }, None).await
}

async fn linked(api: &Api, caller: &Caller, which: Which, client: Option<ClientId>) -> Answered {
    let mut tx = api.db.begin().await?;
    let Linked { app, client, revision } = link::link(&mut tx, &api.world, &Actor::from(caller), which, client).await?;
    tx.commit().await?;
    let propagation = match revision {
        Some(revision) => Some(api.hub.propagated(revision, Wait::Enforced).await),
        None => None,
    };
    Ok(tagged(Answer::ok(&LinkView { app_id: app.id, client_id: client, propagation })?, app.version))
}
