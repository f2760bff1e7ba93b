//! Header values that tell a client where it stands: `X-RateLimit-*` for the window nearest to
//! exhaustion, and `RateLimit-Policy` and `RateLimit` (IETF draft-ietf-httpapi-ratelimit-headers-11)
//! for all of them.
//!
//! Values are written into a [`Text`] that the caller reuses; nothing is allocated.

use crate::quota::{Left, Standing, Subject, Window};

/// Bytes in a header value at most: eight items of `"account-concurrent";q=1000000000000000;w=2678400, `.
const TEXT_BYTES_MAX: usize = 512;

/// A header value being written.
#[derive(Debug, Clone)]
pub struct Text {
    length: usize,
    bytes: [u8; TEXT_BYTES_MAX],
}

impl Default for Text {
    fn default() -> Self {
        Self { length: 0, bytes: [0; TEXT_BYTES_MAX] }
    }
}

impl Text {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn restart(&mut self) {
        self.length = 0;
    }

    fn push(&mut self, text: &str) {
        let end = self.length + text.len();
        self.bytes[self.length..end].copy_from_slice(text.as_bytes());
        self.length = end;
    }

    fn push_number(&mut self, mut number: u64) {
        let end = self.length + number.checked_ilog10().unwrap_or(0) as usize + 1;
        for digit in self.bytes[self.length..end].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.length = end;
    }
}

/// A number as a header value, for `X-RateLimit-*` and `Retry-After`.
pub fn number(text: &mut Text, number: u64) -> &[u8] {
    text.restart();
    text.push_number(number);
    text.as_bytes()
}

/// What `X-RateLimit-Limit`, `-Remaining` and `-Reset` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearest {
    pub limit: u64,
    pub remaining: u64,
    /// Seconds since 1970 UTC.
    pub reset: u64,
}

/// The window nearest to exhaustion; `None` where none is limited.
pub fn nearest(standing: &Standing) -> Option<Nearest> {
    standing.nearest().map(|left| Nearest {
        limit: left.limit,
        remaining: left.remaining,
        reset: left.resets_at_ms.div_ceil(1_000),
    })
}

/// `RateLimit-Policy`: every limit and the length of its window in seconds. Empty where nothing is limited.
pub fn policy<'t>(text: &'t mut Text, standing: &Standing) -> &'t [u8] {
    text.restart();
    for left in standing.iter() {
        push_name(text, &left);
        text.push(";q=");
        text.push_number(left.limit);
        if let Some(window_s) = standing.window_s(&left) {
            text.push(";w=");
            text.push_number(window_s);
        }
    }
    text.as_bytes()
}

/// `RateLimit`: what is left of every limit and in how many seconds it is whole again.
pub fn left<'t>(text: &'t mut Text, standing: &Standing) -> &'t [u8] {
    text.restart();
    for left in standing.iter() {
        push_name(text, &left);
        text.push(";r=");
        text.push_number(left.remaining);
        if left.window != Window::Concurrent {
            text.push(";t=");
            text.push_number(standing.resets_in_s(&left));
        }
    }
    text.as_bytes()
}

/// `Retry-After` in whole seconds, at least one: rounded up, so that nobody comes back too early.
pub fn retry_after_s(retry_after_ms: u64) -> u64 {
    retry_after_ms.div_ceil(1_000).max(1)
}

/// The item's name, after a comma unless it is the first. Whole literals: one copy an item is what this costs.
fn push_name(text: &mut Text, left: &Left) {
    let name = match (left.subject, left.window) {
        (Subject::Account, Window::Second) => ", \"account-second\"",
        (Subject::Account, Window::Day) => ", \"account-day\"",
        (Subject::Account, Window::Month) => ", \"account-month\"",
        (Subject::Account, Window::Concurrent) => ", \"account-concurrent\"",
        (Subject::Key, Window::Second) => ", \"key-second\"",
        (Subject::Key, Window::Day) => ", \"key-day\"",
        (Subject::Key, Window::Month) => ", \"key-month\"",
        (Subject::Key, Window::Concurrent) => ", \"key-concurrent\"",
        (Subject::Address, Window::Second) => ", \"address-second\"",
        (Subject::Address, Window::Day) => ", \"address-day\"",
        (Subject::Address, Window::Month) => ", \"address-month\"",
        (Subject::Address, Window::Concurrent) => ", \"address-concurrent\"",
    };
    text.push(if text.length == 0 { &name[2..] } else { name });
}

#[cfg(test)]
mod tests {
    use clearway_config::{
        Limits,
        limits::{PER_DAY_MAX, PER_SECOND_MAX},
    };

    use super::*;
    use crate::quota::{Now, Windows, decide};

    // 2026-02-10T12:00:00.250Z
    const NOON_MS: u64 = 1_770_724_800_250;

    fn written(write: fn(&mut Text, &Standing) -> Vec<u8>, standing: &Standing) -> String {
        let mut text = Text::default();
        number(&mut text, 17);
        String::from_utf8(write(&mut text, standing)).unwrap()
    }

    #[test]
    fn every_limited_window_is_an_item_of_both_fields() {
        let account = Limits::new(Some(10), Some(10_000), Some(100_000), Some(5), false).unwrap();
        let key = Limits { per_day: Some(100), ..Limits::UNLIMITED };
        let standing = decide(&Now::at(NOON_MS), (&mut Windows::default(), &account), (&mut Windows::default(), &key)).unwrap();
        assert_eq!(
            written(|text, standing| policy(text, standing).to_vec(), &standing),
            "\"account-second\";q=10;w=1, \"account-day\";q=10000;w=86400, \"account-month\";q=100000;w=2419200, \
             \"account-concurrent\";q=5, \"key-day\";q=100;w=86400"
        );
        assert_eq!(
            written(|text, standing| left(text, standing).to_vec(), &standing),
            "\"account-second\";r=9;t=1, \"account-day\";r=9999;t=43200, \"account-month\";r=99999;t=1598400, \
             \"account-concurrent\";r=4, \"key-day\";r=99;t=43200"
        );
        assert_eq!(nearest(&standing), Some(Nearest { limit: 10, remaining: 9, reset: 1_770_724_801 }));
    }

    #[test]
    fn the_longest_value_that_limits_allow_fits() {
        let most = Limits::new(Some(PER_SECOND_MAX), Some(PER_DAY_MAX), Some(PER_DAY_MAX), Some(PER_SECOND_MAX), false).unwrap();
        let standing = decide(&Now::at(NOON_MS), (&mut Windows::default(), &most), (&mut Windows::default(), &most)).unwrap();
        assert_eq!(written(|text, standing| policy(text, standing).to_vec(), &standing).matches("q=").count(), 8);
        assert_eq!(written(|text, standing| left(text, standing).to_vec(), &standing).matches("r=").count(), 8);
    }

    #[test]
    fn without_limits_there_is_nothing_to_say() {
        let standing = decide(
            &Now::at(NOON_MS),
            (&mut Windows::default(), &Limits::UNLIMITED),
            (&mut Windows::default(), &Limits { per_month: Some(1), overage: true, ..Limits::UNLIMITED }),
        )
        .unwrap();
        assert_eq!(written(|text, standing| policy(text, standing).to_vec(), &standing), "");
        assert_eq!(nearest(&standing), None);
    }

    #[test]
    fn numbers_are_decimal_and_waits_are_rounded_up() {
        let mut text = Text::default();
        for n in [0, 9, 10, 1_234_567, u64::MAX] {
            assert_eq!(number(&mut text, n), n.to_string().as_bytes());
        }
        assert_eq!((retry_after_s(0), retry_after_s(1_000), retry_after_s(1_001)), (1, 1, 2));
    }
}
