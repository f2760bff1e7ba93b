//! A day or a month: what each node may admit in it, in all.

use std::collections::BTreeMap;

use super::Moment;
use crate::lease::{HeldLong, LongAsk, LongGiven, NodeId, PERIOD_MS, WINDOW_SLACK_MS, call::Long};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct LongBook {
    /// Out with all nodes: the sum over [`LongBook::nodes`].
    out: u64,
    /// What was out according to nodes that restored, and what was given since beside it; counts only after losses.
    known_out: u64,
    /// Number of the [`PERIOD_MS`] in which [`LongBook::callers`] are counted.
    period: u64,
    /// Nodes that have called in the period, and in the one before.
    callers: u64,
    callers_before: u64,
    nodes: BTreeMap<NodeId, Record>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Record {
    granted: u64,
    seen: (u64, u64),
    /// The period in which the node was counted.
    period: u64,
}

impl LongBook {
    /// The last call of a node.
    pub(super) fn seen(&self, node: &NodeId) -> Option<(u64, u64)> {
        self.nodes.get(node).map(|record| record.seen)
    }

    pub(super) fn take(&mut self, at: Moment<'_>, long: Long, ask: &LongAsk, with_losses: bool) -> LongGiven {
        let begins_ms = long.begins_ms(ask.window).saturating_sub(WINDOW_SLACK_MS);
        let open = (begins_ms..long.ends_ms(ask.window) + WINDOW_SLACK_MS).contains(&at.now_ms);
        let mut record = self.hold(at, ask.holds);
        let used = if with_losses { self.out.max(self.known_out) } else { self.out };
        let left = ask.limit.saturating_sub(used);
        let members = self.count(at, &mut record);
        let most = (left / at.policy.long_parts.saturating_mul(members)).max(1).min(left);
        let grant = if open { ask.want.min(most) } else { 0 };
        record.granted += grant;
        self.out += grant;
        self.known_out = self.known_out.saturating_add(grant);
        self.nodes.insert(at.caller.node, record);
        LongGiven { window: ask.window, granted: record.granted, left: left - grant, open }
    }

    /// Only raises what others knew to be out; the node's own part is set, as by a call. While the bucket is `restoring`
    /// that part is among what others knew.
    pub(super) fn restore(&mut self, at: Moment<'_>, held: &HeldLong, restoring: bool) {
        let known_out = self.known_out;
        let record = self.hold(at, held.holds);
        self.nodes.insert(at.caller.node, record);
        self.known_out = if restoring { known_out.max(held.out) } else { self.known_out };
    }

    /// The node's record, set to what the node says. What those may have who were not waited for stays as much beside it.
    fn hold(&mut self, at: Moment<'_>, holds: u64) -> Record {
        let mut record = self.nodes.get(&at.caller.node).copied().unwrap_or_default();
        self.out = (self.out - record.granted).saturating_add(holds);
        self.known_out = self.known_out.saturating_add(holds).saturating_sub(record.granted);
        record.granted = holds;
        record.seen = at.caller.order();
        record
    }

    /// Nodes that call about this window, the caller now among them.
    fn count(&mut self, at: Moment<'_>, record: &mut Record) -> u64 {
        let period = at.now_ms / PERIOD_MS;
        if self.period != period {
            self.callers_before = if self.period + 1 == period { self.callers } else { 0 };
            self.callers = 0;
            self.period = period;
        }
        if record.period != period {
            record.period = period;
            self.callers += 1;
        }
        // At least one: a node that was counted before the clock was set back is not counted again.
        self.callers.max(self.callers_before).max(1)
    }
}
