//! Issuing a key.

use clearway_config::{AccountId, ErrorCode, KeyId, PlainKey, Scope, SecretId};

use super::{
    model::{Key, NewKey, Secret},
    store,
    view::LimitsView,
};
use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::ApiError,
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// A new key and the one sight of its secret.
#[derive(Debug)]
pub struct Issued {
    pub key: Key,
    pub secret: Secret,
    pub plain: PlainKey,
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
pub async fn issue(tx: &mut Tx, world: &World, actor: &Actor, account: AccountId, new: NewKey) -> Result<Issued, IssueError> {
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
        created_at: now_ms,
        expires_at: new.expires_at,
        revoked_at: None,
    };
    store::insert(tx, &key).await?;
    let (plain, secret) = mint(world, &key);
    store::insert_secret(tx, &secret).await?;
    let changes = described(&key).field("secret", (), &secret.shown);
    let id = key.id.to_string();
    let event = Event { action: "key.created", account_id: key.account_id, object_kind: "key", object_id: &id, changes };
    audit::record(tx, world, actor, event).await?;
    let revision = sync::record(tx, ChangeKind::Key, &id, now_ms).await?;
    Ok(Issued { key, secret, plain, revision })
}

/// A fresh secret for a key.
pub(super) fn mint(world: &World, key: &Key) -> (PlainKey, Secret) {
    let plain = PlainKey::mint(key.environment, world.random());
    let secret = Secret {
        id: world.id(SecretId::new),
        key_id: key.id,
        hash: plain.hash(),
        shown: plain.shown().to_owned(),
        created_at: world.now_ms(),
        expires_at: None,
        revoked_at: None,
    };
    (plain, secret)
}

/// A key gets no scope, and shows no secret that carries one, which the one who asks lacks.
pub(super) fn grants(actor: &Actor, scopes: &clearway_config::Scopes) -> Result<(), Scope> {
    match actor {
        Actor::Key(caller) => caller.scopes.missing(scopes).map_or(Ok(()), |missing| Err(missing.clone())),
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
