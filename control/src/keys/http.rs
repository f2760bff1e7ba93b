//! `/keys`, also under `/marketplace/keys`.

mod forms;

use axum::extract::State;
use clearway_config::{KeyId, envelope::Success};
use http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::forms::{CreateForm, ListForm, ListParams, RotateForm, UpdateForm};
use super::{
    issue::issue,
    model::{Key, OVERLAP_DEFAULT},
    revoke::revoke,
    rotate::rotate,
    signing::SigningSecret,
    store,
    update::{Updated, update},
    view::{KeyChanged, KeyIssued, KeyView},
};
use crate::{
    audit::Actor,
    db::{self, Tx},
    http::{
        Answer, Answered, Api, ApiError, Body, Caller, Id, IfMatch, List, PageParams, Permit, Query, ReadKeys, Repeatable, Turn,
        WriteKeys, tagged,
    },
    sync::{Propagation, Revision, Wait},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, put, delete))
        .routes(routes!(rotate_key))
        .routes(routes!(regenerate_key))
}

/// List keys
///
/// Newest first. Revoked and expired keys are in the list too.
#[utoipa::path(get, path = "/keys", operation_id = "keys_list", tag = "keys", params(ListParams, PageParams), security(("key" = ["read:keys"])),
    responses((status = 200, description = "A page of keys", body = Success<List<KeyView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadKeys>, Query(form): Query<ListForm>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list(&api.db, account, form.paging).await?;
    let total = store::count(&api.db, account).await?;
    let ids: Vec<KeyId> = page.items.iter().map(|key| key.id).collect();
    let now_ms = api.world.now_ms();
    let mut secrets = store::live_secrets_of(&api.db, &ids, now_ms).await?;
    let mut uses = store::last_uses(&api.db, &ids).await?;
    let viewed = |key: &Key| KeyView::new(key, &secrets.remove(&key.id).unwrap_or_default(), uses.remove(&key.id), now_ms);
    let items: Vec<KeyView> = page.items.iter().map(viewed).collect();
    let next_cursor = page.next.map(|id| id.to_string());
    Answer::ok(&List { items, total: Some(total), next_cursor })
}

/// Create a key
///
/// The secret is in this answer and never shown again, and so is the signing secret of a key that requires
/// signatures. A key gets no scope that its maker lacks.
#[utoipa::path(post, path = "/keys", operation_id = "keys_create", tag = "keys", request_body = CreateForm, security(("key" = ["write:keys"])),
    responses((status = 201, description = "The key and its secret", body = Success<KeyIssued>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteKeys>,
    repeatable: Repeatable,
    Body(form, bytes): Body<CreateForm>,
) -> Answered {
    let account = caller.account(form.account_id)?;
    let new = form.into_new(api.world.now_ms())?;
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let issued = issue(&mut tx, &api.world, &api.secrets, &Actor::from(&*caller), account, new).await?;
    let now_ms = api.world.now_ms();
    let key = KeyView::new(&issued.key, &[issued.secret], None, now_ms);
    let mut answer = KeyIssued { key, secret: None, signing_secret: None, propagation: None };
    ticket.keep(&mut tx, StatusCode::CREATED, &answer, now_ms).await?;
    tx.commit().await?;
    answer.secret = Some(issued.plain.reveal().to_owned());
    answer.signing_secret = issued.signing.as_ref().map(SigningSecret::reveal);
    answer.propagation = Some(api.hub.propagated(issued.revision, Wait::Briefly).await);
    Ok(tagged(Answer::created(&answer)?.no_store(), issued.key.version))
}

/// Read a key
///
/// Revoked and expired keys too. The secret is not part of it.
#[utoipa::path(get, path = "/keys/{id}", operation_id = "keys_read", tag = "keys", params(("id" = String, Path, description = "The key's id, `key_…`")),
    security(("key" = ["read:keys"])), responses((status = 200, description = "The key", body = Success<KeyView>)))]
async fn read(State(api): State<Api>, caller: Permit<ReadKeys>, Id(id): Id<KeyId>) -> Answered {
    let key = store::find(&api.db, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)?;
    Ok(tagged(Answer::ok(&view(&api, &key).await?)?, key.version))
}

/// Update a key
///
/// Replaces the fields that are given; one left out stays, null clears it. `If-Match` with the `ETag` that was read
/// keeps two editors apart. This is the only way to change a key's expiry. The environment cannot be changed. `require_signature` turned on makes a signing secret, in
/// this answer only; turned off, it forgets it. Answers as a revocation does, since a key may be narrowed by it.
#[utoipa::path(put, path = "/keys/{id}", operation_id = "keys_update", tag = "keys", params(("id" = String, Path, description = "The key's id, `key_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    request_body = UpdateForm, security(("key" = ["write:keys"])),
    responses((status = 200, description = "The key as it is now", body = Success<KeyChanged>)))]
async fn put(
    State(api): State<Api>,
    caller: Permit<WriteKeys>,
    Id(id): Id<KeyId>,
    seen: IfMatch,
    Body(form, _): Body<UpdateForm>,
) -> Answered {
    let mut tx = api.db.begin().await?;
    seen.check(locked(&mut tx, &caller, id).await?.version)?;
    let change = form.into_update();
    let actor = Actor::from(&*caller);
    let Updated { key, signing, revision } =
        update(&mut tx, &api.world, &api.secrets, &actor, caller.bounds(), id, change).await?;
    tx.commit().await?;
    changed(&api, &key, signing.as_ref(), revision).await
}

/// Revoke a key
///
/// Answers once every proxy has acknowledged the revocation or refuses all requests until it has. A key
/// stays revoked; revoking it again changes nothing.
#[utoipa::path(delete, path = "/keys/{id}", operation_id = "keys_revoke", tag = "keys",
    params(("id" = String, Path, description = "The key's id, `key_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read")),
    security(("key" = ["write:keys"])),
    responses((status = 200, description = "The revoked key, and how far that has come", body = Success<KeyChanged>)))]
async fn delete(State(api): State<Api>, caller: Permit<WriteKeys>, Id(id): Id<KeyId>, seen: IfMatch) -> Answered {
    let mut tx = api.db.begin().await?;
    seen.check(locked(&mut tx, &caller, id).await?.version)?;
    let revoked = revoke(&mut tx, &api.world, &Actor::from(&*caller), caller.bounds(), id).await?;
    let (key, revision) = revoked.ok_or_else(ApiError::not_found)?;
    tx.commit().await?;
    changed(&api, &key, None, revision).await
}

/// Rotate a key
///
/// A new secret, shown in this answer only. Older ones stay valid for `overlap` seconds at most, and never
/// longer than they would have been: no rotation lengthens anything. A key that requires signatures gets a new
/// signing secret with it; the older ones stay valid as long as the older secrets.
#[utoipa::path(post, path = "/keys/{id}/rotate", operation_id = "keys_rotate", tag = "keys", params(("id" = String, Path, description = "The key's id, `key_…`")),
    request_body = RotateForm, security(("key" = ["write:keys"])),
    responses((status = 200, description = "The key and its new secret", body = Success<KeyIssued>)))]
async fn rotate_key(
    State(api): State<Api>,
    caller: Permit<WriteKeys>,
    Id(id): Id<KeyId>,
    repeatable: Repeatable,
    Body(form, bytes): Body<RotateForm>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    new_secret(&api, &caller, turn, id, form.overlap.unwrap_or(OVERLAP_DEFAULT)).await
}

/// Regenerate a key
///
/// A rotation without overlap: every older secret stops at once. The answer waits as a revocation's does.
#[utoipa::path(post, path = "/keys/{id}/regenerate", operation_id = "keys_regenerate", tag = "keys",
    params(("id" = String, Path, description = "The key's id, `key_…`")), security(("key" = ["write:keys"])),
    responses((status = 200, description = "The key and its new secret", body = Success<KeyIssued>)))]
async fn regenerate_key(
    State(api): State<Api>,
    caller: Permit<WriteKeys>,
    Id(id): Id<KeyId>,
    repeatable: Repeatable,
    Body(_nothing, bytes): Body<forms::Nothing>,
) -> Answered {
    let turn = repeatable.begin(&api, &caller, &bytes).await?;
    new_secret(&api, &caller, turn, id, 0).await
}

async fn new_secret(api: &Api, caller: &Permit<WriteKeys>, turn: Turn, id: KeyId, overlap_s: u64) -> Answered {
    let (mut tx, ticket) = match turn {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let rotated = rotate(&mut tx, &api.world, &api.secrets, &Actor::from(&**caller), caller.bounds(), id, overlap_s).await?;
    let now_ms = api.world.now_ms();
    let last_use = store::last_use(&mut tx, id).await?;
    let key = KeyView::new(&rotated.key, &rotated.secrets, last_use, now_ms);
    let mut answer = KeyIssued { key, secret: None, signing_secret: None, propagation: None };
    ticket.keep(&mut tx, StatusCode::OK, &answer, now_ms).await?;
    tx.commit().await?;
    let wait = if overlap_s == 0 { Wait::Enforced } else { Wait::Briefly };
    answer.secret = Some(rotated.plain.reveal().to_owned());
    answer.signing_secret = rotated.signing.as_ref().map(SigningSecret::reveal);
    answer.propagation = Some(api.hub.propagated(rotated.revision, wait).await);
    Ok(tagged(Answer::ok(&answer)?.no_store(), rotated.key.version))
}

/// The key, which nobody else changes until this transaction ends.
async fn locked(tx: &mut Tx, caller: &Caller, id: KeyId) -> Result<Key, ApiError> {
    store::lock(tx, caller.bounds(), id).await?.ok_or_else(ApiError::not_found)
}

async fn changed(api: &Api, key: &Key, signing: Option<&SigningSecret>, revision: Revision) -> Answered {
    let propagation: Propagation = api.hub.propagated(revision, Wait::Enforced).await;
    let signing_secret = signing.map(SigningSecret::reveal);
    let answer = Answer::ok(&KeyChanged { key: view(api, key).await?, signing_secret, propagation })?;
    Ok(tagged(answer.no_store(), key.version))
}

async fn view(api: &Api, key: &Key) -> db::Result<KeyView> {
    let now_ms = api.world.now_ms();
    let secrets = store::live_secrets(&api.db, key.id, now_ms).await?;
    Ok(KeyView::new(key, &secrets, store::last_use(&api.db, key.id).await?, now_ms))
}
