//! `/oauth/grants`: which applications have access to an account.

use axum::extract::State;
use clearway_config::{AccountId, ClientId, GrantId, Scopes, UserId, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::forms::{ListForm, ListParams};
use crate::{
    audit::Actor,
    http::{Answer, Answered, Api, ApiError, Id, List, PageParams, Permit, Query, ReadApps, WriteApps, time::rfc3339},
    oauth::{grants::Grant, revoke, store::grants as store},
    sync::{Propagation, Wait},
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(end))
}

/// What an account lets an application do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthGrantView)]
struct GrantView {
    #[schema(value_type = String)]
    id: GrantId,
    #[schema(value_type = String)]
    client_id: ClientId,
    #[schema(value_type = String)]
    account_id: AccountId,
    /// Who agreed; null where an application acts in its own account.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// Of these, what the person's role in the account allows at the moment.
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    created_at: String,
    /// When it was last given tokens.
    last_used_at: String,
    /// When the person is to be asked anew.
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthGrantEnded)]
struct GrantEnded {
    #[schema(value_type = String)]
    id: GrantId,
    /// How far that has come.
    propagation: Option<Propagation>,
}

impl From<Grant> for GrantView {
    fn from(grant: Grant) -> Self {
        Self {
            id: grant.id,
            client_id: grant.client_id,
            account_id: grant.account_id,
            user_id: grant.user_id,
            scopes: grant.scopes,
            created_at: rfc3339(grant.created_at),
            last_used_at: rfc3339(grant.last_used_at),
            expires_at: rfc3339(grant.expires_at),
        }
    }
}

/// List what applications may do
///
/// In an account, newest first; those that have ended are left out.
#[utoipa::path(get, path = "/oauth/grants", operation_id = "oauth_grants_list", tag = "oauth", params(ListParams, PageParams),
    security(("key" = ["read:apps"])),
    responses((status = 200, description = "A page of grants", body = Success<List<GrantView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadApps>, Query(form): Query<ListForm<GrantId>>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list(&api.db, account, form.paging, api.world.now_ms()).await?;
    Answer::ok(&List::of(page.map(GrantView::from), None))
}

/// Take access away from an application
///
/// Its tokens end with it. Answered once no proxy takes them any more, or refuses all requests.
#[utoipa::path(delete, path = "/oauth/grants/{id}", operation_id = "oauth_grants_revoke", tag = "oauth",
    params(("id" = String, Path, description = "The grant's id, `grant_…`")), security(("key" = ["write:apps"])),
    responses((status = 200, description = "It has ended", body = Success<GrantEnded>)))]
async fn end(State(api): State<Api>, caller: Permit<WriteApps>, Id(id): Id<GrantId>) -> Answered {
    let mut tx = api.db.begin().await?;
    let grant = store::lock(&mut tx, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    let ended = revoke::end(&mut tx, &api.world, &Actor::from(&*caller), &grant, "account").await?;
    tx.commit().await?;
    let propagation = match ended.revision {
        Some(revision) => Some(api.hub.propagated(revision, Wait::Enforced).await),
        None => None,
    };
    Answer::ok(&GrantEnded { id, propagation })
}
