//! What is left: of every limit of a request's account and key, after it was charged or refused.

use std::cmp::Ordering;

/// Whose limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Account,
    Key,
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

const NOTHING: Left = Left { subject: Subject::Account, window: Window::Second, limit: 0, remaining: 0, resets_at_ms: 0 };
/// Two subjects with four windows each.
const LIMITS_MAX: usize = 8;

/// What is left of every limit that can refuse a request: the account's first, shortest window first.
///
/// A month with overage is not among them: it refuses nothing, so there is nothing that could be left.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    now_ms: u64,
    month_seconds: u32,
    length: u8,
    lefts: [Left; LIMITS_MAX],
}

impl Standing {
    pub(super) fn new(now_ms: u64, month_seconds: u32) -> Self {
        Self { now_ms, month_seconds, length: 0, lefts: [NOTHING; LIMITS_MAX] }
    }

    #[inline]
    pub(super) fn push(&mut self, left: Left) {
        self.lefts[usize::from(self.length)] = left;
        self.length += 1;
    }

    /// Takes one request off every limit.
    #[inline]
    pub(super) fn charge(&mut self) {
        for left in &mut self.lefts[..usize::from(self.length)] {
            left.remaining -= 1;
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Left> {
        self.lefts[..usize::from(self.length)].iter()
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The moment it speaks of.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The window nearest to exhaustion: the smallest part left. Concurrency is left out, since it has
    /// no end to wait for; `None` where no window is limited.
    pub fn nearest(&self) -> Option<&Left> {
        self.iter().filter(|left| left.window != Window::Concurrent).min_by(|a, b| nearer_to_exhaustion(a, b))
    }

    /// Seconds until a window ends, rounded up.
    pub fn resets_in_s(&self, left: &Left) -> u64 {
        left.resets_at_ms.saturating_sub(self.now_ms).div_ceil(1_000)
    }

    /// How long a window is; `None` for concurrency.
    pub fn window_s(&self, window: Window) -> Option<u64> {
        match window {
            Window::Second => Some(1),
            Window::Day => Some(86_400),
            Window::Month => Some(u64::from(self.month_seconds)),
            Window::Concurrent => None,
        }
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        self.now_ms == other.now_ms && self.iter().eq(other.iter())
    }
}

impl Eq for Standing {}

/// By part left, then by number left; of two alike the longer window, which stays exhausted for longer.
fn nearer_to_exhaustion(a: &Left, b: &Left) -> Ordering {
    let part_of_a = u128::from(a.remaining) * u128::from(b.limit);
    let part_of_b = u128::from(b.remaining) * u128::from(a.limit);
    part_of_a.cmp(&part_of_b).then(a.remaining.cmp(&b.remaining)).then(b.window.cmp(&a.window))
}
