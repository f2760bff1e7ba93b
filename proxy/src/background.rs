//! What runs beside requests for as long as the process does, and does not wait for any of them.

use std::{sync::Arc, time::Duration};

use crate::{
    gateway::{State, now_ms},
    vitals::Health,
};

/// How often the ledger is flushed.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// Checks the upstreams of the routes of the moment.
pub(crate) async fn watch_upstreams(state: Arc<State>) {
    let watched = move || state.routes.current().upstreams.iter().filter(|u| u.is_watched()).cloned().collect();
    crate::upstreams::health::watch(watched).await;
}

/// Writes the ledger to disk every second, and closes days that are over.
pub(crate) async fn keep_ledger(state: Arc<State>, health: Arc<Health>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let state = state.clone();
        let kept = tokio::task::spawn_blocking(move || {
            state.ledger.spool_ended_days(&state.counted_at(now_ms()))?;
            state.ledger.flush()
        });
        match kept.await {
            Ok(Ok(())) => health.ledger_flushed(),
            Ok(Err(e)) => tracing::error!(error = &e as &dyn std::error::Error, "ledger cannot be kept on disk"),
            Err(_) => tracing::error!("keeping the ledger panicked"),
        }
    }
}

/// Notes what rates are reckoned from.
pub(crate) async fn note_rates(health: Arc<Health>) {
    let mut ticks = tokio::time::interval(crate::status::RATES_EVERY);
    // The first is at once; the start has been noted.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        health.note_rates();
    }
}
