//! What one node of a fleet may admit of one subject: what the store that all nodes share has granted to it.
//!
//! A grant is a lower limit. Those of a day and a month are absolute: so many in all on that day, so that saying
//! one again changes nothing; admitting requests never writes here. Who grants, and when, is said in [`crate::lease`].

use super::{Now, Windows};
use crate::lease::size;
use clearway_config::Limits;

/// 64-bit words that [`Holding`] takes.
pub const HOLDING_WORDS: usize = 8;

/// What this node holds of one subject's limits. Plain values, fit for a mapped file: every pattern of bits is a state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// Days since 1970-01-01 that `day_granted` is of.
    pub day: u32,
    /// Year × 12 + month that `month_granted` is of.
    pub month: u32,
    /// May be admitted here in all on [`Holding::day`].
    pub day_granted: u64,
    pub month_granted: u64,
    /// Granted to no node when the store was last asked.
    pub day_beyond: u64,
    pub month_beyond: u64,
    /// Requests in any second, by this node's own sliding window.
    pub share: u32,
    /// When the share ends, by [`Now::uptime_ms`].
    pub share_until_ms: u64,
    /// Requests at the same time.
    pub slots: u32,
    pub slots_until_ms: u64,
    /// Seconds since 1970 that `second_granted` is of.
    pub second: u32,
    /// [`Windows::second_count`] may rise to this in [`Holding::second`].
    pub second_granted: u32,
    /// Neither granted nor shared out when the store was last asked.
    /// Below 2^24.
    pub second_beyond: u32,
    /// Slots that no node held when the store was last asked; no more than [`size::SLOTS_LEFT_MAX`] are told apart.
    pub slots_beyond: u32,
    /// More has been asked for, and the answer has not come.
    pub asked: bool,
    /// This day's part of what was left has been taken without the store, which was lost: that is done once.
    pub day_shared: bool,
    pub month_shared: bool,
    /// What is unspent of the day was taken without the store, and does not lapse with what was granted.
    pub day_debt: bool,
    pub month_debt: bool,
}

/// How many more requests a holding admits at this moment, of each limit; [`Room::UNBOUND`] where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub second: u64,
    pub day: u64,
    pub month: u64,
    pub concurrent: u64,
}

impl Room {
    pub const UNBOUND: u64 = u64::MAX;

    /// Whether one more is admitted.
    #[inline]
    pub fn is_short(&self) -> bool {
        self.second == 0 || self.day == 0 || self.month == 0 || self.concurrent == 0
    }
}

/// Days and months of seconds that fit into 32 bits fit into 16.
const WINDOW_MAX: u64 = u16::MAX as u64;
const COUNT_MAX: u64 = (1 << 56) - 1;
const ASKED: u64 = 1 << 63;
const DAY_SHARED: u64 = 1 << 62;
const MONTH_SHARED: u64 = 1 << 61;
const DAY_DEBT: u64 = 1 << 60;
const MONTH_DEBT: u64 = 1 << 59;
const NARROW_BITS: u32 = 24;
const NARROW_MAX: u32 = (1 << NARROW_BITS) - 1;
const UNTIL_MAX: u64 = (1 << (64 - NARROW_BITS)) - 1;

/// A share is asked for anew when it lasts no longer than this.
const SHARE_RENEW_MS: u64 = 700;
/// Slots are, when they last no longer than this.
const SLOTS_RENEW_MS: u64 = 5_000;

impl Holding {
    /// `windows` have been rolled to `now`. Not `valid`: nothing was heard of the store for so long that what it
    /// granted may have been given to others.
    #[inline]
    pub fn room(&self, now: &Now, windows: &Windows, limits: &Limits, valid: bool) -> Room {
        let of = |is_limited: bool, room: u64| if is_limited { room } else { Room::UNBOUND };
        let of_window = |is_its: bool, granted: u64, used: u64| if is_its { granted.saturating_sub(used) } else { 0 };
        let valid_day = self.day == windows.day && (valid || self.day_debt);
        let valid_month = self.month == windows.month && (valid || self.month_debt);
        let share = if self.has_share(now) { u64::from(self.share).saturating_sub(windows.weighted_second(now)) } else { 0 };
        let tokens = of_window(self.second == windows.second, u64::from(self.second_granted), u64::from(windows.second_count));
        let slots = if self.has_slots(now) { self.slots } else { 0 };
        Room {
            second: of(limits.per_second.is_some(), share.max(tokens)),
            day: of(limits.per_day.is_some(), of_window(valid_day, self.day_granted, windows.day_count)),
            month: of(
                limits.per_month.is_some() && !limits.overage,
                of_window(valid_month, self.month_granted, windows.month_count),
            ),
            concurrent: of(limits.concurrent.is_some(), u64::from(slots.saturating_sub(windows.concurrent))),
        }
    }

    #[inline]
    pub fn has_share(&self, now: &Now) -> bool {
        now.uptime_ms < self.share_until_ms
    }

    #[inline]
    pub fn has_slots(&self, now: &Now) -> bool {
        now.uptime_ms < self.slots_until_ms
    }

    /// Whether more is to be asked for, one request after `room` was looked at. Of a day or a month a quarter of two
    /// seconds' worth is left then: the answer comes before that is spent. What the store has nothing left of is not
    /// asked for by this.
    #[inline]
    pub fn is_low(&self, now: &Now, windows: &Windows, room: &Room) -> bool {
        let rate = u64::from(windows.second_before.max(windows.second_count));
        let is_spent = |room: u64, beyond: u64| room != Room::UNBOUND && beyond > 0 && size::is_low(room - 1, rate);
        // One request at a time needs nothing to spare.
        let is_last_slot = room.concurrent == 1 && self.slots_beyond > 0 && windows.concurrent > 0;
        is_spent(room.day, self.day_beyond)
            || is_spent(room.month, self.month_beyond)
            || (room.second != Room::UNBOUND && self.has_share(now) && self.share_until_ms - now.uptime_ms <= SHARE_RENEW_MS)
            || (room.concurrent != Room::UNBOUND
                && (is_last_slot || self.slots_until_ms.saturating_sub(now.uptime_ms) <= SLOTS_RENEW_MS))
    }

    /// Begins the day and the month that `windows` are in, where they are others: nothing is held of them yet.
    pub fn roll(&mut self, windows: &Windows) {
        if self.day != windows.day {
            (self.day, self.day_granted, self.day_beyond) = (windows.day, 0, 0);
            (self.day_shared, self.day_debt) = (false, false);
        }
        if self.month != windows.month {
            (self.month, self.month_granted, self.month_beyond) = (windows.month, 0, 0);
            (self.month_shared, self.month_debt) = (false, false);
        }
    }

    /// Keeps of what was granted what has been spent, and nothing that is leased until a time.
    pub fn give_up(&mut self, windows: &Windows) {
        self.roll(windows);
        self.day_granted = self.day_granted.min(windows.day_count);
        self.month_granted = self.month_granted.min(windows.month_count);
        (self.day_debt, self.month_debt) = (false, false);
        self.end_leases();
    }

    /// Ends what is leased until a time.
    pub fn end_leases(&mut self) {
        (self.share, self.share_until_ms, self.slots, self.slots_until_ms, self.second_granted) = (0, 0, 0, 0, 0);
    }

    /// As words, which are written in this order: see [`Holding::bared_for`].
    #[inline]
    pub fn to_words(&self) -> [u64; HOLDING_WORDS] {
        let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
        let until = |n: u32, until_ms: u64| u64::from(n.min(NARROW_MAX)) | until_ms.min(UNTIL_MAX) << NARROW_BITS;
        [
            u64::from(self.day) & WINDOW_MAX
                | (u64::from(self.month) & WINDOW_MAX) << 16
                | u64::from(self.second_beyond.min(NARROW_MAX)) << 32
                | u64::from(self.slots_beyond.min(size::SLOTS_LEFT_MAX)) << (32 + NARROW_BITS),
            self.day_granted.min(COUNT_MAX)
                | flag(self.asked, ASKED)
                | flag(self.day_shared, DAY_SHARED)
                | flag(self.month_shared, MONTH_SHARED)
                | flag(self.day_debt, DAY_DEBT)
                | flag(self.month_debt, MONTH_DEBT),
            self.month_granted,
            self.day_beyond,
            self.month_beyond,
            until(self.share, self.share_until_ms),
            until(self.slots, self.slots_until_ms),
            u64::from(self.second) | u64::from(self.second_granted) << 32,
        ]
    }

    /// The inverse of [`Holding::to_words`].
    #[inline]
    pub fn from_words(words: [u64; HOLDING_WORDS]) -> Self {
        let [windows, day_granted, month_granted, day_beyond, month_beyond, share, slots, second] = words;
        let low = |word: u64| (word & u64::from(u32::MAX)) as u32;
        let high = |word: u64| (word >> 32) as u32;
        let narrow = |word: u64| (word & u64::from(NARROW_MAX)) as u32;
        Self {
            day: (windows & WINDOW_MAX) as u32,
            month: (windows >> 16 & WINDOW_MAX) as u32,
            second_beyond: high(windows) & NARROW_MAX,
            slots_beyond: high(windows) >> NARROW_BITS,
            day_granted: day_granted & COUNT_MAX,
            month_granted,
            day_beyond,
            month_beyond,
            share: narrow(share),
            share_until_ms: share >> NARROW_BITS,
            slots: narrow(slots),
            slots_until_ms: slots >> NARROW_BITS,
            second: low(second),
            second_granted: high(second),
            asked: day_granted & ASKED != 0,
            day_shared: day_granted & DAY_SHARED != 0,
            month_shared: day_granted & MONTH_SHARED != 0,
            day_debt: day_granted & DAY_DEBT != 0,
            month_debt: day_granted & MONTH_DEBT != 0,
        }
    }

    /// What is to stand there before `after` is written: a process that is killed between two words must not leave
    /// one window's grant under another's name. `None` where nothing has to.
    pub fn bared_for(&self, after: &Self) -> Option<Self> {
        let (other_day, other_month) = (self.day != after.day, self.month != after.month);
        let other_second = self.second != after.second;
        let mut bare = *self;
        if other_day {
            (bare.day_granted, bare.day_beyond, bare.day_shared, bare.day_debt) = (0, 0, false, false);
        }
        if other_month {
            (bare.month_granted, bare.month_beyond, bare.month_shared, bare.month_debt) = (0, 0, false, false);
        }
        if other_second {
            bare.second_granted = 0;
        }
        (bare != *self).then_some(bare)
    }
}
