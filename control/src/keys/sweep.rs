//! Forgetting secrets that have been useless for long, here and in every proxy.

use super::store;
use crate::{
    db::{self, Db},
    sync::{self, ChangeKind},
    world::World,
};

/// How long after its end a secret is still known, and so refused as expired or revoked instead of unknown.
pub(super) const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Secrets that one transaction removes at most.
const SWEEP_MAX: i64 = 500;

/// Removes secrets whose overlap ended, or whose key was revoked, [`KEPT_MS`] ago; how many. Those of a key
/// that merely expired stay: an update may give it a later expiry.
pub async fn sweep(db: &Db, world: &World) -> db::Result<u64> {
    let now_ms = world.now_ms();
    let mut tx = db.begin().await?;
    let removed = store::remove_useless(&mut tx, now_ms - KEPT_MS, SWEEP_MAX).await?;
    for hash in &removed {
        sync::record(&mut tx, ChangeKind::SecretRemoved, &sync::removed_secret_id(hash), now_ms).await?;
    }
    tx.commit().await?;
    Ok(removed.len() as u64)
}
