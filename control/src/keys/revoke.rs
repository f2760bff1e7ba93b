//! Revoking a key, for good.

use clearway_config::{AccountId, KeyId};

use super::{model::Key, store};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    events::{self, NewEvent, Time, key::KeyRevoked},
    http::time::rfc3339,
    sync::{self, ChangeKind, Revision},
    world::World,
};

/// Revokes the key with all its secrets; `None` when there is no such key. Doing it again changes nothing,
/// but gives a revision to wait for: whoever repeats it wants to know that it has come everywhere.
pub async fn revoke(
    tx: &mut Tx,
    world: &World,
    actor: &Actor,
    bounds: Option<AccountId>,
    id: KeyId,
) -> db::Result<Option<(Key, Revision)>> {
    let now_ms = world.now_ms();
    let Some(mut key) = store::lock(tx, bounds, id).await? else { return Ok(None) };
    let object_id = id.to_string();
    if key.revoked_at.is_none() {
        key.revoked_at = Some(now_ms);
        key.version += 1;
        store::save(tx, &key).await?;
        let changes = Changes::default().field("revoked_at", (), rfc3339(now_ms));
        let event =
            Event { action: "key.revoked", account_id: key.account_id, object_kind: "key", object_id: &object_id, changes };
        audit::record(tx, world, actor, event).await?;
        let revoked = KeyRevoked { key: (&key).into(), revoked_at: Time(now_ms) };
        events::emit(tx, world, NewEvent::of(key.account_id, &revoked)).await?;
    }
    let revision = sync::record(tx, ChangeKind::Key, &object_id, now_ms).await?;
    Ok(Some((key, revision)))
}
