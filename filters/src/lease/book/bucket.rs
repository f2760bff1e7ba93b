//! One bucket's incarnation: whether its data is whole, and who has said what it holds since it was not.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use crate::lease::{Incarnation, NodeId, Restore, Restored};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bucket {
    pub(super) incarnation: Incarnation,
    pub(super) run: CompactString,
    /// Nothing is given yet.
    pub(super) restoring: bool,
    /// Nothing stood here before: what nodes counted that are gone is lost.
    pub(super) empty: bool,
    /// Nodes are gone that counted in windows that run.
    pub(super) departed: bool,
    /// Somebody was waited for who did not come, or what somebody counted who is gone is lost: what had been out
    /// counts, as far as others knew of it.
    pub(super) with_losses: bool,
    /// Who is waited for, with the last beat that anybody knew of.
    pub(super) expected: BTreeMap<NodeId, u64>,
    pub(super) done: BTreeSet<NodeId>,
}

impl Bucket {
    pub(super) fn beginning(run: &CompactString, now_ms: u64, empty: bool) -> Self {
        Self {
            incarnation: Incarnation::beginning(run, now_ms),
            run: run.clone(),
            restoring: true,
            empty,
            departed: false,
            with_losses: false,
            expected: BTreeMap::new(),
            done: BTreeSet::new(),
        }
    }

    /// Notes a call whose incarnation is this one.
    pub(super) fn restored(&mut self, now_ms: u64, restore: &Restore, forget_after_ms: u64) {
        if !self.restoring {
            return;
        }
        for (node, beat_ms) in &restore.members {
            let known = self.expected.entry(*node).or_default();
            *known = (*known).max((*beat_ms).min(now_ms));
        }
        self.departed |= restore.departed;
        if restore.done {
            self.done.insert(restore.caller.node);
        }
        if self.waits_for(now_ms, restore.caller.node, forget_after_ms) == 0 {
            self.restoring = false;
            self.with_losses = (self.departed && self.empty) || self.expected.keys().any(|node| !self.done.contains(node));
            self.expected.clear();
            self.done.clear();
        }
    }

    pub(super) fn answer(&self, now_ms: u64, caller: NodeId, forget_after_ms: u64) -> Restored {
        let incarnation = self.incarnation.clone();
        if self.restoring {
            Restored::Restoring(incarnation, self.waits_for(now_ms, caller, forget_after_ms))
        } else {
            Restored::Ready(incarnation)
        }
    }

    /// How many nodes are waited for, the caller always among them until it is done.
    fn waits_for(&self, now_ms: u64, caller: NodeId, forget_after_ms: u64) -> u32 {
        let is_missing = |node: &NodeId| *node != caller && !self.done.contains(node);
        let missing =
            self.expected.iter().filter(|(node, beat_ms)| is_missing(node) && now_ms.saturating_sub(**beat_ms) < forget_after_ms);
        u32::try_from(missing.count()).unwrap_or(u32::MAX) + u32::from(!self.done.contains(&caller))
    }
}
