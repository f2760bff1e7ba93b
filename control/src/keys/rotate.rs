//! Rotating a key: a new secret, while those there are end after an overlap.

use clearway_config::{AccountId, ErrorCode, KeyId, PlainKey, Scope};

use super::{
    issue::{Minted, grants, mint},
    model::{Key, LIVE_SECRETS_MAX, Secret, Status},
    signing::SigningSecret,
    store,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    events::{self, NewEvent, key::KeyRotated},
    http::ApiError,
    secrets::Secrets,
    sync::{self, ChangeKind, Revision},
    world::World,
};

#[derive(Debug)]
pub struct Rotated {
    pub key: Key,
    /// Those that are accepted, newest first.
    pub secrets: Vec<Secret>,
    pub plain: PlainKey,
    /// Where the key requires signatures. Those before it overlap as the older secrets do, each with its own.
    pub signing: Option<SigningSecret>,
    pub revision: Revision,
}

#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("no such key")]
    NotFound,
    #[error("the key is {0:?}")]
    NotActive(Status),
    #[error("the one who rotates lacks a scope of the key")]
    ScopeMissing(Scope),
    #[error("the key has {LIVE_SECRETS_MAX} live secrets")]
    TooManySecrets,
    #[error("the rotation could not be stored")]
    Store(#[from] db::Error),
}

/// Gives the key a new secret that lives as long as the key. Every older one ends `overlap_s` from now, or
/// when it would have ended anyway. Id, scopes, limits and expiry stay.
pub async fn rotate(
    tx: &mut Tx,
    world: &World,
    secrets: &Secrets,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: KeyId,
    overlap_s: u64,
) -> Result<Rotated, RotateError> {
    let now_ms = world.now_ms();
    let key = store::lock(tx, bounds, id).await?.ok_or(RotateError::NotFound)?;
    match key.status(now_ms) {
        Status::Active => {}
        status @ (Status::Expired | Status::Revoked) => return Err(RotateError::NotActive(status)),
    }
    // Whoever sees the new secret holds what it carries.
    grants(actor, &key.scopes).map_err(RotateError::ScopeMissing)?;
    let live = store::live_secrets(&mut *tx, id, now_ms).await?;
    if overlap_s > 0 && live.len() >= LIVE_SECRETS_MAX {
        return Err(RotateError::TooManySecrets);
    }
    let before = live.first().map(|secret| secret.shown.clone());
    let Minted { plain, secret, signing } = mint(world, secrets, &key);
    let mut secrets = vec![secret];
    for old in live {
        let old = old.superseded(&key, overlap_s, now_ms);
        store::end_secret(tx, &old).await?;
        secrets.push(old);
    }
    store::insert_secret(tx, &secrets[0]).await?;
    let changes = Changes::default().field("secret", before, &secrets[0].shown).field("overlap_seconds", (), overlap_s);
    let object_id = id.to_string();
    let event = Event { action: "key.rotated", account_id: key.account_id, object_kind: "key", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await?;
    let rotated = KeyRotated { key: (&key).into(), secret_shown: secrets[0].shown.clone(), overlap_seconds: overlap_s };
    events::emit(tx, world, NewEvent::of(key.account_id, &rotated)).await?;
    let revision = sync::record(tx, ChangeKind::Key, &object_id, now_ms).await?;
    Ok(Rotated { key, secrets, plain, signing, revision })
}

impl From<RotateError> for ApiError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::NotFound => ApiError::not_found(),
            RotateError::NotActive(Status::Expired) => {
                ApiError::saying(ErrorCode::Conflict, "The key has expired; give it a later expiry first.")
            }
            RotateError::NotActive(Status::Revoked | Status::Active) => {
                ApiError::saying(ErrorCode::Conflict, "The key has been revoked; create another.")
            }
            RotateError::ScopeMissing(scope) => ApiError::scope_missing(&scope),
            RotateError::TooManySecrets => ApiError::saying(
                ErrorCode::Conflict,
                format!("The key has {LIVE_SECRETS_MAX} secrets that still overlap; wait for one to end, or regenerate."),
            ),
            RotateError::Store(error) => error.into(),
        }
    }
}
