//! Quotas: whether a request fits into the limits of its account and of its key, and what is left.
//!
//! One decision, all or nothing: a request is counted in every window of both subjects, or in none.
//! Day and month are exact counts of a UTC date and a UTC month. A second is a sliding window over
//! two adjacent UTC seconds: what the second before still weighs, plus what this one has counted.
//! Concurrency is counted here and given back by [`release`]; who calls it, and where the counters
//! live, is the ledger's business.
//!
//! A clock that steps back never reopens a budget: a day or month that has begun is not left again.

mod holding;
mod leased;
mod now;
mod standing;
#[cfg(test)]
mod tests;

use clearway_config::Limits;

pub use holding::{HOLDING_WORDS, Holding, Room};
pub use leased::{Leased, Withheld, decide_leased};
pub use now::{Now, day_begins_ms, day_ends_ms, month_begins_ms, month_ends_ms, month_seconds};
pub use standing::{Left, Standing, Subject, Window};
use standing::{LeftOfSubject, Of};

/// A clock behind a subject's second by no more than this counts in that second; one that is further
/// behind was set back, and the second is treated as the one just past.
pub const SECONDS_BACK_MAX: u32 = 2;

/// What a client is told to wait for a request of its own to end: nobody knows when that will be.
pub const CONCURRENT_RETRY_MS: u64 = 1_000;

/// One subject's counters. Plain values, fit for a mapped file: every pattern of bits is a state.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Windows {
    /// Admitted in [`Windows::day`].
    pub day_count: u64,
    /// Admitted in the day just before [`Windows::day`].
    pub day_before: u64,
    /// Admitted in [`Windows::month`].
    pub month_count: u64,
    /// When a request was last admitted, in milliseconds since 1970; 0 is never.
    pub last_used_ms: u64,
    /// Seconds since 1970.
    pub second: u32,
    /// Admitted in [`Windows::second`].
    pub second_count: u32,
    /// Admitted in the second just before it.
    pub second_before: u32,
    /// Days since 1970-01-01.
    pub day: u32,
    /// Year × 12 + month.
    pub month: u32,
    /// Being served now.
    pub concurrent: u32,
}

/// 64-bit words that [`Windows`] takes.
pub const WINDOWS_WORDS: usize = 7;

/// Which limit refused a request, and for how long it will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub subject: Subject,
    pub window: Window,
    pub limit: u64,
    /// After this the request would be admitted, if no other comes before it. For
    /// [`Window::Concurrent`] a guess, [`CONCURRENT_RETRY_MS`].
    pub retry_after_ms: u64,
}

/// A refusal, with what is left of every limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub refusal: Refusal,
    pub standing: Standing,
}

/// Counts one request in every window of its account and its key, or in none.
///
/// On a refusal neither is changed, beyond being rolled to the windows of `now`. Of several limits
/// that refuse it names the one that does so for longest: whoever waits for that meets no other.
#[inline]
pub fn decide(
    now: &Now,
    (account, account_limits): (&mut Windows, &Limits),
    (key, key_limits): (&mut Windows, &Limits),
) -> Result<Standing, Box<Refused>> {
    account.roll(now);
    key.roll(now);
    let mut standing = Standing {
        now_ms: now.ms,
        account: account.left(now, account_limits, Subject::Account),
        key: key.left(now, key_limits, Subject::Key),
    };
    if standing.account.refuses() || standing.key.refuses() {
        return Err(refused(now, standing, account, key));
    }
    account.count(now);
    key.count(now);
    standing.account.charge();
    standing.key.charge();
    Ok(standing)
}

/// [`decide`] for a subject that stands alone: an account whose request comes without a key, or an address.
pub fn decide_alone(now: &Now, subject: Subject, windows: &mut Windows, limits: &Limits) -> Result<Standing, Box<Refused>> {
    windows.roll(now);
    let nobody = Windows::default();
    let mut standing = Standing {
        now_ms: now.ms,
        account: windows.left(now, limits, subject),
        key: nobody.left(now, &Limits::UNLIMITED, Subject::Key),
    };
    if standing.account.refuses() {
        return Err(refused(now, standing, windows, &nobody));
    }
    windows.count(now);
    standing.account.charge();
    Ok(standing)
}

#[cold]
fn refused(now: &Now, standing: Standing, account: &Windows, key: &Windows) -> Box<Refused> {
    let refusals =
        standing.iter().filter(|left| left.remaining == 0).map(|Left { subject, window, limit, resets_at_ms, .. }| {
            let windows = match subject {
                Subject::Account | Subject::Address => account,
                Subject::Key => key,
            };
            let retry_after_ms = match window {
                Window::Second => windows.second_wait_ms(now, limit),
                Window::Day | Window::Month => resets_at_ms - now.ms,
                Window::Concurrent => CONCURRENT_RETRY_MS,
            };
            Refusal { subject, window, limit, retry_after_ms }
        });
    // Of two that last as long the account's, which was there first.
    let longest = refusals.reduce(|one, other| if other.retry_after_ms > one.retry_after_ms { other } else { one });
    Box::new(Refused { refusal: longest.expect("called where one refuses"), standing })
}

/// Gives back the concurrency that an admitted request held. Its other counts stay: it was served.
#[inline]
pub fn release(windows: &mut Windows) {
    windows.concurrent = windows.concurrent.saturating_sub(1);
}

impl Windows {
    /// Moves on to the windows of `now`; counts of windows that are over are dropped.
    #[inline]
    pub fn roll(&mut self, now: &Now) {
        if now.second > self.second {
            self.second_before = if now.second - self.second == 1 { self.second_count } else { 0 };
            self.second_count = 0;
            self.second = now.second;
        } else if self.second - now.second > SECONDS_BACK_MAX {
            self.second_before = self.second_count;
            self.second_count = 0;
            self.second = now.second;
        }
        if now.day > self.day {
            self.day_before = if now.day - self.day == 1 { self.day_count } else { 0 };
            self.day_count = 0;
            self.day = now.day;
        }
        if now.month > self.month {
            self.month_count = 0;
            self.month = now.month;
        }
    }

    /// What [`Windows::roll`] would drop: the day and its count. `None` where it drops no day that counted.
    #[inline]
    pub fn day_dropped_by(&self, now: &Now) -> Option<(u32, u64)> {
        let dropped = match now.day.checked_sub(self.day) {
            None | Some(0) => return None,
            Some(1) => (self.day.wrapping_sub(1), self.day_before),
            Some(_) if self.day_count == 0 => (self.day.wrapping_sub(1), self.day_before),
            Some(_) => (self.day, self.day_count),
        };
        (dropped.1 > 0).then_some(dropped)
    }

    /// Admitted on `day`, as far as it is still known here.
    pub fn admitted_on(&self, day: u32) -> u64 {
        match self.day.checked_sub(day) {
            Some(0) => self.day_count,
            Some(1) => self.day_before,
            _ => 0,
        }
    }

    /// As words, lowest field first.
    #[inline]
    pub fn to_words(&self) -> [u64; WINDOWS_WORDS] {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        [
            self.day_count,
            self.day_before,
            self.month_count,
            self.last_used_ms,
            pair(self.second, self.second_count),
            pair(self.second_before, self.day),
            pair(self.month, self.concurrent),
        ]
    }

    /// The inverse of [`Windows::to_words`].
    #[inline]
    pub fn from_words(words: [u64; WINDOWS_WORDS]) -> Self {
        let [day_count, day_before, month_count, last_used_ms, a, b, c] = words;
        let low = |word: u64| (word & u64::from(u32::MAX)) as u32;
        let high = |word: u64| (word >> 32) as u32;
        Self {
            day_count,
            day_before,
            month_count,
            last_used_ms,
            second: low(a),
            second_count: high(a),
            second_before: low(b),
            day: high(b),
            month: low(c),
            concurrent: high(c),
        }
    }

    /// What is left of every limit, before the request is counted.
    #[inline]
    fn left(&self, now: &Now, limits: &Limits, subject: Subject) -> LeftOfSubject {
        let of = |limit: Option<u64>, used: u64| {
            let limit = limit.unwrap_or(0);
            Of { limit, remaining: limit.saturating_sub(used) }
        };
        let of_few = |limit: Option<u32>, used: u32| {
            let limit = limit.unwrap_or(0);
            Of { limit, remaining: limit.saturating_sub(used) }
        };
        LeftOfSubject {
            second: of_few(limits.per_second, self.second_count.saturating_add(self.weight_of_second_before(now))),
            day: of(limits.per_day, self.day_count),
            month: of(limits.per_month.filter(|_| !limits.overage), self.month_count),
            concurrent: of_few(limits.concurrent, self.concurrent),
            subject,
            second_at: self.second,
            day_at: self.day,
            month_at: self.month,
        }
    }

    #[inline]
    fn count(&mut self, now: &Now) {
        self.second_count = self.second_count.saturating_add(1);
        self.day_count += 1;
        self.month_count += 1;
        self.concurrent = self.concurrent.saturating_add(1);
        self.last_used_ms = self.last_used_ms.max(now.ms);
    }

    /// Milliseconds into [`Windows::second`]; its very beginning, while the clock is behind it.
    #[inline]
    fn milli(&self, now: &Now) -> u64 {
        if self.second > now.second { 0 } else { u64::from(now.milli) }
    }

    /// What this second and what still counts of the one before come to.
    #[inline]
    pub fn weighted_second(&self, now: &Now) -> u64 {
        u64::from(self.second_count) + u64::from(self.weight_of_second_before(now))
    }

    /// How many requests of the second before still count. The running millisecond is taken as past
    /// and fractions are dropped: a caller that paces itself at exactly its limit is never refused.
    #[inline]
    fn weight_of_second_before(&self, now: &Now) -> u32 {
        let weight = u64::from(self.second_before) * (999 - self.milli(now)) / 1_000;
        u32::try_from(weight).expect("less than a u32 that it is a part of")
    }

    /// How long until the sliding second has room for one more.
    fn second_wait_ms(&self, now: &Now, limit: u64) -> u64 {
        let (count, before) = (u64::from(self.second_count), u64::from(self.second_before));
        // The first millisecond at which `weight` requests of the second before weigh less than `room`.
        let opens =
            |room: u64, weight: u64| if weight == 0 { 0 } else { 1_000_u64.saturating_sub((room * 1_000).div_ceil(weight)) };
        let into_second = if count < limit { opens(limit - count, before) } else { 1_000 + opens(limit, count) };
        u64::from(self.second) * 1_000 + into_second - now.ms
    }
}
