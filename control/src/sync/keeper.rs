//! What happens now and then: noting how far proxies have come, and forgetting old changes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use clearway_config::ProxyId;

use super::{clock::wall_ms, hub::Inner, store};
use crate::db;

/// How often there may be something to note.
const TICK: Duration = Duration::from_millis(500);
/// That a proxy is still seen is noted so seldom; other control processes rely on it being no later.
const SEEN_EVERY_MS: i64 = 5_000;
const TRIM_EVERY: Duration = Duration::from_secs(3600);
/// Changes are kept for a week, for proxies that were away, but not more than so many.
const KEPT_FOR_MS: i64 = 7 * 86_400_000;
const KEPT_MAX: i64 = 1_000_000;
/// Changes forgotten with one statement, so that no writer waits long.
const TRIM_STEP: i64 = 5_000;

/// One proxy as `proxies` keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) proxy: ProxyId,
    pub(super) revision: i64,
    pub(super) lease_ms: Option<i64>,
    pub(super) seen_at: i64,
    /// As text.
    pub(super) refused: String,
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
            _ = stopping.changed() => {}
        }
    }
}

async fn note(inner: &Inner, noted: &mut HashMap<ProxyId, Note>) -> db::Result<()> {
    // Only another process needs to know at once how far a proxy has come.
    let others = inner.terms.others_lag_ms.is_some();
    let is_new = |note: &Note| {
        noted.get(&note.proxy).is_none_or(|last| {
            note.seen_at - last.seen_at >= SEEN_EVERY_MS
                || note.lease_ms != last.lease_ms
                || note.refused != last.refused
                || (others && note.revision != last.revision)
        })
    };
    let notes: Vec<Note> = inner.noted().into_iter().filter(is_new).collect();
    if notes.is_empty() {
        return Ok(());
    }
    let mut tx = inner.db.begin().await?;
    for note in &notes {
        store::note_proxy(&mut tx, note).await?;
    }
    tx.commit().await?;
    noted.extend(notes.into_iter().map(|note| (note.proxy, note)));
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
