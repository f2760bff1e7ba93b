//! Deleting one object.

use clearway_config::settings::gateway::ObjectKind;

use super::{RouteError, check, put::note, store};
use crate::{db::Tx, http::Caller, sync::Revision, world::World};

/// Deletes an object that no other names; `expected` is the version that the caller has seen.
pub(super) async fn remove(
    tx: &mut Tx,
    world: &World,
    caller: &Caller,
    (kind, name): (ObjectKind, &str),
    expected: Option<i64>,
) -> Result<Revision, RouteError> {
    store::lock(tx).await?;
    let old = store::find(&mut *tx, kind, name).await?.ok_or(RouteError::NotFound)?;
    if expected.is_some_and(|expected| old.version != expected) {
        return Err(RouteError::Changed);
    }
    let by = store::referrers(tx, kind, name).await?;
    if !by.is_empty() {
        return Err(RouteError::InUse(by));
    }
    check::without(tx, kind, name).await?;
    store::delete(tx, kind, name).await?;
    note(tx, world, caller, "gateway.deleted", Some(&old), None).await
}
