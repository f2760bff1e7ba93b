//! `/installations`, and what seed 003 calls them.

use axum::extract::State;
use clearway_config::{AccountId, AppId, InstallationId, KeyId, Scope, Scopes, WebhookId, envelope::Success, scope::SCOPES_MAX};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act,
    model::{Installation, Tied},
    store,
};
use crate::{
    catalogue,
    http::{
        Answer, Answered, Api, ApiError, Body, Fields, Form, Id, Ids, IfMatch, List, PageParams, Paging, Permit, Query, ReadApps,
        Repeatable, Turn, WriteApps,
        fields::{Wrong, list as list_of, parsed, text},
        tagged,
        time::rfc3339,
    },
    sync::{Propagation, Revision, Wait},
};

/// Characters of an id or a slug.
const APP_CHARS_MAX: usize = 64;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, change, remove))
        .routes(routes!(tie_key))
        .routes(routes!(tie_webhook))
        .routes(routes!(install))
        .routes(routes!(uninstall))
}

/// What to install, and what it may do.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"app": "slack-integration", "scopes": ["read:events"]}))]
struct InstallForm {
    /// The app's id or its slug.
    #[schema(max_length = 64)]
    app: String,
    /// At least what the app cannot do without, which is what is granted when this is left out; at most what it asks for;
    /// and nothing that the caller lacks.
    #[schema(value_type = Option<Vec<String>>, max_items = 64)]
    scopes: Option<Scopes>,
}

impl Form for InstallForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        fields.also_called("app", "app_id");
        let app = fields.required("app", text(APP_CHARS_MAX));
        let scopes = fields.optional("scopes", scopes);
        Some(Self { app: app?, scopes: scopes? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = InstallationUpdateForm, example = json!({"scopes": ["read:events", "read:keys"]}))]
struct ChangeForm {
    /// As for installing, by what the live version asks for.
    #[schema(value_type = Vec<String>, max_items = 64)]
    scopes: Scopes,
}

impl Form for ChangeForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { scopes: fields.required("scopes", scopes)? })
    }
}

fn scopes(value: &Value) -> Result<Scopes, Wrong> {
    Ok(list_of(SCOPES_MAX, parsed::<Scope>)(value)?.into())
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
struct ListParams {
    /// Another account's; for admins.
    account_id: Option<String>,
    /// Only that of this app.
    app_id: Option<String>,
}

#[derive(Debug)]
struct ListForm {
    account_id: Option<AccountId>,
    app_id: Option<AppId>,
    paging: Paging<InstallationId>,
}

impl Form for ListForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let account_id = fields.optional("account_id", parsed);
        let app_id = fields.optional("app_id", parsed);
        let paging = Paging::read(fields);
        Some(Self { account_id: account_id?, app_id: app_id?, paging: paging? })
    }
}

/// An app in an account.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({"id": "inst_1QjvzY8L2d0ZB9oU4hXwVp", "app_id": "app_1QjvzY8L2d0ZB9oU4hXwVn", "slug": "slack-integration",
    "name": "Slack Integration", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "scopes": ["read:events"], "app_version": "2.1.0",
    "installed_by": "user_1QjvzY8L2d0ZB9oU4hXwVk", "version": 1, "installed_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T12:00:00.000Z", "uninstalled_at": null}))]
struct InstallationView {
    #[schema(value_type = String)]
    id: InstallationId,
    #[schema(value_type = String)]
    app_id: AppId,
    slug: String,
    name: String,
    #[schema(value_type = String)]
    account_id: AccountId,
    /// What the app may do in the account.
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    /// The version whose permissions were looked at.
    app_version: String,
    /// `user_…` or `key_…`
    installed_by: String,
    /// Counts its changes; also its `ETag`.
    version: i64,
    installed_at: String,
    updated_at: String,
    uninstalled_at: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct WholeInstallationView {
    #[serde(flatten)]
    installation: InstallationView,
    /// Keys that end with it.
    keys: Vec<String>,
    /// Webhooks that end with it.
    webhooks: Vec<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct InstallationChanged {
    #[serde(flatten)]
    installation: InstallationView,
    /// How far the end of its keys, its webhooks and what its OAuth client was let do has come; null where there was nothing.
    propagation: Option<Propagation>,
}

impl From<Installation> for InstallationView {
    fn from(of: Installation) -> Self {
        Self {
            id: of.id,
            app_id: of.app_id,
            slug: of.app_slug,
            name: of.app_name,
            account_id: of.account_id,
            scopes: of.scopes,
            app_version: of.app_version,
            installed_by: of.installed_by,
            version: of.version,
            installed_at: rfc3339(of.installed_at),
            updated_at: rfc3339(of.updated_at),
            uninstalled_at: of.uninstalled_at.map(rfc3339),
        }
    }
}

/// List the apps that are installed
///
/// Newest first.
#[utoipa::path(get, path = "/installations", operation_id = "installations_list", tag = "marketplace",
    params(ListParams, PageParams), security(("key" = ["read:apps"])),
    responses((status = 200, description = "A page of installations", body = Success<List<InstallationView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadApps>, Query(form): Query<ListForm>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list(&api.db, account, form.app_id, form.paging).await?;
    Answer::ok(&List::of(page.map(InstallationView::from), None))
}

/// Install an app
///
/// Into the caller's account, which can have it once. Emits `app.installed`, to the account and to the app's developer.
#[utoipa::path(post, path = "/installations", operation_id = "installations_create", tag = "marketplace",
    request_body = InstallForm, security(("key" = ["write:apps"])),
    responses((status = 201, description = "The installation", body = Success<InstallationView>), (status = 404)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    repeatable: Repeatable,
    Body(form, bytes): Body<InstallForm>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    installed(&api, &caller, turn, form).await
}

/// Install an app
///
/// The same as `POST /installations`.
#[utoipa::path(post, path = "/apps/install", operation_id = "apps_install", tag = "marketplace",
    request_body = InstallForm, security(("key" = ["write:apps"])),
    responses((status = 201, description = "The installation", body = Success<InstallationView>), (status = 404)))]
async fn install(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    repeatable: Repeatable,
    Body(form, bytes): Body<InstallForm>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    installed(&api, &caller, turn, form).await
}

async fn installed(api: &Api, caller: &Permit<WriteApps>, turn: Turn, form: InstallForm) -> Answered {
    let (mut tx, ticket) = match turn {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let listing = catalogue::find(&mut tx, &form.app).await?.ok_or_else(ApiError::not_found)?;
    let made = act::install(&mut tx, &api.world, caller, listing.app_id, form.scopes).await?;
    let version = made.version;
    let view = InstallationView::from(made);
    ticket.keep(&mut tx, StatusCode::CREATED, &view, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(tagged(Answer::created(&view)?, version))
}

/// Read an installation
///
/// With the keys and webhooks that end with it.
#[utoipa::path(get, path = "/installations/{id}", operation_id = "installations_read", tag = "marketplace",
    params(("id" = String, Path, description = "The installation's id, `inst_…`")), security(("key" = ["read:apps"])),
    responses((status = 200, description = "The installation", body = Success<WholeInstallationView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadApps>, Id(id): Id<InstallationId>) -> Answered {
    let mut tx = api.db.begin_read().await?;
    let found = store::find(&mut tx, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    whole(&mut tx, found).await
}

async fn whole(tx: &mut crate::db::Tx, found: Installation) -> Answered {
    let (mut keys, mut webhooks) = (Vec::new(), Vec::new());
    for tied in store::tied(tx, found.id).await? {
        match tied {
            Tied::Key(id) => keys.push(id.to_string()),
            Tied::Webhook(id) => webhooks.push(id.to_string()),
        }
    }
    let version = found.version;
    Ok(tagged(Answer::ok(&WholeInstallationView { installation: found.into(), keys, webhooks })?, version))
}

/// Change what an app may do
///
/// Replaces the scopes, by what the app's live version asks for. Keys of the installation that may do more are revoked, and
/// what people have let the app do beyond them ends; the answer waits until the gateways refuse both.
#[utoipa::path(put, path = "/installations/{id}", operation_id = "installations_update", tag = "marketplace",
    params(("id" = String, Path, description = "The installation's id, `inst_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = ChangeForm, security(("key" = ["write:apps"])),
    responses((status = 200, description = "The installation as it is now", body = Success<InstallationChanged>)))]
async fn change(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<InstallationId>,
    IfMatch(expected): IfMatch,
    Body(form, _): Body<ChangeForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let (new, revision) = act::change(&mut tx, &api.world, &caller, id, form.scopes, expected).await?;
    tx.commit().await?;
    changed(&api, new, revision).await
}

/// Uninstall an app
///
/// Its keys are revoked, its webhooks deleted and its OAuth tokens ended at once; the answer waits until the gateways refuse
/// them. Emits `app.uninstalled`, to the account and to the app's developer.
#[utoipa::path(delete, path = "/installations/{id}", operation_id = "installations_remove", tag = "marketplace",
    params(("id" = String, Path, description = "The installation's id, `inst_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:apps"])),
    responses((status = 200, description = "The installation, ended", body = Success<InstallationChanged>)))]
async fn remove(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<InstallationId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    removed(&api, &caller, id, expected).await
}

/// Uninstall an app
///
/// The same as `DELETE /installations/{id}`.
#[utoipa::path(delete, path = "/apps/{id}/uninstall", operation_id = "apps_uninstall", tag = "marketplace",
    params(("id" = String, Path, description = "The installation's id, `inst_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:apps"])),
    responses((status = 200, description = "The installation, ended", body = Success<InstallationChanged>)))]
async fn uninstall(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<InstallationId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    removed(&api, &caller, id, expected).await
}

async fn removed(api: &Api, caller: &Permit<WriteApps>, id: InstallationId, expected: Option<i64>) -> Answered {
    let mut tx = api.db.begin().await?;
    let (new, revision) = act::uninstall(&mut tx, &api.world, caller, id, expected).await?;
    tx.commit().await?;
    changed(api, new, revision).await
}

async fn changed(api: &Api, new: Installation, revision: Option<Revision>) -> Answered {
    let propagation = match revision {
        Some(revision) => Some(api.hub.propagated(revision, Wait::Enforced).await),
        None => None,
    };
    let version = new.version;
    Ok(tagged(Answer::ok(&InstallationChanged { installation: new.into(), propagation })?, version))
}

/// Tie a key to an installation
///
/// The key is one that the app uses in this account, and may do no more than is granted to the app. It is revoked when the app
/// is uninstalled.
#[utoipa::path(put, path = "/installations/{id}/keys/{key_id}", operation_id = "installations_tie_key", tag = "marketplace",
    params(("id" = String, Path, description = "The installation's id, `inst_…`"),
        ("key_id" = String, Path, description = "The key's id, `key_…`")),
    security(("key" = ["write:apps"])),
    responses((status = 200, description = "The installation", body = Success<WholeInstallationView>)))]
async fn tie_key(State(api): State<Api>, caller: Permit<WriteApps>, Ids(id, key): Ids<InstallationId, KeyId>) -> Answered {
    tied(&api, &caller, id, Tied::Key(key)).await
}

/// Tie a webhook to an installation
///
/// The webhook is one that posts to the app. It is deleted when the app is uninstalled.
#[utoipa::path(put, path = "/installations/{id}/webhooks/{webhook_id}", operation_id = "installations_tie_webhook",
    tag = "marketplace",
    params(("id" = String, Path, description = "The installation's id, `inst_…`"),
        ("webhook_id" = String, Path, description = "The webhook's id, `wh_…`")),
    security(("key" = ["write:apps"])),
    responses((status = 200, description = "The installation", body = Success<WholeInstallationView>)))]
async fn tie_webhook(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Ids(id, webhook): Ids<InstallationId, WebhookId>,
) -> Answered {
    tied(&api, &caller, id, Tied::Webhook(webhook)).await
}

async fn tied(api: &Api, caller: &Permit<WriteApps>, id: InstallationId, object: Tied) -> Answered {
    let mut tx = api.db.begin().await?;
    let installation = act::tie(&mut tx, &api.world, caller, id, object).await?;
    let answer = whole(&mut tx, installation).await?;
    tx.commit().await?;
    Ok(answer)
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
        assert_eq!(named::<InstallForm>(), read::<InstallForm>());
        assert_eq!(named::<ChangeForm>(), read::<ChangeForm>());
    }
}
