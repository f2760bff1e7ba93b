//! Forgetting secrets whose overlap has ended, here and in every proxy.

use std::collections::BTreeSet;

use super::store;
use crate::{
    db::{self, Db},
    sync::{self, ChangeKind},
    world::World,
};

/// Secrets that one transaction removes at most.
const SWEEP_MAX: i64 = 500;

/// Removes secrets that no longer sign; how many.
pub async fn sweep(db: &Db, world: &World) -> db::Result<u64> {
    let now_ms = world.now_ms();
    let mut tx = db.begin().await?;
    let removed = store::remove_ended(&mut tx, now_ms, SWEEP_MAX).await?;
    let webhooks: BTreeSet<&String> = removed.iter().collect();
    for id in webhooks {
        // Proxies have stopped signing by them; this has them forget.
        sync::record(&mut tx, ChangeKind::Webhook, id, now_ms).await?;
    }
    tx.commit().await?;
    Ok(removed.len() as u64)
}
