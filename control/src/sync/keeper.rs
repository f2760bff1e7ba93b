//! What happens now and then: noting how far proxies have come, and forgetting old changes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use clearway_config::ProxyId;
use serde::{Serialize, Serializer};

use super::{clock::wall_ms, hub::Inner, store};
use crate::db;

/// How often there may be something to note.
const TICK: Duration = Duration::from_millis(500);
/// How long acknowledgements are waited for that may come at the same time.
const GATHER: Duration = Duration::from_millis(2);
/// Every proxy that is held is noted so often: other control processes rely on it being no later than [`NOTED_MS`].
const NOTE_EVERY_MS: u64 = 5_000;
/// A proxy that was not noted for so long is granted no lease.
pub(super) const NOTED_MS: u64 = 10_000;
const TRIM_EVERY: Duration = Duration::from_secs(3600);
/// Changes are kept for a week, for proxies that were away, but not more than so many.
const KEPT_FOR_MS: i64 = 7 * 86_400_000;
const KEPT_MAX: i64 = 1_000_000;
/// Changes forgotten with one statement, so that no writer waits long.
const TRIM_STEP: i64 = 5_000;

/// One proxy as `proxies` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    #[serde(serialize_with = "text")]
    pub(super) id: ProxyId,
    pub(super) epoch: i64,
    pub(super) revision: i64,
    pub(super) lease_ms: Option<i64>,
    /// When it was last heard of.
    pub(super) ago_ms: i64,
    /// As text, as the next.
    pub(super) refused: String,
    pub(super) report: String,
    /// When it was last noted for good.
    #[serde(skip)]
    pub(super) noted_ms: u64,
    #[serde(skip)]
    pub(super) serves_without_lease: bool,
}

fn text<S: Serializer>(id: &ProxyId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(super) async fn keep(inner: Arc<Inner>) {
    let mut noted = HashMap::new();
    let mut stopping = inner.stopping.subscribe();
    let mut trimmed: Option<tokio::time::Instant> = None;
    while !*stopping.borrow() {
        if let Err(error) = note(&inner, &mut noted).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "proxies could not be noted");
        }
        if trimmed.is_none_or(|at| at.elapsed() >= TRIM_EVERY) {
            trimmed = Some(tokio::time::Instant::now());
            if let Err(error) = trim(&inner).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "old changes could not be forgotten");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = inner.acknowledged() => tokio::time::sleep(GATHER).await,
            _ = stopping.changed() => {}
        }
    }
}

async fn note(inner: &Inner, noted: &mut HashMap<ProxyId, Note>) -> db::Result<()> {
    let began = inner.clock.now_ms();
    let all = inner.notes();
    noted.retain(|id, last| all.iter().any(|note| note.id == *id && note.epoch == last.epoch));
    // Whoever restarts, or takes over, must find what a revoke hangs on; how far a proxy has come may come late.
    let for_good = |note: &Note| {
        began.saturating_sub(note.noted_ms) >= NOTE_EVERY_MS
            || noted
                .get(&note.id)
                .is_none_or(|last| (&note.refused, note.serves_without_lease) != (&last.refused, last.serves_without_lease))
    };
    let is_for_good = all.iter().any(for_good);
    // Only another process needs to know at once how far a proxy has come.
    let others = inner.terms.others.is_some();
    let has_come = |note: &Note| others && noted.get(&note.id).is_none_or(|last| note.revision != last.revision);
    let notes: Vec<Note> = all.into_iter().filter(|note| for_good(note) || has_come(note)).collect();
    if notes.is_empty() {
        return Ok(());
    }
    let mut tx = inner.db.begin().await?;
    if is_for_good {
        store::tell(&mut tx).await?;
    } else {
        store::tell_lightly(&mut tx).await?;
    }
    let kept = store::note(&mut tx, &notes).await?;
    tx.commit().await?;
    inner.noted(&notes, kept, is_for_good.then_some(began));
    noted.extend(notes.into_iter().map(|note| (note.id, note)));
    Ok(())
}

async fn trim(inner: &Inner) -> db::Result<()> {
    let last = store::last_revision(&inner.db).await?;
    let old = store::last_revision_before(&inner.db, wall_ms() - KEPT_FOR_MS).await?;
    let through = old.max(last - KEPT_MAX).min(last - 1);
    let mut step = store::first_revision(&inner.db).await?;
    while step <= through && step > 0 {
        step += TRIM_STEP;
        store::trim(&inner.db, through.min(step - 1)).await?;
    }
    Ok(())
}
