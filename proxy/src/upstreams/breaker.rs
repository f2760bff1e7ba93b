//! The circuit breaker of one upstream: closed, open, half open.
//!
//! Closed, it counts what fails within a window. When too much does, it opens: requests are refused at
//! once, and the upstream is left alone. After a while it is half open: a few requests go through as
//! probes. When all of these succeed it closes; when one fails it opens again. A request that was let
//! through earlier says nothing about now: its outcome is not counted.

use std::{
    sync::atomic::{
        AtomicU8, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use clearway_config::settings::gateway::upstream::Breaker as Settings;
use parking_lot::Mutex;

/// The window is counted in so many parts.
const PARTS: usize = 10;
/// Bits of a part's two counts; a part is full when one of them is.
const BITS: u32 = 21;
const COUNT_MAX: u64 = (1 << BITS) - 1;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

/// What a breaker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

/// How a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Usual,
    /// A probe of the half-open state that began so many openings after the first.
    Probe(u64),
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: Settings,
    state: AtomicU8,
    open_until_ms: AtomicU64,
    /// Each: the number of its stretch of time, requests, failures.
    parts: [AtomicU64; PARTS],
    /// Guards changes of `state`.
    probes: Mutex<Probes>,
}

#[derive(Debug, Default)]
struct Probes {
    /// How often it has been half open.
    epoch: u64,
    out: u32,
    succeeded: u32,
}

impl Breaker {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: AtomicU8::new(CLOSED),
            open_until_ms: AtomicU64::new(0),
            parts: Default::default(),
            probes: Mutex::default(),
        }
    }

    /// Whether an answer of this status is a failure.
    pub(super) fn fails(&self, status: u16) -> bool {
        self.settings.statuses.contains(status)
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.state.load(Relaxed) {
            CLOSED => BreakerState::Closed,
            OPEN => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }

    /// Lets a request through, or says when to come back.
    pub(super) fn admit(&self, now_ms: impl Fn() -> u64) -> Result<Pass, Duration> {
        if self.state.load(Acquire) == CLOSED {
            return Ok(Pass::Usual);
        }
        let now_ms = now_ms();
        let wait_ms = self.open_until_ms.load(Relaxed).saturating_sub(now_ms);
        if wait_ms > 0 {
            return Err(Duration::from_millis(wait_ms));
        }
        let mut probes = self.probes.lock();
        match self.state.load(Relaxed) {
            CLOSED => return Ok(Pass::Usual),
            OPEN => {
                *probes = Probes { epoch: probes.epoch + 1, out: 0, succeeded: 0 };
                self.state.store(HALF_OPEN, Release);
            }
            _ => {}
        }
        if probes.out + probes.succeeded >= self.settings.probes {
            // The probes that are out will tell.
            return Err(Duration::from_secs(1));
        }
        probes.out += 1;
        Ok(Pass::Probe(probes.epoch))
    }

    /// A request has come to its end. Says whether the breaker opened by that.
    pub(super) fn ended(&self, pass: Pass, ok: bool, now_ms: u64) -> bool {
        match pass {
            Pass::Usual => self.counted(ok, now_ms),
            Pass::Probe(epoch) => self.probed(epoch, ok, now_ms),
        }
    }

    /// A request that was let through came to nothing that says anything.
    pub(super) fn given_up(&self, pass: Pass) {
        if let Pass::Probe(epoch) = pass {
            let mut probes = self.probes.lock();
            if probes.epoch == epoch && self.state.load(Relaxed) == HALF_OPEN {
                probes.out = probes.out.saturating_sub(1);
            }
        }
    }

    fn probed(&self, epoch: u64, ok: bool, now_ms: u64) -> bool {
        let mut probes = self.probes.lock();
        if probes.epoch != epoch || self.state.load(Relaxed) != HALF_OPEN {
            return false;
        }
        probes.out = probes.out.saturating_sub(1);
        if !ok {
            self.open(now_ms);
            return true;
        }
        probes.succeeded += 1;
        if probes.succeeded >= self.settings.probes {
            for part in &self.parts {
                part.store(0, Relaxed);
            }
            self.state.store(CLOSED, Release);
        }
        false
    }

    fn counted(&self, ok: bool, now_ms: u64) -> bool {
        if self.state.load(Relaxed) != CLOSED {
            return false;
        }
        let stretch = self.stretch(now_ms);
        let part = &self.parts[stretch as usize % PARTS];
        let one = 1 << BITS | u64::from(!ok);
        let _ = part.fetch_update(AcqRel, Relaxed, |counts| {
            let counts = if counts >> (2 * BITS) == stretch { counts } else { stretch << (2 * BITS) };
            let full = counts >> BITS & COUNT_MAX == COUNT_MAX;
            (!full).then_some(counts + one)
        });
        !ok && self.has_failed_too_often(stretch) && {
            let probes = self.probes.lock();
            let opens = self.state.load(Relaxed) == CLOSED;
            if opens {
                self.open(now_ms);
            }
            drop(probes);
            opens
        }
    }

    fn has_failed_too_often(&self, now: u64) -> bool {
        let (mut requests, mut failures) = (0, 0);
        for part in &self.parts {
            let counts = part.load(Relaxed);
            let age = now.wrapping_sub(counts >> (2 * BITS)) & STRETCH_MASK;
            if age < PARTS as u64 {
                requests += counts >> BITS & COUNT_MAX;
                failures += counts & COUNT_MAX;
            }
        }
        requests >= u64::from(self.settings.requests_min)
            && failures * 100 >= requests * u64::from(self.settings.failures_percent)
    }

    /// The caller holds the lock.
    fn open(&self, now_ms: u64) {
        self.open_until_ms.store(now_ms + millis(self.settings.open_for), Relaxed);
        self.state.store(OPEN, Release);
    }

    /// The number of the stretch of time that `now_ms` is in. It begins anew after 2²² of them, days at least.
    fn stretch(&self, now_ms: u64) -> u64 {
        // Never 0: a part that was never counted in is old.
        let stretch = now_ms / (millis(self.settings.window) / PARTS as u64).max(1) + PARTS as u64 * 2;
        stretch & STRETCH_MASK
    }
}

const STRETCH_MASK: u64 = (1 << (64 - 2 * BITS)) - 1;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::upstream::Statuses;

    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Settings {
            failures_percent: 50,
            window: Duration::from_secs(10),
            requests_min: 10,
            open_for: Duration::from_secs(5),
            probes: 2,
            statuses: Statuses::of(500..=599),
        })
    }

    fn ask(breaker: &Breaker, ok: bool, now_ms: u64) -> bool {
        let pass = breaker.admit(|| now_ms).unwrap();
        breaker.ended(pass, ok, now_ms)
    }

    fn opened() -> Breaker {
        let breaker = breaker();
        assert!((0..10).any(|_| ask(&breaker, false, 0)));
        breaker
    }

    #[test]
    fn it_opens_on_its_share_of_failures_but_not_on_few_requests() {
        let breaker = breaker();
        assert!((0..9).all(|_| !ask(&breaker, false, 0)));
        assert!(ask(&breaker, false, 0));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.admit(|| 1_000), Err(Duration::from_secs(4)));
    }

    #[test]
    fn failures_below_the_share_or_before_the_window_leave_it_closed() {
        let breaker = breaker();
        for now in 0..1_000 {
            assert!(!ask(&breaker, now % 5 != 0, now));
        }
        let breaker = self::breaker();
        for n in 0..9 {
            assert!(!ask(&breaker, false, n));
        }
        assert!(!ask(&breaker, false, 11_000), "nine failures were eleven seconds ago");
    }

    #[test]
    fn half_open_it_closes_when_every_probe_has_succeeded() {
        let breaker = opened();
        let (first, second) = (breaker.admit(|| 5_000).unwrap(), breaker.admit(|| 5_000).unwrap());
        assert!(breaker.admit(|| 5_000).is_err(), "two probes are out");
        breaker.ended(first, true, 5_001);
        assert!(breaker.admit(|| 5_001).is_err());
        breaker.ended(second, true, 5_002);
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(!ask(&breaker, false, 5_003), "what failed before is forgotten");
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_and_one_that_was_given_up_makes_room() {
        let breaker = opened();
        let (first, second) = (breaker.admit(|| 5_000).unwrap(), breaker.admit(|| 5_000).unwrap());
        breaker.given_up(first);
        let third = breaker.admit(|| 5_000).unwrap();
        assert!(breaker.ended(second, false, 5_100));
        assert_eq!(breaker.admit(|| 5_100), Err(Duration::from_secs(5)));
        // A probe from before says nothing about the next time.
        let fourth = breaker.admit(|| 10_100).unwrap();
        breaker.ended(third, true, 10_100);
        breaker.ended(first, true, 10_100);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.ended(fourth, true, 10_100);
        breaker.ended(breaker.admit(|| 10_100).unwrap(), true, 10_100);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn what_was_let_through_before_it_opened_is_not_counted() {
        let breaker = breaker();
        let before: Vec<_> = (0..20).map(|_| breaker.admit(|| 0).unwrap()).collect();
        assert_eq!(before.iter().filter(|pass| breaker.ended(**pass, false, 0)).count(), 1);
        assert_eq!(breaker.admit(|| 0), Err(Duration::from_secs(5)));
    }
}
