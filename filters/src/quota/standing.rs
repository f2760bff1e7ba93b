//! What is left: of every limit of a request's account and key, after it was charged or refused.

use std::cmp::Ordering;

use super::now::{day_ends_ms, month_ends_ms, month_seconds};

/// Whose limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Account,
    Key,
    /// A client's address, where requests come without a credential.
    Address,
}

/// Which limit. In the order in which they are listed everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    Second,
    Day,
    Month,
    Concurrent,
}

impl Subject {
    pub const fn as_str(self) -> &'static str {
        match self {
            Subject::Account => "account",
            Subject::Key => "key",
            Subject::Address => "address",
        }
    }
}

impl Window {
    pub const fn as_str(self) -> &'static str {
        match self {
            Window::Second => "second",
            Window::Day => "day",
            Window::Month => "month",
            Window::Concurrent => "concurrent",
        }
    }
}

/// One limit and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub subject: Subject,
    pub window: Window,
    pub limit: u64,
    /// How many more requests this limit would admit at this very moment.
    pub remaining: u64,
    /// When the window ends, in milliseconds since 1970; for [`Window::Concurrent`], which has no end, the moment itself.
    pub resets_at_ms: u64,
}

/// What is left of every limit that can refuse a request: the account's first, shortest window first.
///
/// A month with overage is not among them: it refuses nothing, so there is nothing that could be left.
/// Every request carries one of these around, so it is kept small, and taken apart only when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub(super) now_ms: u64,
    /// Of whoever is asked first: the account, or an address that stands alone.
    pub(super) account: LeftOfSubject,
    pub(super) key: LeftOfSubject,
}

/// One subject's limits; a limit of zero, which does not exist, stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOfSubject {
    pub(super) second: Of<u32>,
    pub(super) day: Of<u64>,
    pub(super) month: Of<u64>,
    pub(super) concurrent: Of<u32>,
    pub(super) subject: Subject,
    /// The windows themselves, as in [`super::Windows`].
    pub(super) second_at: u32,
    pub(super) day_at: u32,
    pub(super) month_at: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Of<N> {
    pub(super) limit: N,
    pub(super) remaining: N,
}

impl LeftOfSubject {
    /// Whether there is a limit with nothing left.
    #[inline]
    pub(super) fn refuses(&self) -> bool {
        (self.second.limit != 0 && self.second.remaining == 0)
            || (self.day.limit != 0 && self.day.remaining == 0)
            || (self.month.limit != 0 && self.month.remaining == 0)
            || (self.concurrent.limit != 0 && self.concurrent.remaining == 0)
    }

    /// Takes one request off every limit. Only where none refuses.
    #[inline]
    pub(super) fn charge(&mut self) {
        self.second.remaining = self.second.remaining.saturating_sub(1);
        self.day.remaining = self.day.remaining.saturating_sub(1);
        self.month.remaining = self.month.remaining.saturating_sub(1);
        self.concurrent.remaining = self.concurrent.remaining.saturating_sub(1);
    }

    fn limited(&self, now_ms: u64) -> impl Iterator<Item = Left> {
        let subject = self.subject;
        let wide = |of: Of<u32>| (u64::from(of.limit), u64::from(of.remaining));
        let left = move |window, (limit, remaining), resets_at_ms| Left { subject, window, limit, remaining, resets_at_ms };
        [
            left(Window::Second, wide(self.second), (u64::from(self.second_at) + 1) * 1_000),
            left(Window::Day, (self.day.limit, self.day.remaining), day_ends_ms(self.day_at)),
            left(Window::Month, (self.month.limit, self.month.remaining), month_ends_ms(self.month_at)),
            left(Window::Concurrent, wide(self.concurrent), now_ms),
        ]
        .into_iter()
        .filter(|left| left.limit != 0)
    }
}

impl Standing {
    pub fn iter(&self) -> impl Iterator<Item = Left> {
        self.account.limited(self.now_ms).chain(self.key.limited(self.now_ms))
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The moment it speaks of.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The window nearest to exhaustion: the smallest part left. Concurrency is left out, since it has
    /// no end to wait for; `None` where no window is limited.
    pub fn nearest(&self) -> Option<Left> {
        self.iter().filter(|left| left.window != Window::Concurrent).min_by(nearer_to_exhaustion)
    }

    /// Seconds until a window ends, rounded up.
    pub fn resets_in_s(&self, left: &Left) -> u64 {
        left.resets_at_ms.saturating_sub(self.now_ms).div_ceil(1_000)
    }

    /// How long a window is; `None` for concurrency.
    pub fn window_s(&self, left: &Left) -> Option<u64> {
        match left.window {
            Window::Second => Some(1),
            Window::Day => Some(86_400),
            Window::Month => Some(month_seconds(match left.subject {
                Subject::Account | Subject::Address => self.account.month_at,
                Subject::Key => self.key.month_at,
            })),
            Window::Concurrent => None,
        }
    }
}

/// By part left, then by number left; of two alike the longer window, which stays exhausted for longer.
fn nearer_to_exhaustion(a: &Left, b: &Left) -> Ordering {
    let part_of_a = u128::from(a.remaining) * u128::from(b.limit);
    let part_of_b = u128::from(b.remaining) * u128::from(a.limit);
    part_of_a.cmp(&part_of_b).then(a.remaining.cmp(&b.remaining)).then(b.window.cmp(&a.window))
}
