//! Sweeping away what has run out.

use super::{devices, store};
use crate::{
    db::{self, Db},
    world::World,
};

/// Registrations, tokens, counted attempts and devices whose time is over; how many rows.
pub async fn sweep(db: &Db, world: &World) -> db::Result<u64> {
    let now_ms = world.now_ms();
    store::sweep(db, now_ms, now_ms - devices::KNOWN_MS).await
}
