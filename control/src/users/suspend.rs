//! Suspending a person: whatever they have begun ends at once, and what they have let applications do. Accounts and their keys go on: those are suspended by
//! themselves.

use clearway_config::{ErrorCode, UserId};

use super::{User, store};
use crate::{
    audit::{self, Actor, Changes, Event},
    auth,
    db::Tx,
    http::{ApiError, time::rfc3339},
    oauth, sessions,
    sync::Revision,
    world::World,
};

/// Suspends or resumes; doing it again changes nothing. Nobody suspends themselves. With a revision where proxies have to be
/// told.
pub(super) async fn set_suspended(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    id: UserId,
    suspended: bool,
    reason: Option<String>,
) -> Result<(User, Option<Revision>), ApiError> {
    if actor.person() == Some(id) {
        return Err(ApiError::saying(ErrorCode::Conflict, "Nobody suspends themselves."));
    }
    let old = store::lock(tx, id).await?.ok_or_else(ApiError::not_found)?;
    if old.erased_at.is_some() {
        return Err(ApiError::saying(ErrorCode::Conflict, "The person was erased."));
    }
    let now_ms = world.now_ms();
    let suspended_at = suspended.then(|| old.suspended_at.unwrap_or(now_ms));
    if suspended_at == old.suspended_at {
        return Ok((old, None));
    }
    store::set_suspended(tx, id, suspended_at).await?;
    if suspended {
        auth::forget_tokens(tx, id).await?;
        sessions::end_all(tx, id, None, now_ms).await?;
        sessions::end_impersonations(tx, id, now_ms).await?;
    }
    let object_id = id.to_string();
    let mut changes = Changes::default().field("suspended_at", old.suspended_at.map(rfc3339), suspended_at.map(rfc3339));
    if let Some(reason) = reason {
        changes = changes.field("reason", (), reason);
    }
    let action = if suspended { "user.suspended" } else { "user.resumed" };
    let event = Event { action, account_id: old.account_id, object_kind: "user", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await?;
    let revision = if suspended { oauth::end_of_person(tx, world, actor, id, None).await?.revision } else { None };
    Ok((User { suspended_at, ..old }, revision))
}
