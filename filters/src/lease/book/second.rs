//! A second: tokens of the running one, and shares of every one until a time.
//!
//! What counts against the limit is the sum of all shares, the tokens of this second, and what those of the second before
//! still weigh in a sliding window. Sliding windows add up: nodes that each keep to their share keep to the sum of shares.
//! But a node that spends its share early in a second has spent it for the whole of it, and it weighs in the next. So a
//! share that was lowered, cut or has ended counts until the end of the second after.

use std::collections::BTreeMap;

use super::Moment;
use crate::lease::{HeldSecond, NodeId, SecondAsk, SecondGiven};
use crate::quota::SECONDS_BACK_MAX;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct SecondBook {
    /// Seconds since 1970.
    second: u64,
    /// Tokens of it, and of the one before.
    tokens: u64,
    tokens_before: u64,
    nodes: BTreeMap<NodeId, Record>,
    #[cfg(test)]
    tailless: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Record {
    share: u64,
    until_ms: u64,
    /// What the node would like; counts until `until_ms`.
    want: u64,
    /// What it had, which counts through the second `old_until`.
    old: u64,
    old_until: u64,
    seen: (u64, u64),
}

impl SecondBook {
    #[cfg(test)]
    pub(super) fn set_tailless(&mut self, tailless: bool) {
        self.tailless = tailless;
    }

    pub(super) fn seen(&self, node: &NodeId) -> Option<(u64, u64)> {
        self.nodes.get(node).map(|record| record.seen)
    }

    pub(super) fn take(&mut self, at: Moment<'_>, ask: &SecondAsk) -> SecondGiven {
        let Moment { now_ms, caller, policy } = at;
        self.roll(now_ms);
        self.clip_and_forget(at);
        let mut record = self.hold(at, u64::from(ask.share));
        let limit = u64::from(ask.limit);
        let others: u64 = self.nodes.values().map(|other| self.weight(other)).sum();
        let mut spent = others + self.tokens + self.tokens_weight(now_ms);

        let held = record.share;
        record.want = u64::from(ask.want_share);
        if record.want > 0 {
            let wanted: u64 = self.nodes.values().filter(|other| now_ms < other.until_ms).map(|other| other.want).sum();
            record.share = record.want.min(fair(limit, record.want, wanted + record.want)).min(limit.saturating_sub(spent));
            if record.share < held {
                // It may never hear of it.
                record.keep_old(held, record.until_ms / 1_000 + 1);
            }
            record.until_ms = now_ms + policy.share_lease_ms;
        }
        spent += self.weight(&record);
        let mut tokens = 0;
        if record.share == 0 {
            tokens = u64::from(ask.want_tokens).min(limit.saturating_sub(spent));
            self.tokens += tokens;
        }
        self.nodes.insert(caller.node, record);
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        SecondGiven {
            share: narrow(record.share),
            until_ms: record.until_ms,
            tokens: narrow(tokens),
            second: narrow(self.second),
            left: narrow(limit.saturating_sub(spent + tokens)),
        }
    }

    /// Takes over a share as it is, and what the node has admitted lately as tokens. These are added only the `first`
    /// time, as far as that is known: counted twice they are gone in two seconds.
    pub(super) fn restore(&mut self, at: Moment<'_>, held: &HeldSecond, first: bool) {
        self.roll(at.now_ms);
        self.clip_and_forget(at);
        let mut record = self.hold(at, u64::from(held.share));
        record.share = u64::from(held.share);
        record.until_ms = at.now_ms + held.lasts_ms.min(at.policy.share_lease_ms);
        self.nodes.insert(at.caller.node, record);
        if first {
            let (second, count, before) = (u64::from(held.second), u64::from(held.count), u64::from(held.before));
            let of = |wanted: u64| match second {
                _ if second == wanted => count,
                _ if second == wanted + 1 => before,
                _ => 0,
            };
            // A node a little ahead of this second has counted in it what is counted here.
            self.tokens += if second == self.second + 1 { count + before } else { of(self.second) };
            self.tokens_before += if second == self.second + 1 { 0 } else { of(self.second - 1) };
        }
    }

    /// As [`crate::quota::Windows::roll`].
    fn roll(&mut self, now_ms: u64) {
        let second = now_ms / 1_000;
        if second > self.second {
            self.tokens_before = if second - self.second == 1 { self.tokens } else { 0 };
            self.tokens = 0;
            self.second = second;
        } else if self.second - second > u64::from(SECONDS_BACK_MAX) {
            self.tokens_before = self.tokens;
            self.tokens = 0;
            self.second = second;
        }
    }

    /// What tokens of the second before still weigh.
    fn tokens_weight(&self, now_ms: u64) -> u64 {
        let milli = if self.second > now_ms / 1_000 { 0 } else { now_ms % 1_000 };
        self.tokens_before * (999 - milli) / 1_000
    }

    /// What a node counts for in this second.
    fn weight(&self, record: &Record) -> u64 {
        #[cfg(test)]
        if self.tailless {
            return if self.second * 1_000 < record.until_ms { record.share } else { 0 };
        }
        let share = if self.second <= record.until_ms / 1_000 + 1 { record.share } else { 0 };
        let old = if self.second <= record.old_until { record.old } else { 0 };
        share.max(old)
    }

    /// Times that lie too far ahead were said before the clock was set back. Nodes that count for nothing are dropped.
    fn clip_and_forget(&mut self, at: Moment<'_>) {
        let until_ms_max = at.now_ms + at.policy.share_lease_ms;
        let old_until_max = self.second + at.policy.share_lease_ms / 1_000 + 2;
        for record in self.nodes.values_mut() {
            record.until_ms = record.until_ms.min(until_ms_max);
            record.old_until = record.old_until.min(old_until_max);
        }
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.retain(|_, record| at.now_ms < record.until_ms || self.weight(record) > 0);
        self.nodes = nodes;
    }

    /// Takes the node's record out, set to what the node says.
    fn hold(&mut self, at: Moment<'_>, share: u64) -> Record {
        let mut record = self.nodes.remove(&at.caller.node).unwrap_or_default();
        if share < record.share {
            // Lowered before it called: nothing of it is spent from now on.
            record.keep_old(record.share, (record.until_ms / 1_000).min(self.second) + 1);
        }
        if share > record.share {
            // It has ended here, not there: a clock was set. It counts for as long as it may go on, and is not renewed.
            record.keep_old(share, (at.now_ms + at.policy.share_lease_ms) / 1_000 + 1);
        }
        record.share = record.share.min(share);
        record.seen = at.caller.order();
        record
    }
}

impl Record {
    fn keep_old(&mut self, share: u64, until: u64) {
        self.old = self.old.max(share);
        self.old_until = self.old_until.max(until);
    }
}

/// A node's part of the limit by what it wants; 0 where it would be less than 1, for then tokens serve better.
fn fair(limit: u64, want: u64, wanted: u64) -> u64 {
    if wanted <= limit {
        return want;
    }
    let part = limit * want / wanted;
    if part == 0 { 0 } else { (limit * want).div_ceil(wanted) }
}
