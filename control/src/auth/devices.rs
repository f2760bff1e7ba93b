//! Devices on which somebody has signed in, known by a cookie or a token of their own. Knowing one opens nothing: its
//! guesses are only counted apart from those of strangers.

use clearway_config::UserId;

use super::{Once, store};
use crate::{
    db::{self, On, Tx},
    world::World,
};

/// The cookie that a browser's device token is in.
pub(super) const DEVICE_COOKIE: &str = "__Host-clearway_device";
/// How long a device is known after it was last signed in on.
pub(super) const KNOWN_MS: i64 = 180 * 24 * 60 * 60 * 1_000;
/// Devices of one person; the one that was used longest ago makes room.
const DEVICES_MAX: i64 = 20;

/// Whose device it is, if it is somebody's.
pub(super) async fn owner<'c>(on: impl On<'c>, world: &World, device: &Once) -> db::Result<Option<UserId>> {
    store::device(on, &device.hash(), world.now_ms() - KNOWN_MS).await
}

/// Knows the device from now on. A token for it, where it has none yet.
pub(super) async fn know(tx: &mut Tx, world: &World, user: UserId, known: Option<&Once>) -> db::Result<Option<Once>> {
    let now_ms = world.now_ms();
    if let Some(device) = known {
        store::note_device(tx, &device.hash(), now_ms).await?;
        return Ok(None);
    }
    let device = Once::mint(world);
    store::insert_device(tx, &device.hash(), user, now_ms, DEVICES_MAX).await?;
    Ok(Some(device))
}
