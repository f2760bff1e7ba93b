//! The time leases are counted by: it runs at one speed, and a test can move it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

/// Milliseconds since some moment before this process started. It goes on while the machine sleeps: a lease must not be
/// granted by what was read before.
#[derive(Debug, Clone)]
pub struct Clock {
    origin_ms: u64,
    ahead_ms: Arc<AtomicU64>,
    moved: Arc<Notify>,
}

/// So that "an hour before the start" is a time too: thirty days.
const BEFORE_START_MS: u64 = 30 * 86_400_000;

impl Default for Clock {
    fn default() -> Self {
        Self { origin_ms: uptime_ms(), ahead_ms: Arc::default(), moved: Arc::default() }
    }
}

impl Clock {
    pub fn now_ms(&self) -> u64 {
        let passed = uptime_ms().saturating_sub(self.origin_ms);
        BEFORE_START_MS.saturating_add(passed).saturating_add(self.ahead_ms.load(Ordering::Acquire))
    }

    /// What a test does instead of sleeping.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
        self.moved.notify_waiters();
    }

    /// Returns at `at_ms`, or when the clock was moved: look again.
    pub(super) async fn until(&self, at_ms: u64) {
        let moved = self.moved.notified();
        let left = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
        let _ = tokio::time::timeout(left, moved).await;
    }
}

fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Milliseconds since 1970 UTC, for what the database keeps.
pub(super) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
