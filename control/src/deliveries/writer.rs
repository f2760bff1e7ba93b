//! Writes a batch, in one transaction, as long as this process is the one that dispatches.

use clearway_config::WebhookId;

use super::{
    batch::{Batch, Cancel},
    board::{CLAIM_MS, Claimed},
    store,
};
use crate::db::{self, Db};

/// Deliveries that are cancelled in one statement at most.
const CANCEL_MAX: i64 = 500;

#[derive(Debug)]
pub(super) enum Written {
    /// What was claimed: of which webhook, how many at most, and the deliveries.
    Kept(Vec<(WebhookId, usize, Vec<Claimed>)>),
    /// Another process dispatches now; nothing was written.
    HoldLost,
}

/// Safe to repeat with the same batch, also where nobody knows whether it was committed.
pub(super) async fn write(db: &Db, me: &str, now_ms: i64, batch: &Batch) -> db::Result<Written> {
    let mut tx = db.begin().await?;
    if !store::keep_hold(&mut tx, me, now_ms, batch.fanned_out).await? {
        return Ok(Written::HoldLost);
    }
    store::note_due(&mut tx, &batch.due).await?;
    let claimed_of = batch.claims.iter().map(|(webhook, _)| *webhook);
    let promotions = batch.promotions();
    let promoted_of = promotions.iter().map(|promotion| promotion.webhook);
    let cancelled_of = batch.cancel.iter().map(|cancel| cancel.webhook);
    store::lock_health(&mut tx, claimed_of.clone().chain(promoted_of).chain(cancelled_of).collect()).await?;
    store::insert(&mut tx, batch).await?;
    store::update(&mut tx, batch).await?;
    store::insert_attempts(&mut tx, batch).await?;
    store::note_failing(&mut tx, &batch.failing).await?;
    let promoted = store::promote(&mut tx, &promotions, now_ms).await?;
    store::note_due(&mut tx, &promoted).await?;
    let mut changed: Vec<WebhookId> = claimed_of.collect();
    for cancel in &batch.cancel {
        cancel_of(&mut tx, cancel, now_ms, &mut changed).await?;
    }
    let mut kept = Vec::with_capacity(batch.claims.len());
    let mut ids = Vec::new();
    for (webhook, limit) in &batch.claims {
        let due = store::due_of(&mut tx, *webhook, now_ms, *limit).await?;
        ids.extend(due.iter().map(|delivery| delivery.id));
        kept.push((*webhook, *limit, due));
    }
    store::claim(&mut tx, ids, now_ms + CLAIM_MS).await?;
    store::settle_due(&mut tx, changed).await?;
    tx.commit().await?;
    Ok(Written::Kept(kept))
}

async fn cancel_of(tx: &mut db::Tx, cancel: &Cancel, now_ms: i64, changed: &mut Vec<WebhookId>) -> db::Result<()> {
    let (cancelled, all) = store::cancel(tx, cancel, now_ms, CANCEL_MAX).await?;
    if cancel.again_at.is_some() && cancelled > 0 {
        store::promote_heads(tx, cancel.webhook, now_ms, CANCEL_MAX).await?;
    }
    match cancel.again_at {
        Some(at) if all => store::look_again(tx, cancel.webhook, at).await?,
        Some(_) => {}
        // Where some are left its row stays due, and it is come back to.
        None if all => changed.push(cancel.webhook),
        None => {}
    }
    Ok(())
}
