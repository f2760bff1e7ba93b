//! Installing, changing what is granted, tying what is the app's own, and uninstalling.

use clearway_config::{AccountId, AppId, ErrorCode, InstallationId, Scope, Scopes};

use super::{
    ends,
    model::{GrantFault, Installation, Tied, granted},
    store,
};
use crate::{
    audit::{self, Actor, Changes, Event},
    catalogue::{self, Day},
    db::{self, Tx},
    events::{
        self, App, NewEvent, Time,
        app::{AppInstalled, AppUninstalled},
    },
    http::{ApiError, Caller, Principal, issue},
    keys,
    sync::Revision,
    webhooks::{self, WebhookError},
    world::World,
};

#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("no such app or installation")]
    NotFound,
    #[error("the app is not offered")]
    NotOffered,
    #[error("the account has the app already")]
    Already,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error(transparent)]
    Grant(#[from] GrantFault),
    #[error("who installs it lacks {0}")]
    Lacking(Scope),
    #[error("it is tied to another installation")]
    Tied,
    #[error("the key may do what is not granted: {0}")]
    TooMuch(Scope),
    #[error("what belongs to it could not be ended")]
    End(#[source] WebhookError),
    #[error("the installation could not be stored")]
    Store(#[from] db::Error),
}

/// Installs a published app into the caller's account.
pub async fn install(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    app: AppId,
    chosen: Option<Scopes>,
) -> Result<Installation, InstallError> {
    let listing = catalogue::lock(tx, app).await?.ok_or(InstallError::NotFound)?;
    if !listing.listed {
        return Err(InstallError::NotOffered);
    }
    let scopes = granted(&listing.details.permissions, chosen)?;
    may_grant(caller, &scopes)?;
    let now_ms = world.now_ms();
    let installation = Installation {
        id: world.id(InstallationId::new),
        app_id: app,
        app_slug: listing.slug,
        app_name: listing.name,
        account_id: caller.account_id,
        scopes,
        app_version: listing.details.number,
        installed_by: match caller.principal {
            Principal::Key(id) => id.to_string(),
            Principal::User { id, .. } => id.to_string(),
            Principal::App { client_id, .. } => client_id.to_string(),
        },
        version: 1,
        installed_at: now_ms,
        updated_at: now_ms,
        uninstalled_at: None,
    };
    if store::is_installed(tx, app, caller.account_id).await? {
        return Err(InstallError::Already);
    }
    store::insert(tx, &installation).await?;
    catalogue::installed(tx, app, 1).await?;
    catalogue::note(tx, app, now_ms, Day { installs: 1, ..Day::default() }).await?;
    let actor = Actor::from(caller);
    let changes = Changes::default().field("app", (), &installation.app_slug).field("scopes", (), &installation.scopes);
    note(tx, world, &actor, "app.installed", &installation, changes).await?;
    let event = AppInstalled {
        app: told(&installation),
        installation_id: installation.id.to_string(),
        account_id: installation.account_id.to_string(),
        user_id: actor.person().map(|id| id.to_string()),
        scopes: installation.scopes.iter().map(ToString::to_string).collect(),
        installed_at: Time(now_ms),
    };
    let whom = whom(installation.account_id, listing.account_id);
    events::emit_all(tx, world, &whom.map(|account| NewEvent::of(account, &event)).collect::<Vec<_>>()).await?;
    Ok(installation)
}

/// Grants other scopes: by the permissions of the version that is live now. Keys that may do more are revoked.
pub async fn change(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    id: InstallationId,
    chosen: Scopes,
    expected: Option<i64>,
) -> Result<(Installation, Option<Revision>), InstallError> {
    let (old, listing) = seen(tx, caller.bounds(), id, expected).await?;
    let scopes = granted(&listing.details.permissions, Some(chosen))?;
    may_grant(caller, &scopes)?;
    let app_version = listing.details.number;
    if scopes == old.scopes && app_version == old.app_version {
        return Ok((old, None));
    }
    let held = ends::lock(tx, &old).await?;
    let new = Installation { scopes, app_version, version: old.version + 1, updated_at: world.now_ms(), ..old.clone() };
    store::save(tx, &new).await?;
    let actor = Actor::from(caller);
    let changes = Changes::default().field("scopes", &old.scopes, &new.scopes);
    note(tx, world, &actor, "installation.updated", &new, changes).await?;
    let revision = ends::narrow(tx, world, &actor, held, &new.scopes).await.map_err(InstallError::End)?;
    Ok((new, revision))
}

/// Ties a key or a webhook of the account to the installation: it ends with it. A key may do no more than is granted.
pub async fn tie(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    id: InstallationId,
    object: Tied,
) -> Result<Installation, InstallError> {
    let (installation, _) = seen(tx, caller.bounds(), id, None).await?;
    let account = Some(installation.account_id);
    match object {
        Tied::Key(key) => {
            let key = keys::lock(tx, account, key).await?.ok_or(InstallError::NotFound)?;
            if let Some(scope) = installation.scopes.missing(&key.scopes) {
                return Err(InstallError::TooMuch(scope.clone()));
            }
        }
        Tied::Webhook(webhook) => drop(webhooks::lock(tx, account, webhook).await?.ok_or(InstallError::NotFound)?),
    }
    match store::tied_to(tx, object).await? {
        Some(of) if of == id.to_string() => return Ok(installation),
        Some(_) => return Err(InstallError::Tied),
        None => store::insert_tied(tx, id, object, world.now_ms()).await?,
    }
    let changes = Changes::default().field(object.kind(), (), object.id());
    note(tx, world, &Actor::from(caller), "installation.updated", &installation, changes).await?;
    Ok(installation)
}

/// Takes the app out of the account, with everything that it holds of it.
pub async fn uninstall(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    id: InstallationId,
    expected: Option<i64>,
) -> Result<(Installation, Option<Revision>), InstallError> {
    let (old, listing) = seen(tx, caller.bounds(), id, expected).await?;
    let held = ends::lock(tx, &old).await?;
    let now_ms = world.now_ms();
    let new = Installation { version: old.version + 1, updated_at: now_ms, uninstalled_at: Some(now_ms), ..old };
    store::save(tx, &new).await?;
    catalogue::installed(tx, new.app_id, -1).await?;
    catalogue::note(tx, new.app_id, now_ms, Day { uninstalls: 1, ..Day::default() }).await?;
    let actor = Actor::from(caller);
    note(tx, world, &actor, "app.uninstalled", &new, Changes::default().field("app", &new.app_slug, ())).await?;
    let event = AppUninstalled {
        app: told(&new),
        installation_id: new.id.to_string(),
        account_id: new.account_id.to_string(),
        user_id: actor.person().map(|id| id.to_string()),
        uninstalled_at: Time(now_ms),
    };
    let whom = whom(new.account_id, listing.account_id);
    events::emit_all(tx, world, &whom.map(|account| NewEvent::of(account, &event)).collect::<Vec<_>>()).await?;
    let revision = ends::end(tx, world, &actor, &held).await.map_err(InstallError::End)?;
    Ok((new, revision))
}

/// The installation, locked after its listing, if it is there and at the version that was expected.
async fn seen(
    tx: &mut Tx,
    bounds: Option<AccountId>,
    id: InstallationId,
    expected: Option<i64>,
) -> Result<(Installation, catalogue::Listing), InstallError> {
    let found = store::find(&mut *tx, bounds, id).await?.ok_or(InstallError::NotFound)?;
    let listing = catalogue::lock(tx, found.app_id).await?.ok_or(InstallError::NotFound)?;
    let found = store::lock(tx, id).await?.filter(|one| one.uninstalled_at.is_none()).ok_or(InstallError::NotFound)?;
    if expected.is_some_and(|expected| found.version != expected) {
        return Err(InstallError::Changed);
    }
    Ok((found, listing))
}

/// Nobody lets an app do what they may not do themselves.
fn may_grant(caller: &Caller, scopes: &Scopes) -> Result<(), InstallError> {
    caller.scopes.missing(scopes).map_or(Ok(()), |scope| Err(InstallError::Lacking(scope.clone())))
}

/// Who is told: the account, and the developer where that is another.
fn whom(account: AccountId, developer: AccountId) -> impl Iterator<Item = AccountId> {
    std::iter::once(account).chain((developer != account).then_some(developer))
}

fn told(installation: &Installation) -> App {
    App { app_id: installation.app_id.to_string(), app_name: installation.app_name.clone() }
}

async fn note(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    action: &'static str,
    of: &Installation,
    changes: Changes,
) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "installation", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}

impl From<InstallError> for ApiError {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::NotFound => ApiError::not_found(),
            InstallError::NotOffered => ApiError::saying(ErrorCode::Conflict, "The app is not offered at present."),
            InstallError::Already => ApiError::saying(ErrorCode::Conflict, "The account has this app already."),
            InstallError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            InstallError::Grant(fault) => ApiError::invalid(&[issue("scopes", "out_of_bounds", fault.to_string())]),
            InstallError::Lacking(scope) => ApiError::scope_missing(&scope),
            InstallError::Tied => ApiError::saying(ErrorCode::Conflict, "It belongs to another installation."),
            InstallError::TooMuch(scope) => {
                ApiError::saying(ErrorCode::Conflict, format!("The key has {scope}, which is not granted to the app."))
            }
            InstallError::End(error) => error.into(),
            InstallError::Store(error) => error.into(),
        }
    }
}
