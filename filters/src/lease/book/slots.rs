//! A concurrency: slots of each node, until a time. A node admits by them no longer than it was told, and they count for
//! longer: what it has admitted goes on, and it may not be able to say so.

use std::collections::BTreeMap;

use super::Moment;
use crate::lease::{HeldSlots, NodeId, SlotsAsk, SlotsGiven};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct SlotsBook {
    nodes: BTreeMap<NodeId, Record>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Record {
    slots: u64,
    /// Counts until then.
    until_ms: u64,
    seen: (u64, u64),
}

impl SlotsBook {
    pub(super) fn seen(&self, node: &NodeId) -> Option<(u64, u64)> {
        self.nodes.get(node).map(|record| record.seen)
    }

    pub(super) fn take(&mut self, at: Moment<'_>, ask: &SlotsAsk) -> SlotsGiven {
        let Moment { now_ms, caller, policy } = at;
        let counts_until_ms = counts_until_ms(at, policy.slots_lease_ms);
        // What lies too far ahead was said before the clock was set back.
        self.nodes.values_mut().for_each(|record| record.until_ms = record.until_ms.min(counts_until_ms));
        self.nodes.retain(|node, record| *node == caller.node || now_ms < record.until_ms);
        let record = self.nodes.remove(&caller.node).filter(|record| now_ms < record.until_ms).unwrap_or_default();

        let holds = u64::from(ask.holds);
        let others: u64 = self.nodes.values().map(|other| other.slots).sum();
        let holders = self.nodes.values().filter(|other| other.slots > 0).count() as u64 + 1;
        let left = u64::from(ask.limit).saturating_sub(others + holds);
        let most = (left / policy.slots_parts.saturating_mul(holders)).max(1).min(left);
        let grant = u64::from(ask.want).min(most);
        self.nodes.insert(caller.node, Record { slots: holds + grant, until_ms: counts_until_ms, seen: caller.order() });
        // What it holds beyond what is noted has ended here: that counts, since it may be in use, but it is not renewed
        // where others have it now.
        let kept = holds.min(record.slots.max(u64::from(ask.limit).saturating_sub(others)));
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        SlotsGiven { slots: narrow(kept + grant), until_ms: now_ms + policy.slots_lease_ms, left: narrow(left - grant) }
    }

    pub(super) fn restore(&mut self, at: Moment<'_>, held: &HeldSlots) {
        let until_ms = counts_until_ms(at, held.lasts_ms.min(at.policy.slots_lease_ms));
        self.nodes.insert(at.caller.node, Record { slots: u64::from(held.slots), until_ms, seen: at.caller.order() });
    }
}

/// Until when what is held for so much longer counts.
fn counts_until_ms(at: Moment<'_>, lasts_ms: u64) -> u64 {
    at.now_ms + lasts_ms + at.policy.forget_after_ms
}
