//! Making an app, writing its next version, and every step of its way through review and life.

use clearway_config::{AccountId, AppId, AppVersionId};

use super::{
    check,
    content::{Content, Number},
    error::AppError,
    model::{APPS_MAX, App, VERSIONS_MAX, Version, Whole, is_slug, slug_of},
    probe::SUBMITTED,
    state::{Act, Standing, State},
    store,
    update::ContentUpdate,
};
use crate::{
    accounts,
    audit::{self, Actor, Changes, Event},
    catalogue,
    db::{self, Tx},
    events::{
        self, NewEvent, Time,
        app::{AppApproved, AppCreated, AppDeleted, AppPublished, AppRejected, AppSuspended, AppUpdated},
    },
    http::{Caller, Principal},
    world::World,
};

/// What an app is made from.
#[derive(Debug)]
pub struct NewApp {
    pub name: String,
    /// Made from the name where there is none.
    pub slug: Option<String>,
    /// What else is given.
    pub content: ContentUpdate,
}

/// Which app, within what the caller may see, at which version.
#[derive(Debug, Clone, Copy)]
pub struct Which {
    pub bounds: Option<AccountId>,
    pub id: AppId,
    /// The version that the caller has seen.
    pub expected: Option<i64>,
}

/// Makes an app with a first version, both drafts.
pub async fn create(tx: &mut Tx, world: &World, actor: &Actor, account: AccountId, new: NewApp) -> Result<Whole, AppError> {
    // Locks the account, so that two callers cannot both take the last place.
    accounts::lock(tx, account).await?.ok_or(AppError::NotFound)?;
    if store::count(&mut *tx, account).await? >= APPS_MAX {
        return Err(AppError::Full);
    }
    let slug = new.slug.unwrap_or_else(|| slug_of(&new.name));
    if !is_slug(&slug) {
        return Err(AppError::NoSlug);
    }
    let now_ms = world.now_ms();
    let (id, number) = (world.id(AppId::new), new.content.number.unwrap_or(Number::FIRST));
    let content = new.content.apply(Content { name: new.name, ..Content::default() });
    let version = draft(world, id, number, content);
    let app = App {
        id,
        account_id: account,
        slug,
        state: Standing::NEW.app,
        live: None,
        proposal: Some(version.id),
        reason: None,
        version: 1,
        published_at: None,
        created_at: now_ms,
        updated_at: now_ms,
    };
    let taken = |error: db::Error| if error.is_conflict("apps_slug_key") { None } else { Some(error) };
    if let Err(error) = store::insert(tx, &app).await {
        return Err(taken(error).map_or(AppError::SlugTaken(app.slug), AppError::Store));
    }
    store::insert_version(tx, &version).await?;
    let whole = Whole { app, live: None, proposal: Some(version) };
    let changes = Changes::default().field("name", (), whole.name()).field("slug", (), &whole.app.slug);
    note(tx, world, actor, "app.created", &whole.app, changes).await?;
    let event = AppCreated { app: whole.told(), created_at: Time(now_ms) };
    events::emit(tx, world, NewEvent::of(account, &event)).await?;
    Ok(whole)
}

/// Writes the proposal; makes one from the live version where there is none. Nothing happens where nothing differs.
pub async fn edit(tx: &mut Tx, world: &World, actor: &Actor, which: Which, update: ContentUpdate) -> Result<Whole, AppError> {
    let old = seen(tx, which).await?;
    let standing = old.standing().after(Act::Edit)?;
    let before = old.proposal.as_ref().or(old.live.as_ref()).ok_or(AppError::NotFound)?;
    let content = update.clone().apply(before.content.clone());
    let number = update.number.unwrap_or(if old.proposal.is_some() { before.number } else { before.number.next() });
    let changes = content.differences(&before.content);
    let renumbered = old.proposal.is_some() && number != before.number;
    if changes.is_empty() && !renumbered && standing.proposal == old.standing().proposal {
        return Ok(old);
    }
    let version = match &old.proposal {
        Some(proposal) => {
            let edited = Version { number, content, ..proposal.clone() };
            let edited = undecided(Version { state: State::Draft, updated_at: world.now_ms(), ..edited });
            store::save_version(tx, &edited).await.map_err(|error| number_taken(error, number))?;
            edited
        }
        None => {
            if store::count_versions(tx, old.app.id).await? >= VERSIONS_MAX {
                return Err(AppError::TooManyVersions);
            }
            let version = draft(world, old.app.id, number, content);
            store::insert_version(tx, &version).await.map_err(|error| number_taken(error, number))?;
            version
        }
    };
    let app = App { proposal: Some(version.id), ..counted(&old.app, standing.app, world) };
    store::save(tx, &app).await?;
    let whole = Whole { app, proposal: Some(version), live: old.live };
    let changed = changes.names();
    note(tx, world, actor, "app.updated", &whole.app, changes).await?;
    let event = AppUpdated { app: whole.told(), changed };
    events::emit(tx, world, NewEvent::of(whole.app.account_id, &event)).await?;
    Ok(whole)
}

/// Every other act: `reason` is why it is rejected, suspended or removed.
pub async fn step(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    which: Which,
    act: Act,
    reason: Option<String>,
) -> Result<Whole, AppError> {
    let old = seen(tx, which).await?;
    advance(tx, world, actor, old, act, reason).await
}

/// [`step`] of an app that is locked.
pub(super) async fn advance(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    old: Whole,
    act: Act,
    reason: Option<String>,
) -> Result<Whole, AppError> {
    let standing = old.standing().after(act)?;
    let now_ms = world.now_ms();
    let mut new = Whole { app: counted(&old.app, standing.app, world), ..old.clone() };
    if let Some(proposal) = &mut new.proposal {
        // A removed app has no proposal any more, and its last one stays as it was.
        proposal.state = standing.proposal.unwrap_or(proposal.state);
        proposal.updated_at = now_ms;
    }
    match act {
        Act::Submit => {
            if let Some(proposal) = &mut new.proposal {
                *proposal = undecided(proposal.clone());
                proposal.findings = check::look(&proposal.content, proposal.number, old.live.as_ref());
                proposal.submitted_at = Some(now_ms);
                proposal.check_due = Some(now_ms);
                tx.announce(SUBMITTED);
            }
        }
        Act::Withdraw => new.proposal = new.proposal.map(undecided),
        Act::Pass | Act::Fail | Act::Approve | Act::Reject => {
            if let Some(proposal) = &mut new.proposal {
                proposal.check_due = None;
                if act != Act::Pass {
                    proposal.decided_at = Some(now_ms);
                    proposal.decided_by = Some(who(actor));
                    proposal.reason = reason.clone();
                }
            }
        }
        Act::Publish => {
            if let Some(mut published) = new.proposal.take() {
                published.state = State::Active;
                if let Some(mut before) = new.live.replace(published) {
                    before.state = State::Deprecated;
                    before.updated_at = now_ms;
                    store::save_version(tx, &before).await?;
                }
                new.app.published_at = new.app.published_at.or(Some(now_ms));
            }
            new.app.proposal = None;
            new.app.live = new.live.as_ref().map(|version| version.id);
        }
        Act::Suspend | Act::Remove => new.app.reason.clone_from(&reason),
        Act::Resume => new.app.reason = None,
        Act::Edit | Act::Deprecate | Act::Restore => {}
    }
    if standing.proposal.is_none() {
        new.app.proposal = None;
    }
    if let Some(version) = &new.proposal {
        store::save_version(tx, version).await?;
    }
    if let (Act::Publish, Some(version)) = (act, &new.live) {
        store::save_version(tx, version).await?;
    }
    store::save(tx, &new.app).await?;
    show(tx, &new, act, now_ms).await?;
    tell(tx, world, actor, &old, &new, act, reason).await?;
    Ok(new)
}

/// Keeps the catalogue in step.
async fn show(tx: &mut Tx, new: &Whole, act: Act, now_ms: i64) -> db::Result<()> {
    if let (Act::Publish, Some(live)) = (act, &new.live) {
        let entry = catalogue::Entry {
            app_id: new.app.id,
            account_id: new.app.account_id,
            slug: &new.app.slug,
            number: live.number,
            content: &live.content,
            now_ms,
        };
        catalogue::put(tx, &entry).await?;
    }
    if new.live.is_some() {
        catalogue::set_listed(tx, new.app.id, new.app.state == State::Active).await?;
    }
    Ok(())
}

async fn tell(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    old: &Whole,
    new: &Whole,
    act: Act,
    reason: Option<String>,
) -> db::Result<()> {
    let action = match act {
        Act::Edit => "app.updated",
        Act::Submit => "app.submitted",
        Act::Withdraw => "app.withdrawn",
        // Nobody has done anything yet: what the checks found is with the version.
        Act::Pass => return Ok(()),
        Act::Approve => "app.approved",
        Act::Fail | Act::Reject => "app.rejected",
        Act::Publish => "app.published",
        Act::Suspend => "app.suspended",
        Act::Resume => "app.resumed",
        Act::Deprecate => "app.deprecated",
        Act::Restore => "app.restored",
        Act::Remove => "app.removed",
    };
    let of = |whole: &Whole| whole.proposal.as_ref().map(|version| version.state);
    let changes = Changes::default().field("state", old.app.state, new.app.state).field("proposal", of(old), of(new)).field(
        "reason",
        (),
        &reason,
    );
    note(tx, world, actor, action, &new.app, changes).await?;
    let (app, now) = (new.told(), Time(world.now_ms()));
    let number = new.proposal.as_ref().or(new.live.as_ref()).map(|version| version.number.to_string()).unwrap_or_default();
    let reason = reason.unwrap_or_default();
    let account = new.app.account_id;
    let event = match act {
        Act::Approve => NewEvent::of(account, &AppApproved { app, version: number }),
        Act::Fail | Act::Reject => NewEvent::of(account, &AppRejected { app, version: number, reason }),
        Act::Publish => NewEvent::of(account, &AppPublished { app, published_at: now }),
        Act::Suspend => NewEvent::of(account, &AppSuspended { app, reason }),
        Act::Remove => NewEvent::of(account, &AppDeleted { app, deleted_at: now }),
        Act::Resume | Act::Deprecate | Act::Restore => NewEvent::of(account, &AppUpdated { app, changed: vec!["state".into()] }),
        Act::Edit | Act::Submit | Act::Withdraw | Act::Pass => return Ok(()),
    };
    events::emit(tx, world, event).await.map(|_| ())
}

fn draft(world: &World, app: AppId, number: Number, content: Content) -> Version {
    let now_ms = world.now_ms();
    Version {
        id: world.id(AppVersionId::new),
        app_id: app,
        number,
        state: State::Draft,
        content,
        findings: Vec::new(),
        probe: None,
        check_due: None,
        submitted_at: None,
        decided_at: None,
        decided_by: None,
        reason: None,
        created_at: now_ms,
        updated_at: now_ms,
    }
}

/// As if it had never been submitted. A probe that is still there is removed by the next checks.
fn undecided(version: Version) -> Version {
    Version {
        findings: Vec::new(),
        check_due: None,
        submitted_at: None,
        decided_at: None,
        decided_by: None,
        reason: None,
        ..version
    }
}

pub(super) fn counted(app: &App, state: State, world: &World) -> App {
    App { state, version: app.version + 1, updated_at: world.now_ms(), ..app.clone() }
}

/// Who decided, for the version's record.
fn who(actor: &Actor) -> String {
    match actor {
        Actor::Caller(Caller { principal: Principal::Key(id), .. }) => id.to_string(),
        Actor::Caller(Caller { principal: Principal::User { id, .. }, .. }) | Actor::User { id, .. } => id.to_string(),
        Actor::Caller(Caller { principal: Principal::App { client_id, .. }, .. }) => client_id.to_string(),
        Actor::System => "checks".to_owned(),
    }
}

pub(super) async fn seen(tx: &mut Tx, which: Which) -> Result<Whole, AppError> {
    let found = store::lock(tx, which.bounds, which.id).await?.ok_or(AppError::NotFound)?;
    if which.expected.is_some_and(|expected| found.app.version != expected) {
        return Err(AppError::Changed);
    }
    Ok(found)
}

pub(super) async fn note(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    action: &'static str,
    of: &App,
    changes: Changes,
) -> db::Result<()> {
    let object_id = of.id.to_string();
    let event = Event { action, account_id: of.account_id, object_kind: "app", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await
}

fn number_taken(error: db::Error, number: Number) -> AppError {
    if error.is_conflict("app_versions_app_id_number_key") { AppError::NumberTaken(number) } else { error.into() }
}
