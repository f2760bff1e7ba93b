//! How long this proxy may decide by what it holds without hearing from control.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

/// What control says about deciding without it. Until it has said anything, nothing may be decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Refuse when the lease has run out.
    #[default]
    Strict,
    /// Keep serving.
    Available,
}

/// Read on every request, renewed about once a second.
#[derive(Debug, Default)]
pub struct Lease {
    mode: AtomicU8,
    valid_until_ms: AtomicU64,
}

const AVAILABLE: u8 = 1;

impl Lease {
    /// Whether a request that comes in now may be decided at all.
    pub fn holds(&self) -> bool {
        // The clock costs as much as a look-up: it is read only where the answer hangs on it.
        self.mode() == Mode::Available || self.holds_at(uptime_ms())
    }

    pub fn mode(&self) -> Mode {
        if self.mode.load(Ordering::Acquire) == AVAILABLE { Mode::Available } else { Mode::Strict }
    }

    /// When a strict lease ends, of [`uptime_ms`]: the same clock for every process of this machine.
    pub(crate) fn until_ms(&self) -> u64 {
        self.valid_until_ms.load(Ordering::Acquire)
    }

    /// How much longer, for people and metrics.
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.valid_until_ms.load(Ordering::Acquire).saturating_sub(uptime_ms()))
    }

    /// Whether a strict lease runs at `now_ms` of [`uptime_ms`].
    fn holds_at(&self, now_ms: u64) -> bool {
        now_ms < self.valid_until_ms.load(Ordering::Acquire)
    }

    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(if mode == Mode::Available { AVAILABLE } else { 0 }, Ordering::Release);
    }

    /// Counted from when the heartbeat was sent, not from when its answer came: control counts from in
    /// between, so that a lease ends here before control believes that it has.
    pub fn renew(&self, sent_ms: u64, lease_ms: u64) {
        self.valid_until_ms.fetch_max(sent_ms.saturating_add(lease_ms), Ordering::AcqRel);
    }
}

/// Milliseconds since the machine started, asleep or awake: a lease must not outlive a suspended laptop
/// or a virtual machine that was moved.
pub fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_was_told_nothing_refuses() {
        assert!(!Lease::default().holds());
    }

    #[test]
    fn a_lease_runs_from_when_the_heartbeat_was_sent_and_an_older_answer_never_shortens_it() {
        let lease = Lease::default();
        lease.renew(5_000, 10_000);
        lease.renew(4_000, 10_000);
        assert!(lease.holds_at(14_999));
        assert!(!lease.holds_at(15_000));
    }

    #[test]
    fn available_keeps_serving_without_a_lease() {
        let lease = Lease::default();
        lease.set_mode(Mode::Available);
        assert!(lease.holds());
        lease.set_mode(Mode::Strict);
        assert!(!lease.holds());
    }
}
