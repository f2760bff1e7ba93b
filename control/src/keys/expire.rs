//! Telling accounts that keys of theirs have expired. Nothing else happens then: a key stops being accepted by its time
//! alone.

use super::store;
use crate::{
    db::{self, Db},
    events::{self, NewEvent, key::KeyExpired},
    world::World,
};

/// Keys that one transaction tells of at most.
const TOLD_MAX: i64 = 200;

/// Emits `key.expired` for keys that have expired and were not told of yet; how many. A key that is given a later expiry
/// and reaches that is told of again.
pub async fn tell_expired(db: &Db, world: &World) -> db::Result<u64> {
    let mut tx = db.begin().await?;
    let expired = store::take_expired(&mut tx, world.now_ms(), TOLD_MAX).await?;
    let events: Vec<_> = expired.iter().map(|key| NewEvent::of(key.account_id, &KeyExpired { key: key.into() })).collect();
    events::emit_all(&mut tx, world, &events).await?;
    tx.commit().await?;
    Ok(expired.len() as u64)
}
