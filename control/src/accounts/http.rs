//! `/admin/accounts`: for the scope `admin:platform`.

use axum::{body::Bytes, extract::State};
use clearway_config::{AccountId, envelope::Success, settings::gateway::policy::POLICIES_PER_ROUTE_MAX};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Account, AccountError, change_plan, open, set_policies, set_suspended, store};
use crate::{
    audit::Actor,
    db::Tx,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Caller, Fields, Form, Id, IfMatch, List, PageParams, Paging,
        Permit, Query, Repeatable, Turn, fields, tagged, time::rfc3339,
    },
    plans,
    sync::{Propagation, Revision, Wait},
};

/// Characters in an account's name at most.
const NAME_CHARS_MAX: usize = 100;
/// Characters in a plan's name at most.
const PLAN_CHARS_MAX: usize = 32;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, update))
        .routes(routes!(put_plan))
        .routes(routes!(suspend))
        .routes(routes!(resume))
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"name": "Example Ltd", "plan": "pro"}))]
struct AccountForm {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The first plan on offer when left out.
    plan: Option<String>,
}

impl Form for AccountForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", fields::text(NAME_CHARS_MAX));
        let plan = fields.optional("plan", fields::text(PLAN_CHARS_MAX));
        Some(Self { name: name?, plan: plan? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(example = json!({"plan": "pro"}))]
struct PlanForm {
    /// The name of a plan on offer.
    plan: String,
}

impl Form for PlanForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { plan: fields.required("plan", fields::text(PLAN_CHARS_MAX))? })
    }
}

#[derive(Debug, ToSchema)]
#[schema(as = AccountUpdateForm, example = json!({"policies": ["office-only"]}))]
struct UpdateForm {
    /// Names of policies of the control plane's, at most 16. Of each section the last that has it counts; together they
    /// narrow what a route's policies allow.
    policies: Vec<String>,
}

impl Form for UpdateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let policies = fields::list(POLICIES_PER_ROUTE_MAX, fields::text(NAME_CHARS_MAX));
        Some(Self { policies: fields.required("policies", policies)? })
    }
}

#[derive(Debug)]
struct Nothing;

impl Form for Nothing {
    fn read(_: &mut Fields) -> Option<Self> {
        Some(Self)
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "name": "Example Ltd", "plan": "pro", "policies": [], "brand": "Clearway", "status": "active",
    "version": 1, "created_at": "2026-11-20T12:00:00.000Z", "suspended_at": null}))]
struct AccountView {
    #[schema(value_type = String)]
    id: AccountId,
    name: String,
    plan: String,
    /// Names of the account's own, in order.
    policies: Vec<String>,
    /// What `X-<Brand>-Signature` of its webhooks is called.
    brand: String,
    /// `active` or `suspended`.
    status: &'static str,
    /// Counts its changes; also its `ETag`.
    version: i64,
    created_at: String,
    suspended_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct AccountChanged {
    #[serde(flatten)]
    account: AccountView,
    /// How far the change has come. Null in the replay of an idempotency key.
    propagation: Option<Propagation>,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            name: account.name,
            plan: account.plan,
            policies: account.policies,
            brand: account.brand,
            status: if account.suspended_at.is_some() { "suspended" } else { "active" },
            version: account.version,
            created_at: rfc3339(account.created_at),
            suspended_at: account.suspended_at.map(rfc3339),
        }
    }
}

/// List accounts
///
/// Newest first.
#[utoipa::path(get, path = "/admin/accounts", operation_id = "accounts_list", tag = "admin", params(PageParams),
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "A page of accounts", body = Success<List<AccountView>>)))]
async fn list(State(api): State<Api>, _: Permit<AdminPlatform>, Query(paging): Query<Paging<AccountId>>) -> Answered {
    let page = store::list(&api.db, paging).await?;
    let total = store::count(&api.db).await?;
    Answer::ok(&List::of(page.map(AccountView::from), Some(total)))
}

/// Open an account
///
/// For somebody who cannot do so themselves. It has no members; its keys are made with `account_id`.
#[utoipa::path(post, path = "/admin/accounts", operation_id = "accounts_create", tag = "admin", request_body = AccountForm,
    security(("key" = ["admin:platform"])),
    responses((status = 201, description = "The account", body = Success<AccountChanged>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    repeatable: Repeatable,
    Body(form, bytes): Body<AccountForm>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    let actor = Actor::from(&*caller);
    act(&api, turn, StatusCode::CREATED, Wait::Briefly, async |tx: &mut Tx| {
        let plan = match form.plan {
            Some(plan) => plan,
            None => plans::first_offered(tx).await?,
        };
        open(tx, &api.world, &actor, form.name, plan).await
    })
    .await
}

/// Read an account
///
/// Suspended accounts too.
#[utoipa::path(get, path = "/admin/accounts/{id}", operation_id = "accounts_read", tag = "admin",
    params(("id" = String, Path, description = "The account's id, `acct_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The account", body = Success<AccountView>)))]
async fn read(State(api): State<Api>, _: Permit<AdminPlatform>, Id(id): Id<AccountId>) -> Answered {
    let account = store::find(&api.db, id).await?.ok_or_else(ApiError::not_found)?;
    let version = account.version;
    Ok(tagged(Answer::ok(&AccountView::from(account))?, version))
}

/// Change an account
///
/// Its policies are judged by after the route's, once the caller is known: both must let a request pass. Answers once
/// every proxy has acknowledged that, or refuses all requests.
#[utoipa::path(patch, path = "/admin/accounts/{id}", operation_id = "accounts_update", tag = "admin",
    params(("id" = String, Path, description = "The account's id, `acct_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = UpdateForm,
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The account as it is now", body = Success<AccountChanged>)))]
async fn update(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AccountId>,
    seen: IfMatch,
    Body(form, _): Body<UpdateForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let changed = set_policies(&mut tx, &api.world, &Actor::from(&*caller), (id, seen), form.policies).await?;
    tx.commit().await?;
    propagate(&api, StatusCode::OK, Wait::Enforced, changed).await
}

/// Change an account's plan
///
/// The new limits hold from the next request on; what was counted stays counted.
#[utoipa::path(put, path = "/admin/accounts/{id}/plan", operation_id = "accounts_change_plan", tag = "admin",
    params(("id" = String, Path, description = "The account's id, `acct_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = PlanForm,
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The account as it is now", body = Success<AccountChanged>)))]
async fn put_plan(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AccountId>,
    seen: IfMatch,
    Body(form, _): Body<PlanForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    seen.check(store::lock(&mut tx, id).await?.ok_or_else(ApiError::not_found)?.version)?;
    let changed = change_plan(&mut tx, &api.world, &Actor::from(&*caller), id, form.plan).await?;
    tx.commit().await?;
    propagate(&api, StatusCode::OK, Wait::Briefly, changed).await
}

/// Suspend an account
///
/// Every key of it is refused. Answers once every proxy has acknowledged that, or refuses all requests.
#[utoipa::path(post, path = "/admin/accounts/{id}/suspend", operation_id = "accounts_suspend", tag = "admin",
    params(("id" = String, Path, description = "The account's id, `acct_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The account as it is now", body = Success<AccountChanged>)))]
async fn suspend(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AccountId>,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    set_standing(&api, &caller, id, true, repeatable, &bytes).await
}

/// Resume an account
///
/// Its keys and its members' sessions work again, as soon as all proxies have heard of it. One that is not suspended
/// stays as it is.
#[utoipa::path(post, path = "/admin/accounts/{id}/resume", operation_id = "accounts_resume", tag = "admin",
    params(("id" = String, Path, description = "The account's id, `acct_…`")), security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The account as it is now", body = Success<AccountChanged>)))]
async fn resume(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AccountId>,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    set_standing(&api, &caller, id, false, repeatable, &bytes).await
}

/// A suspension is waited for on every proxy, its end briefly.
async fn set_standing(
    api: &Api,
    caller: &Caller,
    id: AccountId,
    suspended: bool,
    repeatable: Repeatable,
    body: &Bytes,
) -> Answered {
    let turn = repeatable.begin(api, caller, body).await?;
    let actor = Actor::from(caller);
    let wait = if suspended { Wait::Enforced } else { Wait::Briefly };
    act(api, turn, StatusCode::OK, wait, async |tx: &mut Tx| set_suspended(tx, &api.world, &actor, id, suspended).await).await
}

/// Does a POST's act in its transaction, keeps the answer for a repetition, commits, and tells the proxies.
async fn act(
    api: &Api,
    turn: Turn,
    status: StatusCode,
    wait: Wait,
    act: impl AsyncFnOnce(&mut Tx) -> Result<(Account, Revision), AccountError>,
) -> Answered {
    let (mut tx, ticket) = match turn {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let (account, revision) = act(&mut tx).await?;
    let kept = AccountChanged { account: account.clone().into(), propagation: None };
    ticket.keep(&mut tx, status, &kept, api.world.now_ms()).await?;
    tx.commit().await?;
    propagate(api, status, wait, (account, revision)).await
}

async fn propagate(api: &Api, status: StatusCode, wait: Wait, (account, revision): (Account, Revision)) -> Answered {
    let propagation = Some(api.hub.propagated(revision, wait).await);
    let version = account.version;
    Ok(tagged(Answer::with_status(status, &AccountChanged { account: account.into(), propagation })?, version))
}
