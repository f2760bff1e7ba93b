//! The first start: the platform's account, its owner and an admin key.

use argon2::password_hash::Error as HashError;
use clearway_config::{Environment, Limits, PlainKey, Scope, Scopes, UserId, scope::ADMIN};

use super::{model::NewUser, store};
use crate::{
    accounts::{self, AccountError},
    audit::{self, Actor, Changes, Event},
    db::{self, Db},
    http::{chain, hex},
    keys::{self, IssueError, NewKey, RotateError},
    members::{self, Role},
    passwords,
    secrets::Secrets,
    world::World,
};

/// What the first start shows, once: it is stored nowhere.
#[derive(Debug)]
pub struct FirstAdmin {
    pub email: String,
    /// `None` on any start but the first.
    pub password: Option<String>,
    pub key: PlainKey,
}

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("the platform's account cannot be opened")]
    Account(#[from] AccountError),
    #[error("the admin's key cannot be issued")]
    Key(#[from] IssueError),
    #[error("the admin's key cannot be rotated")]
    Rotation(#[from] RotateError),
    #[error("the admin's password cannot be hashed: {0}")]
    Password(HashError),
    #[error("the first admin cannot be stored")]
    Store(#[from] db::Error),
}

/// Makes the first admin, unless there is a user already. All or nothing: a start that is broken off is
/// the first start again. Several processes may start at once on one database: one of them makes it.
pub async fn bootstrap(
    db: &Db,
    world: &World,
    secrets: &Secrets,
    email: &str,
    plan: &str,
) -> Result<Option<FirstAdmin>, BootstrapError> {
    if store::any(db).await? {
        return Ok(None);
    }
    let password = hex(&world.random()[..16]);
    let salt = world.random()[..16].try_into().expect("16 of 32 bytes");
    let password_hash = passwords::hash(&salt, &password).map_err(BootstrapError::Password)?;
    let mut tx = db.begin().await?;
    if store::any(&mut tx).await? {
        return Ok(None);
    }
    let now_ms = world.now_ms();
    let (account, _) = accounts::open(&mut tx, world, &Actor::System, "platform".into(), plan.to_owned()).await?;
    let user = world.id(UserId::new);
    let new = NewUser { id: user, account: account.id, email, name: "", password_hash, now_ms };
    match store::insert(&mut tx, &new).await {
        // Another process was first, with the same settings.
        Err(error) if error.is_conflict("users_email_key") => return Ok(None),
        other => other?,
    }
    members::join(&mut tx, account.id, user, Role::Owner, now_ms).await?;
    accounts::mark_platform(&mut tx, account.id).await?;
    let object_id = user.to_string();
    let changes = Changes::default().field("role", (), "owner");
    let event = Event { action: "user.created", account_id: account.id, object_kind: "user", object_id: &object_id, changes };
    audit::record(&mut tx, world, &Actor::System, event).await?;
    let admin: Scope = ADMIN.parse().expect("the admin's scope is well formed");
    let new = NewKey {
        name: "admin".into(),
        environment: Environment::Live,
        scopes: Scopes::from(vec![admin]),
        allowed: Vec::new(),
        limits: Limits::UNLIMITED,
        require_signature: false,
        expires_at: None,
    };
    let issued = keys::issue(&mut tx, world, secrets, &Actor::System, account.id, new).await?;
    tx.commit().await?;
    tracing::info!(account.id = %account.id, user.id = %user, key.id = %issued.key.id, "first admin made");
    Ok(Some(FirstAdmin { email: email.to_owned(), password: Some(password), key: issued.plain }))
}

impl BootstrapError {
    /// In one line.
    pub fn line(&self) -> String {
        chain(self)
    }
}
