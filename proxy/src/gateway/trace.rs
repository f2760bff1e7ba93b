//! Ids of a request: ours (`req_…`) and W3C Trace Context's.
//!
//! A valid incoming `traceparent` is continued with a span of ours; anything else starts a new
//! trace. The ids need to be unique, not secret: one seeded generator a thread makes them.

use std::{cell::RefCell, fmt::Write as _};

use clearway_config::RequestId;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Characters in a `traceparent` of version 00.
pub(crate) const TRACEPARENT_CHARS: usize = 55;

/// Where a request stands in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) id: u128,
    /// The one that the upstream is told.
    pub(crate) span: u64,
    /// The caller's.
    pub(crate) parent: Option<u64>,
    pub(crate) flags: u8,
}

impl Trace {
    /// A span of its own in the trace that `incoming` names, or in a new one, of which `samples` says whether it is
    /// recorded. Of the other its caller has said so.
    pub(crate) fn continue_or_start(incoming: Option<&[u8]>, random: (u128, u64), samples: impl FnOnce(u128) -> bool) -> Self {
        // An all-zero id means "none" in both fields.
        let (fresh, span) = (random.0.max(1), random.1.max(1));
        match incoming.and_then(parse) {
            Some((id, parent, flags)) => Self { id, span, parent: Some(parent), flags },
            None => Self { id: fresh, span, parent: None, flags: u8::from(samples(fresh)) },
        }
    }

    /// Whether its spans are recorded.
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    pub(crate) fn write(&self, to: &mut String) {
        write!(to, "00-{:032x}-{:016x}-{:02x}", self.id, self.span, self.flags).expect("a String takes everything");
    }
}

/// Trace id, parent and flags of a valid `traceparent`; versions after 00 are read as far as 00 goes.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let later = text.len() > TRACEPARENT_CHARS;
    if text.len() < TRACEPARENT_CHARS || [text[2], text[35], text[52]] != *b"---" {
        return None;
    }
    let version = u8::try_from(hex(&text[..2])?).ok()?;
    if version == 0xff || (version == 0 && later) || (later && text[TRACEPARENT_CHARS] != b'-') {
        return None;
    }
    let (id, parent, flags) = (hex(&text[3..35])?, hex(&text[36..52])?, hex(&text[53..55])?);
    // Of the flags only `sampled` means anything to version 00.
    let (parent, flags) = (u64::try_from(parent).ok()?, u8::try_from(flags & 1).ok()?);
    (id != 0 && parent != 0).then_some((id, parent, flags))
}

/// Lower-case hexadecimal, as the specification demands.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |n: u128, d| {
        let value = match d {
            b'0'..=b'9' => d - b'0',
            b'a'..=b'f' => d - b'a' + 10,
            _ => return None,
        };
        Some(n << 4 | u128::from(value))
    })
}

/// A new request id and the random part of a new trace.
pub(crate) fn fresh_ids(now_ms: u64) -> (RequestId, (u128, u64)) {
    thread_local! {
        static RANDOM: RefCell<SmallRng> = RefCell::new(seeded());
    }
    RANDOM.with_borrow_mut(|rng| (RequestId::new(now_ms, rng.random()), (rng.random(), rng.random())))
}

fn seeded() -> SmallRng {
    let mut seed = <SmallRng as SeedableRng>::Seed::default();
    if getrandom::fill(&mut seed).is_err() {
        // The kernel has no randomness for us; the address of a local differs from thread to thread.
        let here = std::ptr::from_ref(&seed).addr();
        seed[..8].copy_from_slice(&(here as u64).to_le_bytes());
    }
    SmallRng::from_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_continued_with_a_span_of_our_own() {
        let incoming = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::continue_or_start(Some(incoming), (5, 7), |_| false);
        assert_eq!((trace.parent, trace.is_sampled()), (Some(0x00f0_67aa_0ba9_02b7), true));
        let mut text = String::new();
        trace.write(&mut text);
        assert_eq!(text, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01");
        assert_eq!(text.len(), TRACEPARENT_CHARS);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_version_00_goes() {
        let incoming = b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more";
        let trace = Trace::continue_or_start(Some(incoming), (5, 7), |_| false);
        assert_eq!((trace.id >> 64, trace.flags), (0x4bf9_2f35_77b3_4da6, 1));
    }

    #[test]
    fn anything_else_starts_a_new_trace() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ] {
            let trace = Trace::continue_or_start(Some(bad.as_bytes()), (5, 7), |_| false);
            assert_eq!(trace, Trace { id: 5, span: 7, parent: None, flags: 0 }, "{bad}");
        }
    }

    #[test]
    fn whether_a_trace_is_recorded_is_decided_where_it_begins() {
        let unsampled = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert!(!Trace::continue_or_start(Some(unsampled), (5, 7), |_| true).is_sampled(), "its caller has said no");
        let begun = Trace::continue_or_start(None, (5, 7), |id| id == 5);
        let mut text = String::new();
        begun.write(&mut text);
        assert_eq!(text, "00-00000000000000000000000000000005-0000000000000007-01", "upstreams are told");
    }
}
