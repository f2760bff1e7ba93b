//! Windows that the store has nothing left of: until when it is not asked about them again. Others may return what
//! they hold, so that none of this is for long; meanwhile requests are refused without a call.

use clearway_filters::{lease::size, quota::Room};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rechecks {
    pub(super) second: Recheck,
    pub(super) day: Recheck,
    pub(super) month: Recheck,
    pub(super) slots: Recheck,
}

/// Of one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Recheck {
    /// By the steady clock.
    until_ms: u64,
    /// Answers in a row that there is nothing.
    times: u32,
}

impl Rechecks {
    pub(super) const SLOTS_MS: u64 = 20;

    pub(super) fn long(times: u32) -> u64 {
        size::recheck_after_ms(times)
    }

    /// About when the sliding second has room for one more.
    pub(super) fn second_ms(limit: u32) -> u64 {
        (1_000 / u64::from(limit.max(1))).clamp(5, 250)
    }

    /// Whether a request that has no `room` is to be refused without asking.
    pub(super) fn forbid(&self, room: &Room, uptime_ms: u64) -> bool {
        let of = |room: u64, recheck: Recheck| room == 0 && uptime_ms < recheck.until_ms;
        of(room.second, self.second) || of(room.day, self.day) || of(room.month, self.month) || of(room.concurrent, self.slots)
    }
}

impl Recheck {
    pub(super) fn answered(&mut self, uptime_ms: u64, nothing: bool, wait_ms: impl Fn(u32) -> u64) {
        if nothing {
            self.times = self.times.saturating_add(1);
            self.until_ms = uptime_ms + wait_ms(self.times);
        } else {
            *self = Self::default();
        }
    }
}
