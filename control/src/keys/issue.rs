//! Issuing a key.

use clearway_config::{AccountId, ErrorCode, KeyId, PlainKey, Scope, SecretId};

use super::{
    model::{Key, NewKey, Secret},
    signing::SigningSecret,
    store,
    view::LimitsView,
};
use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    events::{self, NewEvent, key::KeyCreated},
    http::ApiError,
    secrets::Secrets,
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// A new key and the one sight of its secret.
#[derive(Debug)]
pub struct Issued {
    pub key: Key,
    pub secret: Secret,
    pub plain: PlainKey,
    /// Where the key requires signatures.
    pub signing: Option<SigningSecret>,
    pub revision: Revision,
}

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("no such account")]
    AccountNotFound,
    #[error("the maker lacks a scope")]
    ScopeMissing(Scope),
    #[error("the plan allows {keys_max} keys")]
    PlanLimit { keys_max: i64 },
    #[error("the key could not be stored")]
    Store(#[from] db::Error),
}

/// Issues a key for `account`. The plaintext is in the answer and nowhere else.
pub async fn issue(
    tx: &mut Tx,
    world: &World,
    secrets: &Secrets,
    actor: &Actor,
    account: AccountId,
    new: NewKey,
) -> Result<Issued, IssueError> {
    grants(actor, &new.scopes).map_err(IssueError::ScopeMissing)?;
    // Locks the account, so that two callers cannot both take the plan's last key.
    let account = accounts::lock(tx, account).await?.ok_or(IssueError::AccountNotFound)?;
    let now_ms = world.now_ms();
    if let Some(keys_max) = account.keys_max
        && store::count_active(tx, account.id, now_ms).await? >= keys_max
    {
        return Err(IssueError::PlanLimit { keys_max });
    }
    let key = Key {
        id: world.id(KeyId::new),
        account_id: account.id,
        name: new.name,
        environment: new.environment,
        scopes: new.scopes,
        allowed: new.allowed,
        limits: new.limits,
        require_signature: new.require_signature,
        created_at: now_ms,
        expires_at: new.expires_at,
        revoked_at: None,
        version: 1,
    };
    store::insert(tx, &key).await?;
    let Minted { plain, secret, signing } = mint(world, secrets, &key);
    store::insert_secret(tx, &secret).await?;
    let changes = described(&key).field("secret", (), &secret.shown);
    let id = key.id.to_string();
    let event = Event { action: "key.created", account_id: key.account_id, object_kind: "key", object_id: &id, changes };
    audit::record(tx, world, actor, event).await?;
    let created = KeyCreated { key: (&key).into(), secret_shown: secret.shown.clone() };
    events::emit(tx, world, NewEvent::of(key.account_id, &created)).await?;
    let revision = sync::record(tx, ChangeKind::Key, &id, now_ms).await?;
    Ok(Issued { key, secret, plain, signing, revision })
}

/// A fresh secret, and the one sight of it.
pub(super) struct Minted {
    pub(super) plain: PlainKey,
    pub(super) secret: Secret,
    pub(super) signing: Option<SigningSecret>,
}

/// A fresh secret for a key, with one to sign by where the key requires signatures.
pub(super) fn mint(world: &World, secrets: &Secrets, key: &Key) -> Minted {
    let plain = PlainKey::mint(key.environment, world.random());
    let id = world.id(SecretId::new);
    let signing = key.require_signature.then(|| SigningSecret::mint(world));
    let secret = Secret {
        id,
        key_id: key.id,
        hash: plain.hash(),
        shown: plain.shown().to_owned(),
        signing_secret: signing.as_ref().map(|signing| signing.sealed(secrets, id)),
        created_at: world.now_ms(),
        expires_at: None,
        revoked_at: None,
    };
    Minted { plain, secret, signing }
}

/// A key gets no scope, and shows no secret that carries one, which the one who asks lacks.
pub(super) fn grants(actor: &Actor, scopes: &clearway_config::Scopes) -> Result<(), Scope> {
    match actor {
        Actor::Caller(caller) => caller.scopes.missing(scopes).map_or(Ok(()), |missing| Err(missing.clone())),
        Actor::User { .. } | Actor::System => Ok(()),
    }
}

fn described(key: &Key) -> Changes {
    let none = serde_json::Value::Null;
    Changes::default()
        .field("name", &none, &key.name)
        .field("environment", &none, key.environment)
        .field("scopes", &none, &key.scopes)
        .field("allowed_addresses", &none, &key.allowed)
        .field("limits", &none, LimitsView::from(key.limits))
        .field("require_signature", false, key.require_signature)
        .field("expires_at", &none, key.expires_at.map(crate::http::time::rfc3339))
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::AccountNotFound => ApiError::not_found(),
            IssueError::ScopeMissing(scope) => ApiError::scope_missing(&scope),
            IssueError::PlanLimit { keys_max } => {
                let message = format!("The account's plan allows {keys_max} keys; revoke one, or change the plan.");
                ApiError::saying(ErrorCode::PlanLimitReached, message).with_details(serde_json::json!({ "keys_max": keys_max }))
            }
            IssueError::Store(error) => error.into(),
        }
    }
}
