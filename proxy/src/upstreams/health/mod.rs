//! Active checks: every target of an upstream that wants it is asked now and then whether it serves.
//!
//! One task in the background looks which checks are due and starts them, each on a connection of its
//! own: a check tells that a target takes connections, too. Requests never wait for one. A target is
//! taken for healthy until its checks have failed.

mod ask;
mod grpc;

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicI32, AtomicU64,
            Ordering::{AcqRel, Relaxed, Release},
        },
    },
    time::Duration,
};

use clearway_config::settings::gateway::upstream::Health;
use parking_lot::Mutex;
use pingora::connectors::http::Connector;
use tokio::sync::Semaphore;

use super::{
    Target, Upstream,
    clock::{mix, now_ms},
    target::UNHEALTHY,
};
use crate::descriptors;

/// How often it is looked which checks are due.
const TICK: Duration = Duration::from_millis(50);
/// Checks under way at the same time at most; what is due beyond that waits for a tick.
const CHECKS_MAX: usize = 256;
/// Within this time, or one interval, every target is asked for the first time.
const SPREAD_MS: u64 = 1000;

/// One target's checks.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// 0: not set yet.
    due_ms: AtomicU64,
    running: AtomicBool,
    /// Checks in a row that succeeded, or, below zero, failed.
    streak: AtomicI32,
    failed: Mutex<Option<String>>,
}

impl Checks {
    pub(super) fn failed(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Whether a check is to begin now.
    fn begins(&self, health: &Health, now_ms: u64, chance: u64) -> bool {
        let interval_ms = u64::try_from(health.interval.as_millis()).unwrap_or(u64::MAX);
        let due = match self.due_ms.load(Relaxed) {
            0 => now_ms + mix(chance) % interval_ms.clamp(1, SPREAD_MS),
            due => due,
        };
        self.due_ms.store(due.max(1), Relaxed);
        if now_ms < due || self.running.swap(true, AcqRel) {
            return false;
        }
        // Nine tenths to eleven of the interval, so that targets and proxies do not ask in step.
        let jitter = mix(chance ^ now_ms) % (interval_ms / 5).max(1);
        self.due_ms.store(now_ms + interval_ms - interval_ms / 10 + jitter, Relaxed);
        true
    }

    /// It has come to nothing.
    fn given_up(&self) {
        self.running.store(false, Release);
    }

    /// Counts a check; says what the target is from now on, if it becomes something else by it.
    fn ended(&self, health: &Health, is_unhealthy: bool, outcome: Result<(), String>) -> Option<bool> {
        let ok = outcome.is_ok();
        *self.failed.lock() = outcome.err();
        let before = self.streak.load(Relaxed);
        let streak = match (ok, before > 0) {
            (true, true) => before.saturating_add(1),
            (true, false) => 1,
            (false, true) => -1,
            (false, false) => before.saturating_sub(1),
        };
        self.streak.store(streak, Relaxed);
        self.running.store(false, Release);
        let enough = |n: u32| streak.unsigned_abs() >= n;
        match (is_unhealthy, ok) {
            (true, true) if enough(health.healthy) => Some(true),
            (false, false) if enough(health.unhealthy) => Some(false),
            _ => None,
        }
    }
}

/// Checks the upstreams that `current` names, for ever.
pub(crate) async fn watch(current: impl Fn() -> Vec<Arc<Upstream>>) {
    let connector = Arc::new(Connector::new(None));
    let places = Arc::new(Semaphore::new(CHECKS_MAX));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = now_ms();
        for upstream in current() {
            upstream.tick(now_ms);
            let Some(health) = &upstream.settings.health else { continue };
            for target in &upstream.plan.load().targets {
                let Ok(place) = places.clone().try_acquire_owned() else { break };
                if target.checks.begins(health, now_ms, u64::from(target.id) << 32 | now_ms & 0xFFFF_FFFF) {
                    let (upstream, target, connector) = (upstream.clone(), target.clone(), connector.clone());
                    tokio::spawn(async move {
                        check(&upstream, &target, &connector).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

async fn check(upstream: &Upstream, target: &Target, connector: &Connector) {
    let Some(health) = &upstream.settings.health else { return };
    let asked = tokio::time::timeout(health.timeout, ask::ask(upstream, target, health, connector)).await;
    let outcome = asked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
    let why = outcome.as_ref().err().cloned().unwrap_or_default();
    if outcome.is_err() && descriptors::are_scarce() {
        // It says something of this process, and nothing of the target.
        return target.checks.given_up();
    }
    if let Some(healthy) = target.checks.ended(health, target.is(UNHEALTHY), outcome) {
        if healthy {
            tracing::info!(upstream = upstream.name, target = %target.address, "target is healthy");
        } else {
            tracing::warn!(upstream = upstream.name, target = %target.address, error = why, "target is unhealthy");
        }
        upstream.pool.set_health(target, healthy, now_ms());
    }
}

impl Upstream {
    /// Whether the passing of time does anything to it.
    pub(crate) fn is_watched(&self) -> bool {
        let settings = &self.settings;
        settings.health.is_some() || settings.outliers.is_some() || !settings.slow_start.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::upstream::Check;

    use super::*;

    fn health() -> Health {
        Health {
            check: Check::Tcp,
            host: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
        }
    }

    #[test]
    fn checks_come_once_an_interval_give_or_take_a_tenth_and_never_two_at_once() {
        let checks = Checks::default();
        let first = (1..).find(|&now| checks.begins(&health(), now, 7)).unwrap();
        assert!(first <= 1 + SPREAD_MS);
        assert!((first..first + 60_000).all(|now| !checks.begins(&health(), now, 7)), "one is under way");
        checks.ended(&health(), false, Ok(()));
        let mut last = (first + 60_000..).find(|&now| checks.begins(&health(), now, 7)).unwrap();
        for _ in 0..100 {
            checks.ended(&health(), false, Ok(()));
            let next = (last + 1..).find(|&now| checks.begins(&health(), now, 7)).unwrap();
            assert!((9_000..=11_000).contains(&(next - last)), "{}", next - last);
            last = next;
        }
    }

    #[test]
    fn only_so_many_outcomes_in_a_row_change_what_a_target_is() {
        let checks = Checks::default();
        let (ok, no) = (|| Ok(()), || Err("down".to_owned()));
        let outcomes = [no(), no(), ok(), no(), no(), no()].map(|o| checks.ended(&health(), false, o));
        assert_eq!(outcomes, [None, None, None, None, None, Some(false)]);
        assert_eq!(checks.failed().as_deref(), Some("down"));
        let outcomes = [no(), ok(), no(), ok(), ok()].map(|o| checks.ended(&health(), true, o));
        assert_eq!(outcomes, [None, None, None, None, Some(true)]);
        assert_eq!(checks.failed(), None);
    }
}
