//! Storing one object, new or changed.

use clearway_config::settings::gateway::Object;

use super::{RouteError, Stored, check, store};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::Tx,
    http::Caller,
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// What a put came to.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) stored: Stored,
    pub(super) created: bool,
    /// `None` where it was like that already.
    pub(super) revision: Option<Revision>,
}

/// Stores `object` after checking it; `expected` is the version that the caller has seen.
pub(super) async fn put(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    object: Object,
    expected: Option<i64>,
) -> Result<Put, RouteError> {
    store::lock(tx).await?;
    let old = store::find(&mut *tx, object.kind, &object.name).await?;
    if expected.is_some_and(|expected| old.as_ref().map_or(0, |old| old.version) != expected) {
        return Err(RouteError::Changed);
    }
    if old.is_none() {
        check::room(tx, object.kind).await?;
    }
    let links = check::one(tx, &object).await?;
    if let Some(old) = old.as_ref().filter(|old| old.object == object) {
        return Ok(Put { stored: old.clone(), created: false, revision: None });
    }
    let (stored, revision) = write(tx, world, caller, old.as_ref(), object, &links).await?;
    check::arrangements(tx, &links).await?;
    Ok(Put { stored, created: old.is_none(), revision: Some(revision) })
}

/// Stores an object that was checked.
pub(super) async fn write(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    old: Option<&Stored>,
    object: Object,
    links: &check::Links,
) -> Result<(Stored, Revision), RouteError> {
    let now_ms = world.now_ms();
    let stored = Stored {
        version: old.map_or(1, |old| old.version + 1),
        created_at: old.map_or(now_ms, |old| old.created_at),
        updated_at: now_ms,
        object,
    };
    store::put(tx, &stored).await?;
    check::keep(tx, &stored, links).await?;
    let action = if old.is_some() { "gateway.updated" } else { "gateway.created" };
    let revision = note(tx, world, caller, action, old, Some(&stored)).await?;
    Ok((stored, revision))
}

/// The audit entry and the revision.
pub(super) async fn note(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    action: &'static str,
    old: Option<&Stored>,
    new: Option<&Stored>,
) -> Result<Revision, RouteError> {
    let Some(named) = new.or(old) else { return Err(RouteError::NotFound) };
    let id = super::id(named.object.kind, &named.object.name);
    let changes = Changes::default().field("spec", old.map(|o| &o.object.spec), new.map(|n| &n.object.spec));
    let event = Event { action, account_id: caller.account_id, object_kind: named.object.kind.as_str(), object_id: &id, changes };
    audit::record(tx, world, &Actor::from(caller), event).await?;
    Ok(sync::record(tx, ChangeKind::GatewayObject, &id, world.now_ms()).await?)
}
