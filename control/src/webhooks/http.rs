//! `/webhooks`, also under `/marketplace/webhooks`; and `/admin/accounts/{id}/brand`.

mod forms;
mod settings;

use axum::extract::State;
use clearway_config::{AccountId, WebhookId, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    forms::{BrandForm, ListForm, ListParams, Nothing, RotateForm},
    settings::{CreateDocument, CreateForm, UpdateDocument, UpdateForm},
};
use super::{
    Means,
    brand::set_brand,
    create::{WithSecret, create},
    health::enable,
    model::{OVERLAP_DEFAULT, Webhook},
    rotate::rotate,
    store,
    update::{remove, update},
    view::{WebhookChanged, WebhookDeleted, WebhookIssued, WebhookView},
};
use crate::{
    accounts,
    audit::Actor,
    db,
    http::{
        AdminPlatform, Answer, Answered, Api, ApiError, Body, Id, IfMatch, List, PageParams, Permit, Query, ReadWebhooks,
        Repeatable, Turn, WriteWebhooks, tagged,
    },
    sync::{Propagation, Revision, Wait},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create_one))
        .routes(routes!(read, put, delete))
        .routes(routes!(rotate_secret))
        .routes(routes!(enable_one))
}

pub fn brand_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(put_brand))
}

/// List webhooks
///
/// Newest first.
#[utoipa::path(get, path = "/webhooks", operation_id = "webhooks_list", tag = "webhooks", params(ListParams, PageParams),
    security(("key" = ["read:webhooks"])),
    responses((status = 200, description = "A page of webhooks", body = Success<List<WebhookView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadWebhooks>, Query(form): Query<ListForm>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list(&api.db, account, form.paging).await?;
    let total = store::count(&api.db, account).await?;
    let webhooks = store::some(&api.db, &page.items).await?;
    let now_ms = api.world.now_ms();
    let secrets = store::live_secrets(&api.db, &page.items, now_ms).await?;
    let items: Vec<_> = webhooks.iter().map(|webhook| WebhookView::new(webhook, &secrets, now_ms)).collect();
    Answer::ok(&List { items, total: Some(total), next_cursor: page.next })
}

/// Create a webhook
///
/// The secret that deliveries are signed by is in this answer and never shown again. Events from now on are posted, once a
/// proxy has the webhook.
#[utoipa::path(post, path = "/webhooks", operation_id = "webhooks_create", tag = "webhooks", request_body = CreateDocument,
    security(("key" = ["write:webhooks"])),
    responses((status = 201, description = "The webhook and its secret", body = Success<WebhookIssued>)))]
async fn create_one(
    State(api): State<Api>,
    caller: Permit<WriteWebhooks>,
    repeatable: Repeatable,
    Body(form, bytes): Body<CreateForm>,
) -> Answered {
    let account = caller.account(form.account_id)?;
    let (mut tx, turn) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let made = create(&mut tx, means(&api), &Actor::from(&*caller), account, form.settings, form.secret).await?;
    let (answer, made) = issued(&api, made);
    turn.keep(&mut tx, StatusCode::CREATED, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    show(&api, StatusCode::CREATED, answer, &made, Wait::Briefly).await
}

/// Read a webhook
///
/// With its state. The secret that its deliveries are signed by is not part of it.
#[utoipa::path(get, path = "/webhooks/{id}", operation_id = "webhooks_read", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, `wh_…`")), security(("key" = ["read:webhooks"])),
    responses((status = 200, description = "The webhook", body = Success<WebhookView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadWebhooks>, Id(id): Id<WebhookId>) -> Answered {
    let webhook = store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    Ok(tagged(Answer::ok(&view(&api, &webhook).await?)?, webhook.version))
}

/// Update a webhook
///
/// Replaces the fields that are given; one left out stays, null resets it. `If-Match` with the `ETag` that was read keeps two
/// editors apart. Answered once every proxy has acknowledged it, or refuses all requests.
#[utoipa::path(put, path = "/webhooks/{id}", operation_id = "webhooks_update", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, `wh_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = UpdateDocument, security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "The webhook as it is now", body = Success<WebhookChanged>)))]
async fn put(
    State(api): State<Api>,
    caller: Permit<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    IfMatch(expected): IfMatch,
    Body(UpdateForm(settings), _): Body<UpdateForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let actor = Actor::from(&*caller);
    let (webhook, revision) = update(&mut tx, means(&api), &actor, caller.bounds(), id, settings, expected).await?;
    tx.commit().await?;
    changed(&api, &webhook, revision, Wait::Enforced).await
}

/// Delete a webhook
///
/// With its secrets. What was on its way to it is cancelled. Answered once no proxy signs for it any more.
#[utoipa::path(delete, path = "/webhooks/{id}", operation_id = "webhooks_delete", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, `wh_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "It is gone", body = Success<WebhookDeleted>)))]
async fn delete(
    State(api): State<Api>,
    caller: Permit<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let mut tx = api.db.begin().await?;
    let revision = remove(&mut tx, &api.world, &Actor::from(&*caller), caller.bounds(), id, expected).await?;
    tx.commit().await?;
    let propagation = api.hub.propagated(revision, Wait::Enforced).await;
    Answer::ok(&WebhookDeleted { id, propagation })
}

/// Rotate a webhook's secret
///
/// A new secret, shown in this answer only. Older ones go on signing beside it for `overlap` seconds, each with a signature of
/// its own in `webhook-signature`; the newest alone signs the header of the brand. With an overlap of 0 they are forgotten, and
/// the answer waits until no proxy signs by them.
#[utoipa::path(post, path = "/webhooks/{id}/rotate-secret", operation_id = "webhooks_rotate_secret", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, `wh_…`")), request_body = RotateForm,
    security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "The webhook and its new secret", body = Success<WebhookIssued>)))]
async fn rotate_secret(
    State(api): State<Api>,
    caller: Permit<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<RotateForm>,
) -> Answered {
    let (mut tx, turn) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let overlap_s = form.overlap.unwrap_or(OVERLAP_DEFAULT);
    let actor = Actor::from(&*caller);
    let made = rotate(&mut tx, means(&api), &actor, caller.bounds(), id, overlap_s, form.secret).await?;
    let (answer, made) = issued(&api, made);
    turn.keep(&mut tx, StatusCode::OK, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    let wait = if overlap_s == 0 { Wait::Enforced } else { Wait::Briefly };
    show(&api, StatusCode::OK, answer, &made, wait).await
}

/// Enable a webhook
///
/// Ends that it was disabled or failing, and switches it on. What happened meanwhile is not posted: recover it.
#[utoipa::path(post, path = "/webhooks/{id}/enable", operation_id = "webhooks_enable", tag = "webhooks",
    params(("id" = String, Path, description = "The webhook's id, `wh_…`")), security(("key" = ["write:webhooks"])),
    responses((status = 200, description = "The webhook as it is now", body = Success<WebhookChanged>)))]
async fn enable_one(
    State(api): State<Api>,
    caller: Permit<WriteWebhooks>,
    Id(id): Id<WebhookId>,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<Nothing>,
) -> Answered {
    let (mut tx, turn) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let (webhook, revision) = enable(&mut tx, &api.world, &Actor::from(&*caller), caller.bounds(), id).await?;
    let now_ms = api.world.now_ms();
    let secrets = store::live_secrets(&mut tx, &[id.to_string()], now_ms).await?;
    let kept = WebhookChanged { webhook: WebhookView::new(&webhook, &secrets, now_ms), propagation: None };
    turn.keep(&mut tx, StatusCode::OK, &kept, now_ms).await?;
    tx.commit().await?;
    changed(&api, &webhook, revision, Wait::Briefly).await
}

#[derive(Debug, Serialize, ToSchema)]
struct BrandChanged {
    #[schema(value_type = String)]
    account_id: AccountId,
    brand: String,
    /// How far the change has come.
    propagation: Propagation,
}

/// Change an account's brand
///
/// `X-<Brand>-Signature` of its webhooks is called by it, except where a webhook has a brand of its own.
#[utoipa::path(put, path = "/admin/accounts/{id}/brand", operation_id = "accounts_change_brand", tag = "admin",
    params(("id" = String, Path, description = "The account's id, `acct_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = BrandForm,
    security(("key" = ["admin:platform"])),
    responses((status = 200, description = "The brand as it is now", body = Success<BrandChanged>)))]
async fn put_brand(
    State(api): State<Api>,
    caller: Permit<AdminPlatform>,
    Id(id): Id<AccountId>,
    seen: IfMatch,
    Body(BrandForm { brand }, _): Body<BrandForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    seen.check(accounts::lock(&mut tx, id).await?.ok_or_else(ApiError::not_found)?.version)?;
    let (account, revision) = set_brand(&mut tx, &api.world, &Actor::from(&*caller), id, &brand).await?;
    tx.commit().await?;
    let propagation = api.hub.propagated(revision, Wait::Briefly).await;
    Ok(tagged(Answer::ok(&BrandChanged { account_id: id, brand: account.brand, propagation })?, account.version))
}

fn means(api: &Api) -> Means<'_> {
    Means { world: &api.world, secrets: &api.secrets, egress: &api.egress_settings }
}

/// What is answered, still without its secret.
fn issued(api: &Api, made: WithSecret) -> (WebhookIssued, WithSecret) {
    let webhook = WebhookView::new(&made.webhook, &made.secrets, api.world.now_ms());
    (WebhookIssued { webhook, secret: None, propagation: None }, made)
}

async fn show(api: &Api, status: StatusCode, mut answer: WebhookIssued, made: &WithSecret, wait: Wait) -> Answered {
    answer.secret = Some(made.key.reveal());
    answer.propagation = Some(api.hub.propagated(made.revision, wait).await);
    Ok(tagged(Answer::with_status(status, &answer)?.no_store(), made.webhook.version))
}

async fn changed(api: &Api, webhook: &Webhook, revision: Revision, wait: Wait) -> Answered {
    let propagation = Some(api.hub.propagated(revision, wait).await);
    let changed = WebhookChanged { webhook: view(api, webhook).await?, propagation };
    Ok(tagged(Answer::ok(&changed)?, webhook.version))
}

async fn view(api: &Api, webhook: &Webhook) -> db::Result<WebhookView> {
    let now_ms = api.world.now_ms();
    let secrets = store::live_secrets(&api.db, &[webhook.id.to_string()], now_ms).await?;
    Ok(WebhookView::new(webhook, &secrets, now_ms))
}
