//! The store's time, as far as it can be told here: windows are counted by it on every node, so that no node's own
//! clock decides when a day ends. Between answers it goes on by the machine's steady clock, which nobody sets.

use std::sync::atomic::{AtomicU64, Ordering};

use clearway_filters::{lease::size, quota::Now};

use crate::snapshot::uptime_ms;

/// What the estimate falls back by with each answer, so that it follows a store whose clock goes slower.
const DRIFT_MS: u64 = 1;

#[derive(Debug)]
pub(super) struct Clock {
    source: Source,
    /// Store's milliseconds since 1970 less those of the steady clock. Never ahead of the truth: an answer is older
    /// than its arrival.
    offset_ms: AtomicU64,
    /// Whether the store has said its time yet.
    heard: AtomicU64,
}

/// A steady clock.
#[derive(Debug)]
pub(super) enum Source {
    Machine,
    /// The runtime's, which tests move.
    #[cfg(test)]
    Runtime(tokio::time::Instant),
}

/// What an answer said of the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    AsExpected,
    /// It was set.
    Stepped,
}

impl Clock {
    /// By the machine's own clock, until the store has been heard.
    pub(super) fn new(source: Source, wall_ms: u64) -> Self {
        let offset_ms = AtomicU64::new(wall_ms.saturating_sub(source.uptime_ms()));
        Self { source, offset_ms, heard: AtomicU64::new(0) }
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

    /// Takes in what an answer that has just come said; its call was sent at a moment of the steady clock.
    pub(super) fn hear(&self, sent_ms: u64, said_ms: u64) -> Heard {
        let uptime_ms = self.uptime_ms();
        let (held, said) = (self.offset_ms.load(Ordering::Relaxed), said_ms.saturating_sub(uptime_ms));
        let first = self.heard.swap(1, Ordering::Relaxed) == 0;
        let stepped = !first && size::clock_stepped(self.store_ms(sent_ms), self.store_ms(uptime_ms), said_ms);
        let offset = if first || stepped { said } else { said.max(held.saturating_sub(DRIFT_MS)) };
        self.offset_ms.store(offset, Ordering::Relaxed);
        if stepped { Heard::Stepped } else { Heard::AsExpected }
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
        assert_eq!(clock.hear(0, 9_000_000), Heard::AsExpected, "its first word is not a step");
        advance(Duration::from_millis(1_000)).await;
        assert_eq!((clock.now().ms, clock.now().uptime_ms), (9_001_000, 1_000));
        // An answer that took long is no reason to fall back, but for what a slower clock may explain.
        assert_eq!(clock.hear(900, 9_000_900), Heard::AsExpected);
        assert_eq!(clock.now().ms, 9_000_999);
        assert_eq!(clock.hear(1_000, 9_001_010), Heard::AsExpected);
        assert_eq!(clock.now().ms, 9_001_010);
        advance(Duration::from_millis(5_000)).await;
        assert_eq!(clock.hear(1_000, 9_001_020), Heard::AsExpected, "this process stood still before it looked");
        assert_eq!(clock.now().ms, 9_006_009);
        assert_eq!(clock.hear(6_000, 8_000_000), Heard::Stepped);
        assert_eq!(clock.now().ms, 8_000_000);
    }
}
