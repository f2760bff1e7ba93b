//! What all targets of one upstream have in common: how many of them are available, when one is left
//! out, and the breaker.
//!
//! Requests only read and count here. What changes a target's availability is rare and done under a
//! lock, so that the share of ejected targets is never exceeded.

use std::sync::{
    Arc,
    atomic::{
        AtomicU32,
        Ordering::{Relaxed, Release},
    },
};

use clearway_config::settings::gateway::upstream::{Outliers, Upstream as Settings};
use parking_lot::Mutex;

use super::{
    breaker::{Breaker, Pass},
    clock::{mix, now_ms},
    target::{EJECTED, GONE, Target, UNAVAILABLE, UNHEALTHY, WARMING},
};
use crate::metrics::Metrics;

/// A target that has come back gets so much of its share at once, in thousandths.
const WARM_MIN: u64 = 100;

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) breaker: Option<Breaker>,
    outliers: Option<Outliers>,
    slow_start_ms: u64,
    pub(super) connections_max: u32,
    pub(super) metrics: Arc<Metrics>,
    size: AtomicU32,
    unavailable: AtomicU32,
    /// How many targets are ejected; guards every change of [`UNAVAILABLE`] flags.
    ejected: Mutex<u32>,
}

impl Pool {
    pub(super) fn new(settings: &Settings, metrics: Arc<Metrics>) -> Self {
        Self {
            name: settings.name.clone(),
            breaker: settings.breaker.clone().map(Breaker::new),
            outliers: settings.outliers.clone(),
            slow_start_ms: u64::try_from(settings.slow_start.as_millis()).unwrap_or(u64::MAX),
            connections_max: settings.connections_max,
            metrics,
            size: AtomicU32::new(0),
            unavailable: AtomicU32::new(0),
            ejected: Mutex::new(0),
        }
    }

    /// Whether no target is available: then all are used, as if all were. An upstream that is called
    /// down by mistake, by a broken check or a burst of errors, is better asked than given up.
    pub(super) fn is_panicking(&self) -> bool {
        self.unavailable.load(Relaxed) >= self.size.load(Relaxed)
    }

    /// The targets have changed from `old` to `new`; what is in both is the same object.
    pub(super) fn replace(&self, old: &[Arc<Target>], new: &[Arc<Target>], now_ms: u64) {
        let mut ejected = self.ejected.lock();
        for target in old {
            if !new.iter().any(|t| t.id == target.id) {
                target.flags.fetch_or(GONE, Release);
            }
        }
        let begins = old.is_empty();
        for target in new {
            if !begins && self.slow_start_ms > 0 && !old.iter().any(|t| t.id == target.id) {
                target.warm_from_ms.store(now_ms, Relaxed);
                target.flags.fetch_or(WARMING, Release);
            }
        }
        let count = |flag| u32::try_from(new.iter().filter(|t| t.is(flag)).count()).unwrap_or(u32::MAX);
        *ejected = count(EJECTED);
        self.unavailable.store(count(UNAVAILABLE), Relaxed);
        self.size.store(u32::try_from(new.len()).unwrap_or(u32::MAX), Relaxed);
    }

    /// A request to `target` has been answered, or its connection failed (`None`).
    pub(super) fn ended(&self, target: &Target, pass: Option<Pass>, status: Option<u16>) {
        if let Some(outliers) = &self.outliers {
            if status.is_some_and(|status| !outliers.statuses.contains(status)) {
                // Most have none: do not write what is read by everybody.
                if target.failures.load(Relaxed) != 0 {
                    target.failures.store(0, Relaxed);
                }
            } else if target.failures.fetch_add(1, Relaxed) + 1 >= outliers.failures {
                self.eject(target, outliers, now_ms());
            }
        }
        if let Some((breaker, pass)) = self.breaker.as_ref().zip(pass) {
            let ok = status.is_some_and(|status| !breaker.fails(status));
            if breaker.ended(pass, ok, now_ms()) {
                tracing::warn!(upstream = self.name, "breaker opened");
                self.metrics.upstreams.breaker_opened(&self.name);
            }
        }
    }

    pub(super) fn set_health(&self, target: &Target, healthy: bool, now_ms: u64) {
        let mut ejected = self.ejected.lock();
        let (set, clear) = if healthy { (0, UNHEALTHY) } else { (UNHEALTHY, 0) };
        self.change(target, set, clear, now_ms, &mut ejected);
    }

    /// What the passing of time does to `target`.
    pub(super) fn tick(&self, target: &Target, now_ms: u64) {
        if target.is(EJECTED) && now_ms >= target.ejected_until_ms.load(Relaxed) {
            // On probation: one more failure ejects it again, one success clears it.
            let probation = self.outliers.as_ref().map_or(0, |outliers| outliers.failures.saturating_sub(1));
            target.failures.store(probation, Relaxed);
            self.change(target, 0, EJECTED, now_ms, &mut self.ejected.lock());
            tracing::info!(upstream = self.name, target = %target.address, "target is tried again");
        }
        if target.is(WARMING) && now_ms >= target.warm_from_ms.load(Relaxed).saturating_add(self.slow_start_ms) {
            target.flags.fetch_and(!WARMING, Release);
        }
    }

    /// Whether a target that is [`WARMING`] takes this turn.
    pub(super) fn takes_turn(&self, target: &Target, turn: u64) -> bool {
        let warm_ms = now_ms().saturating_sub(target.warm_from_ms.load(Relaxed));
        let share = (warm_ms.saturating_mul(1000) / self.slow_start_ms.max(1)).max(WARM_MIN);
        mix(turn) % 1000 < share
    }

    fn eject(&self, target: &Target, outliers: &Outliers, now_ms: u64) {
        let mut ejected = self.ejected.lock();
        let after = (u64::from(*ejected) + 1) * 100;
        let allowed = u64::from(self.size.load(Relaxed)) * u64::from(outliers.ejected_max_percent);
        if target.is(EJECTED | GONE) || after > allowed {
            return;
        }
        let until = u64::try_from(outliers.eject_for.as_millis()).unwrap_or(u64::MAX);
        target.ejected_until_ms.store(now_ms.saturating_add(until), Relaxed);
        self.change(target, EJECTED, 0, now_ms, &mut ejected);
        drop(ejected);
        tracing::warn!(upstream = self.name, target = %target.address, "target ejected");
        self.metrics.upstreams.ejected(&self.name);
    }

    fn change(&self, target: &Target, set: u8, clear: u8, now_ms: u64, ejected: &mut u32) {
        let before = target.flags.load(Relaxed);
        if before & GONE != 0 {
            return;
        }
        let after = before & !clear | set;
        match (before & EJECTED != 0, after & EJECTED != 0) {
            (false, true) => *ejected += 1,
            (true, false) => *ejected = ejected.saturating_sub(1),
            _ => {}
        }
        let mut warming = 0;
        match (before & UNAVAILABLE != 0, after & UNAVAILABLE != 0) {
            (false, true) => {
                self.unavailable.fetch_add(1, Relaxed);
            }
            (true, false) => {
                self.unavailable.fetch_sub(1, Relaxed);
                if self.slow_start_ms > 0 {
                    target.warm_from_ms.store(now_ms, Relaxed);
                    warming = WARMING;
                }
            }
            _ => {}
        }
        target.flags.fetch_and(!clear, Release);
        target.flags.fetch_or(set | warming, Release);
    }
}
