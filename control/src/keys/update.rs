//! Changing what a key may do. The only way to change its expiry.

use clearway_config::{AccountId, ErrorCode, KeyId, Limits, Scope, Scopes};
use ipnet::IpNet;

use super::{
    issue::grants,
    model::{Key, Status},
    signing::SigningSecret,
    store,
    view::LimitsView,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    events::{self, NewEvent, key::KeyUpdated},
    http::{ApiError, time::rfc3339},
    secrets::Secrets,
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct KeyUpdate {
    pub name: Option<String>,
    pub scopes: Option<Scopes>,
    pub allowed: Option<Vec<IpNet>>,
    pub limits: Option<LimitsUpdate>,
    /// Turned on, every live secret gets a new signing secret, the same for all of them; turned off, none has one.
    pub require_signature: Option<bool>,
    /// `Some(None)` is never.
    pub expires_at: Option<Option<i64>>,
}

/// `Some(None)` removes a limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct LimitsUpdate {
    pub per_second: Option<Option<u32>>,
    pub per_day: Option<Option<u64>>,
    pub per_month: Option<Option<u64>>,
    pub concurrent: Option<Option<u32>>,
}

impl LimitsUpdate {
    /// Removes every limit.
    pub const CLEAR: Self = Self { per_second: Some(None), per_day: Some(None), per_month: Some(None), concurrent: Some(None) };

    pub fn apply(self, limits: Limits) -> Limits {
        Limits {
            per_second: self.per_second.unwrap_or(limits.per_second),
            per_day: self.per_day.unwrap_or(limits.per_day),
            per_month: self.per_month.unwrap_or(limits.per_month),
            concurrent: self.concurrent.unwrap_or(limits.concurrent),
            overage: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("no such key")]
    NotFound,
    #[error("the key has been revoked")]
    Revoked,
    #[error("the key would no longer be taken by the API that it is used on")]
    OwnSignature,
    #[error("the one who updates lacks a scope")]
    ScopeMissing(Scope),
    #[error("the update could not be stored")]
    Store(#[from] db::Error),
}

/// A key as an update has left it.
#[derive(Debug)]
pub struct Updated {
    pub key: Key,
    /// Shown once, where the update has made one.
    pub signing: Option<SigningSecret>,
    pub revision: Revision,
}

/// Changes the given fields; what it changed is in the audit log. The revision is there even when nothing changed.
pub async fn update(
    tx: &mut Tx,
    world: &World,
    secrets: &Secrets,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: KeyId,
    update: KeyUpdate,
) -> Result<Updated, UpdateError> {
    let now_ms = world.now_ms();
    let old = store::lock(tx, bounds, id).await?.ok_or(UpdateError::NotFound)?;
    if old.status(now_ms) == Status::Revoked {
        return Err(UpdateError::Revoked);
    }
    if let Some(scopes) = &update.scopes {
        // A scope that the key has already is not being given to it.
        let added = scopes.iter().filter(|scope| !old.scopes.contains(scope.as_str())).cloned().collect();
        grants(actor, &added).map_err(UpdateError::ScopeMissing)?;
    }
    let new = Key {
        name: update.name.unwrap_or_else(|| old.name.clone()),
        scopes: update.scopes.unwrap_or_else(|| old.scopes.clone()),
        allowed: update.allowed.unwrap_or_else(|| old.allowed.clone()),
        limits: update.limits.map_or(old.limits, |change| change.apply(old.limits)),
        require_signature: update.require_signature.unwrap_or(old.require_signature),
        expires_at: update.expires_at.unwrap_or(old.expires_at),
        ..old.clone()
    };
    if new.require_signature && matches!(actor, Actor::Caller(caller) if caller.key_id() == Some(id)) {
        return Err(UpdateError::OwnSignature);
    }
    let signing = sign(tx, secrets, world, &old, &new).await?;
    let object_id = id.to_string();
    let changes = changes(&old, &new);
    let new = Key { version: old.version + i64::from(!changes.is_empty()), ..new };
    if !changes.is_empty() {
        store::save(tx, &new).await?;
        let changed = changes.names();
        let event =
            Event { action: "key.updated", account_id: new.account_id, object_kind: "key", object_id: &object_id, changes };
        audit::record(tx, world, actor, event).await?;
        events::emit(tx, world, NewEvent::of(new.account_id, &KeyUpdated { key: (&new).into(), changed })).await?;
    }
    let revision = sync::record(tx, ChangeKind::Key, &object_id, now_ms).await?;
    Ok(Updated { key: new, signing, revision })
}

/// Gives the live secrets what they sign by, or takes it from all.
async fn sign(tx: &mut Tx, secrets: &Secrets, world: &World, old: &Key, new: &Key) -> db::Result<Option<SigningSecret>> {
    if old.require_signature == new.require_signature {
        return Ok(None);
    }
    if !new.require_signature {
        store::forget_signing_secrets(tx, new.id).await?;
        return Ok(None);
    }
    let signing = SigningSecret::mint(world);
    for secret in store::live_secrets(&mut *tx, new.id, world.now_ms()).await? {
        store::set_signing_secret(tx, &secret, signing.sealed(secrets, secret.id)).await?;
    }
    Ok(Some(signing))
}

fn changes(old: &Key, new: &Key) -> Changes {
    Changes::default()
        .field("name", &old.name, &new.name)
        .field("scopes", &old.scopes, &new.scopes)
        .field("allowed_addresses", &old.allowed, &new.allowed)
        .field("limits", LimitsView::from(old.limits), LimitsView::from(new.limits))
        .field("require_signature", old.require_signature, new.require_signature)
        .field("expires_at", old.expires_at.map(rfc3339), new.expires_at.map(rfc3339))
}

impl From<UpdateError> for ApiError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::NotFound => ApiError::not_found(),
            UpdateError::Revoked => ApiError::saying(ErrorCode::Conflict, "The key has been revoked; create another."),
            UpdateError::OwnSignature => ApiError::saying(
                ErrorCode::Conflict,
                "A key that requires signatures cannot be used on this API; have another key turn it on.",
            ),
            UpdateError::ScopeMissing(scope) => ApiError::scope_missing(&scope),
            UpdateError::Store(error) => error.into(),
        }
    }
}
