//! `/oauth/clients`: an account's applications.

use axum::extract::State;
use clearway_config::{AccountId, ClientId, Scopes, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    forms::{CreateForm, ListForm, ListParams, RotateForm, UpdateForm},
    tokens::enforced,
};
use crate::{
    audit::Actor,
    http::{
        Answer, Answered, Api, ApiError, Body, DeleteApps, Id, IfMatch, List, PageParams, Permit, Query, ReadApps, Repeatable,
        Turn, WriteApps, tagged, time::rfc3339,
    },
    oauth::{
        clients::{self, AuthMethod, Client, GrantType},
        store::clients as store,
    },
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, put, delete)).routes(routes!(rotate))
}

/// An application, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthClientView, example = json!({"id": "client_1QjvzY8L2d0ZB9oU4hXwVn", "client_id": "client_1QjvzY8L2d0ZB9oU4hXwVn",
    "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "name": "Example App", "homepage": null,
    "token_endpoint_auth_method": "client_secret_basic", "grant_types": ["authorization_code", "refresh_token"],
    "redirect_uris": ["https://app.example/callback"], "scopes": ["read:stores"], "access_token_lifetime": 3600,
    "refresh_token_lifetime": 2592000, "jwks": null, "dpop_bound_access_tokens": false, "registered_by": null, "disabled": false, "version": 1, "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T12:00:00.000Z"}))]
struct ClientView {
    #[schema(value_type = String)]
    id: ClientId,
    /// The same, by the name that OAuth has for it.
    #[schema(value_type = String)]
    client_id: ClientId,
    #[schema(value_type = String)]
    account_id: AccountId,
    name: String,
    homepage: Option<String>,
    token_endpoint_auth_method: AuthMethod,
    grant_types: Vec<GrantType>,
    redirect_uris: Vec<String>,
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    /// Seconds.
    access_token_lifetime: i64,
    /// Seconds.
    refresh_token_lifetime: i64,
    /// Its public keys (RFC 7517), where it authenticates by `private_key_jwt`.
    #[schema(value_type = Option<Object>)]
    jwks: Option<Value>,
    /// Whether it is given no other tokens than those that are bound to a key (DPoP, RFC 9449).
    dpop_bound_access_tokens: bool,
    /// `anyone`, or the token that it has registered itself by; null where its account has registered it.
    registered_by: Option<String>,
    disabled: bool,
    /// Counts its changes; also its `ETag`.
    version: i64,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthClientIssued)]
struct ClientIssued {
    #[serde(flatten)]
    client: ClientView,
    /// Shown in this answer only; null for an application without one, and in the replay of an idempotency key.
    client_secret: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthClientDeleted)]
struct ClientDeleted {
    #[schema(value_type = String)]
    id: ClientId,
}

impl From<Client> for ClientView {
    fn from(client: Client) -> Self {
        Self {
            id: client.id,
            client_id: client.id,
            account_id: client.account_id,
            name: client.name,
            homepage: client.homepage,
            token_endpoint_auth_method: client.auth_method,
            grant_types: client.grant_types,
            redirect_uris: client.redirect_uris,
            scopes: client.scopes,
            access_token_lifetime: client.access_lifetime,
            refresh_token_lifetime: client.refresh_lifetime,
            jwks: client.jwks,
            dpop_bound_access_tokens: client.dpop_bound,
            registered_by: client.registered_by.map(|by| by.to_string()),
            disabled: client.disabled_at.is_some(),
            version: client.version,
            created_at: rfc3339(client.created_at),
            updated_at: rfc3339(client.updated_at),
        }
    }
}

/// List applications
///
/// An account's own, newest first.
#[utoipa::path(get, path = "/oauth/clients", operation_id = "oauth_clients_list", tag = "oauth", params(ListParams, PageParams),
    security(("key" = ["read:apps"])),
    responses((status = 200, description = "A page of applications", body = Success<List<ClientView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadApps>, Query(form): Query<ListForm<ClientId>>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list(&api.db, account, form.paging).await?;
    let total = store::count(&api.db, account).await?;
    Answer::ok(&List::of(page.map(ClientView::from), Some(total)))
}

/// Register an application
///
/// Its secret is shown in this answer only. An application that acts without a person (`client_credentials`) gets no scope
/// that its maker lacks.
#[utoipa::path(post, path = "/oauth/clients", operation_id = "oauth_clients_create", tag = "oauth", request_body = CreateForm,
    security(("key" = ["write:apps"])),
    responses((status = 201, description = "The application and its secret", body = Success<ClientIssued>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    repeatable: Repeatable,
    Body(form, bytes): Body<CreateForm>,
) -> Answered {
    let account = caller.account(form.account_id)?;
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let (client, secret) = clients::create(&mut tx, &api.world, &Actor::from(&*caller), account, form.into()).await?;
    let version = client.version;
    let mut answer = ClientIssued { client: client.into(), client_secret: None };
    ticket.keep(&mut tx, StatusCode::CREATED, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    answer.client_secret = secret.map(|secret| secret.reveal().to_owned());
    Ok(tagged(Answer::created(&answer)?.no_store(), version))
}

/// Read an application
///
/// Without its secret, which was shown once.
#[utoipa::path(get, path = "/oauth/clients/{id}", operation_id = "oauth_clients_read", tag = "oauth",
    params(("id" = String, Path, description = "The application's id, `client_…`")), security(("key" = ["read:apps"])),
    responses((status = 200, description = "The application", body = Success<ClientView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadApps>, Id(id): Id<ClientId>) -> Answered {
    let found = store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let version = found.version;
    Ok(tagged(Answer::ok(&ClientView::from(found))?, version))
}

/// Update an application
///
/// Replaces the fields that are given. `If-Match` with the `ETag` that was read keeps two editors apart. Switching an
/// application off is answered once no proxy takes its tokens any more, or refuses all requests.
#[utoipa::path(put, path = "/oauth/clients/{id}", operation_id = "oauth_clients_update", tag = "oauth",
    params(("id" = String, Path, description = "The application's id, `client_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = UpdateForm, security(("key" = ["write:apps"])),
    responses((status = 200, description = "The application as it is now", body = Success<ClientView>)))]
async fn put(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<ClientId>,
    IfMatch(expected): IfMatch,
    Body(form, _): Body<UpdateForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let of = (caller.bounds(), id, expected);
    let (client, ended) = clients::update(&mut tx, &api.world, &Actor::from(&*caller), of, form.into()).await?;
    tx.commit().await?;
    enforced(&api, ended).await;
    let version = client.version;
    Ok(tagged(Answer::ok(&ClientView::from(client))?, version))
}

/// Delete an application
///
/// With all that people have let it do; not while it is an app's. Answered once no proxy takes its tokens any more, or refuses all requests.
#[utoipa::path(delete, path = "/oauth/clients/{id}", operation_id = "oauth_clients_delete", tag = "oauth",
    params(("id" = String, Path, description = "The application's id, `client_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["delete:apps"])),
    responses((status = 200, description = "It is gone", body = Success<ClientDeleted>)))]
async fn delete(
    State(api): State<Api>,
    caller: Permit<DeleteApps>,
    Id(id): Id<ClientId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let of = (caller.bounds(), id, expected);
    let ended = clients::delete(&mut tx, &api.world, &Actor::from(&*caller), of).await?;
    tx.commit().await?;
    enforced(&api, ended).await;
    Answer::ok(&ClientDeleted { id })
}

/// Give an application a new secret
///
/// Shown in this answer only. Older ones go on for `overlap` seconds, and never longer than they would have.
#[utoipa::path(post, path = "/oauth/clients/{id}/rotate", operation_id = "oauth_clients_rotate", tag = "oauth",
    params(("id" = String, Path, description = "The application's id, `client_…`")), request_body = RotateForm,
    security(("key" = ["write:apps"])),
    responses((status = 200, description = "The application and its new secret", body = Success<ClientIssued>)))]
async fn rotate(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    Id(id): Id<ClientId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<RotateForm>,
) -> Answered {
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let of = (caller.bounds(), id);
    let overlap = form.overlap.unwrap_or(0);
    let (client, secret) = clients::rotate(&mut tx, &api.world, &Actor::from(&*caller), of, overlap).await?;
    let mut answer = ClientIssued { client: client.into(), client_secret: None };
    ticket.keep(&mut tx, StatusCode::OK, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    answer.client_secret = Some(secret.reveal().to_owned());
    Ok(Answer::ok(&answer)?.no_store())
}
