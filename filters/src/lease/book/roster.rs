//! Who has beaten lately, who has said that it goes, and which buckets were named.

use std::collections::BTreeMap;

use crate::lease::{Beat, Beaten, BucketLost, Caller, Incarnation, NodeId, Roster, RosterVersion, roster::ROSTER_AGE_MS};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct RosterBook {
    /// The epoch of each node's last beat, and when that was.
    members: BTreeMap<NodeId, (u64, u64)>,
    /// When nodes left.
    departed: BTreeMap<NodeId, u64>,
    /// Buckets named by beats, with the time of the last one.
    named: BTreeMap<u16, (Incarnation, u64)>,
    /// What nodes are told; 0 is none yet.
    version: u64,
    told: Roster,
    /// When it was last made.
    made_ms: u64,
}

impl RosterBook {
    pub(super) fn beat(&mut self, now_ms: u64, beat: &Beat, run: &str, forget_after_ms: u64) -> Beaten {
        let Caller { node, epoch, .. } = beat.caller;
        let mut is_changed = self.version == 0;
        if self.members.get(&node).is_none_or(|(known, _)| *known <= epoch) {
            if beat.leaving {
                let was_here = self.members.remove(&node).is_some();
                is_changed |= self.departed.insert(node, now_ms).is_none() || was_here;
            } else {
                let is_new = self.members.insert(node, (epoch, now_ms)).is_none();
                is_changed |= self.departed.remove(&node).is_some() || is_new;
            }
        }
        for BucketLost { bucket, incarnation } in &beat.lost {
            let before = self.named.insert(*bucket, (incarnation.clone(), now_ms));
            is_changed |= before.is_none_or(|(before, _)| before != *incarnation);
        }
        if is_changed || now_ms < self.made_ms || now_ms - self.made_ms >= ROSTER_AGE_MS {
            self.make(now_ms, forget_after_ms);
        }
        let version = RosterVersion::of(run, self.version);
        let roster = (beat.knows.as_ref() != Some(&version)).then(|| self.told.clone());
        Beaten { now_ms, version, roster }
    }

    fn make(&mut self, now_ms: u64, forget_after_ms: u64) {
        let is_late = |at_ms: u64| now_ms.saturating_sub(at_ms) < forget_after_ms;
        self.members.retain(|_, (_, beat_ms)| is_late(*beat_ms));
        self.departed.retain(|_, left_ms| is_late(*left_ms));
        self.named.retain(|_, (_, named_ms)| is_late(*named_ms));
        let lost =
            self.named.iter().map(|(bucket, (incarnation, _))| BucketLost { bucket: *bucket, incarnation: incarnation.clone() });
        let roster = Roster {
            members: self.members.keys().copied().collect(),
            departed: self.departed.keys().copied().collect(),
            lost: lost.collect(),
        };
        if self.version == 0 || roster != self.told {
            self.version = if self.version == 0 { now_ms } else { self.version + 1 };
            self.told = roster;
        }
        self.made_ms = now_ms;
    }
}
