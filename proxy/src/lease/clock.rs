//! The store's time, as far as it can be told here: windows are counted by it on every node, so that no node's own
//! clock decides when a day ends. Between answers it goes on by the machine's steady clock, which nobody sets.

use std::sync::atomic::{AtomicU64, Ordering};

use clearway_filters::{lease::size, quota::Now};
use parking_lot::Mutex;

use crate::snapshot::uptime_ms;

/// What the estimate falls back by with each answer, so that it follows a store whose clock goes slower.
const DRIFT_MS: u64 = 1;

#[derive(Debug)]
pub(super) struct Clock {
    source: Source,
    /// Store's milliseconds since 1970 less those of the steady clock. Never ahead of the truth: an answer is older
    /// than its arrival.
    offset_ms: AtomicU64,
    heard: Mutex<LastHeard>,
}

/// What answers have said so far.
#[derive(Debug, Default)]
struct LastHeard {
    /// Whether the store has said its time yet.
    any: bool,
    /// By the steady clock, when the store's was last found to have been set.
    set_ms: Option<u64>,
}

/// A steady clock.
#[derive(Debug)]
pub(super) enum Source {
    Machine,
    /// The runtime's, which tests move.
    #[cfg(test)]
    Runtime(tokio::time::Instant),
}

impl Clock {
    /// By the machine's own clock, until the store has been heard.
    pub(super) fn new(source: Source, wall_ms: u64) -> Self {
        let offset_ms = AtomicU64::new(wall_ms.saturating_sub(source.uptime_ms()));
        Self { source, offset_ms, heard: Mutex::default() }
    }

    pub(super) fn uptime_ms(&self) -> u64 {
        self.source.uptime_ms()
    }

    /// The moment by the store's clock, and by the one that leases end by.
    #[inline]
    pub(super) fn now(&self) -> Now {
        let uptime_ms = self.uptime_ms();
        Now::at(self.store_ms(uptime_ms)).with_uptime(uptime_ms)
    }

    /// The store's time at a moment of the steady clock.
    pub(super) fn store_ms(&self, uptime_ms: u64) -> u64 {
        uptime_ms.saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }

    /// Takes in what an answer that has just come said; its call was sent at a moment of the steady clock. Where it says
    /// that the store's clock was set, `on_step` has been through before anything is counted by that clock.
    pub(super) fn hear(&self, sent_ms: u64, said_ms: u64, on_step: impl FnOnce()) {
        let mut heard = self.heard.lock();
        if heard.set_ms.is_some_and(|set_ms| sent_ms <= set_ms) {
            // It may have been said before the clock was set, and would set it back.
            return;
        }
        let uptime_ms = self.uptime_ms();
        let (held, said) = (self.offset_ms.load(Ordering::Relaxed), said_ms.saturating_sub(uptime_ms));
        let stepped = heard.any && size::clock_stepped(self.store_ms(sent_ms), self.store_ms(uptime_ms), said_ms);
        if stepped {
            on_step();
            heard.set_ms = Some(uptime_ms);
        }
        let offset = if heard.any && !stepped { said.max(held.saturating_sub(DRIFT_MS)) } else { said };
        heard.any = true;
        self.offset_ms.store(offset, Ordering::Relaxed);
    }
}

impl Source {
    #[inline]
    fn uptime_ms(&self) -> u64 {
        match self {
            Source::Machine => uptime_ms(),
            #[cfg(test)]
            Source::Runtime(since) => u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_stores_time_is_never_taken_to_be_later_than_it_is() {
        let clock = Clock::new(Source::Runtime(Instant::now()), 5_000_000);
        assert_eq!(clock.now().ms, 5_000_000);
        assert!(!is_step(&clock, 0, 9_000_000), "its first word is not a step");
        advance(Duration::from_millis(1_000)).await;
        assert_eq!((clock.now().ms, clock.now().uptime_ms), (9_001_000, 1_000));
        // An answer that took long is no reason to fall back, but for what a slower clock may explain.
        assert!(!is_step(&clock, 900, 9_000_900));
        assert_eq!(clock.now().ms, 9_000_999);
        assert!(!is_step(&clock, 1_000, 9_001_010));
        assert_eq!(clock.now().ms, 9_001_010);
        advance(Duration::from_millis(5_000)).await;
        assert!(!is_step(&clock, 1_000, 9_001_020), "this process stood still before it looked");
        assert_eq!(clock.now().ms, 9_006_009);
        assert!(is_step(&clock, 6_000, 8_000_000));
        assert_eq!(clock.now().ms, 8_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_the_stores_clock_was_found_to_be_set_says_nothing_of_it() {
        let clock = Clock::new(Source::Runtime(Instant::now()), 5_000_000);
        assert!(!is_step(&clock, 0, 5_000_000));
        advance(Duration::from_millis(100)).await;
        assert!(is_step(&clock, 90, 9_000_000));
        advance(Duration::from_millis(100)).await;
        assert!(!is_step(&clock, 50, 5_000_050), "it was answered before the clock was set, and came late");
        assert_eq!(clock.now().ms, 9_000_100);
        assert!(is_step(&clock, 190, 5_000_190), "it was set back");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_counted_by_a_clock_that_was_set_before_leases_have_ended() {
        let clock = Clock::new(Source::Runtime(Instant::now()), 5_000_000);
        assert!(!is_step(&clock, 0, 5_000_000));
        advance(Duration::from_millis(100)).await;
        let mut by = 0;
        clock.hear(90, 9_000_000, || by = clock.now().ms);
        assert_eq!((by, clock.now().ms), (5_000_100, 9_000_000));
    }

    fn is_step(clock: &Clock, sent_ms: u64, said_ms: u64) -> bool {
        let mut stepped = false;
        clock.hear(sent_ms, said_ms, || stepped = true);
        stepped
    }
}
