//! The other nodes of the fleet, as far as this node remembers. A store that has lost its data knows of nobody, and waits
//! for all that one of them remembers: whoever has beaten lately and has not said that it goes. Their ids are on disk
//! too, be it that this process has just started.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use clearway_filters::{
    lease::{Beaten, BucketLost, NodeId, RosterVersion},
    quota::Now,
};

/// Ids that are read back at most.
const MEMBERS_MAX: usize = 10_000;
/// Stands in the file before the month of [`Fleet::departed_in`].
const DEPARTED: &str = "departed ";

#[derive(Debug)]
pub(super) struct Fleet {
    file: PathBuf,
    /// By id. When each beat last is not told: they may just have when the store last named them.
    members: Vec<Member>,
    /// Of the roster that is known here.
    version: Option<RosterVersion>,
    lost: Vec<BucketLost>,
    /// The last month that a node was gone in, for good or until it comes again: what it counted it does not say anew.
    departed_in: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    node: NodeId,
    /// When the store last named it, in the store's time.
    named_ms: u64,
    /// The roster that is known here names it.
    is_named: bool,
}

impl Fleet {
    /// Those of the last run. When they beat last is not known: they may just have.
    pub(super) fn read(file: PathBuf, now_ms: u64) -> Self {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let departed_in = text.lines().find_map(|line| line.strip_prefix(DEPARTED)?.parse().ok());
        let ids = text.lines().filter_map(|line| line.parse().ok()).take(MEMBERS_MAX);
        let members = ids.map(|node| Member { node, named_ms: now_ms, is_named: false }).collect();
        Self { file, members, version: None, lost: Vec::new(), departed_in }
    }

    /// What a beat was answered. Whom it does not name the store may have forgotten: it is remembered here for as long
    /// as the store would have.
    pub(super) fn take_in(&mut self, beaten: &Beaten, forget_after_ms: u64) {
        let now_ms = beaten.now_ms;
        let mut departed = &[][..];
        if let Some(roster) = &beaten.roster {
            departed = &roster.departed;
            self.version = Some(beaten.version.clone());
            self.lost.clone_from(&roster.lost);
            self.name(&roster.members);
        }
        let before = self.members.len();
        self.members.retain_mut(|member| {
            if member.is_named {
                member.named_ms = now_ms;
                return true;
            }
            !departed.contains(&member.node) && now_ms.saturating_sub(member.named_ms) < forget_after_ms
        });
        let any_gone = self.members.len() < before || !departed.is_empty();
        let departed_in = if any_gone { Some(Now::at(now_ms).month) } else { self.departed_in };
        let is_same = beaten.roster.is_none() && !any_gone;
        self.departed_in = departed_in;
        if !is_same && let Err(e) = self.write() {
            tracing::warn!(error = &e as &dyn std::error::Error, file = %self.file.display(), "the fleet's members cannot be noted");
        }
    }

    /// Notes who the roster names, and keeps the others.
    fn name(&mut self, nodes: &[NodeId]) {
        let mut members: BTreeMap<NodeId, Member> =
            self.members.iter().map(|member| (member.node, Member { is_named: false, ..*member })).collect();
        members.extend(nodes.iter().map(|node| (*node, Member { node: *node, named_ms: 0, is_named: true })));
        self.members = members.into_values().collect();
    }

    /// With the last time that each may have beaten, in the store's time.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = (NodeId, u64)> {
        self.members.iter().map(|member| (member.node, member.named_ms))
    }

    /// Which roster is known here.
    pub(super) fn version(&self) -> Option<RosterVersion> {
        self.version.clone()
    }

    /// Buckets that nodes wait for others with, as of the last roster.
    pub(super) fn lost(&self) -> Vec<BucketLost> {
        self.lost.clone()
    }

    /// Whether nodes are gone that may have counted in windows that run at `now`.
    pub(super) fn has_departed(&self, now: &Now) -> bool {
        self.departed_in.is_some_and(|month| month >= now.month)
    }

    fn write(&self) -> io::Result<()> {
        let unfinished = self.file.with_extension("unfinished");
        let mut lines: Vec<String> = self.members.iter().map(|member| member.node.to_string()).collect();
        lines.extend(self.departed_in.map(|month| format!("{DEPARTED}{month}")));
        fs::write(&unfinished, lines.join("\n") + "\n")?;
        fs::rename(&unfinished, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use clearway_filters::lease::Roster;
    use tempfile::TempDir;

    use super::*;

    /// 2026-02-10T12:00:00Z
    const NOON_MS: u64 = 1_770_724_800_000;
    const FORGET_AFTER_MS: u64 = 60_000;
    const MONTH_MS: u64 = 31 * 86_400_000;

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 16])
    }

    fn told(at_ms: u64, members: &[u8], departed: &[u8]) -> Beaten {
        let of = |nodes: &[u8]| nodes.iter().copied().map(node).collect();
        let roster = Roster { members: of(members), departed: of(departed), lost: Vec::new() };
        Beaten { now_ms: at_ms, version: RosterVersion::new("any"), roster: Some(roster) }
    }

    /// Nothing is another.
    fn heard(at_ms: u64) -> Beaten {
        Beaten { now_ms: at_ms, version: RosterVersion::new("any"), roster: None }
    }

    fn nodes(fleet: &Fleet) -> Vec<NodeId> {
        fleet.members().map(|(node, _)| node).collect()
    }

    #[test]
    fn whom_the_store_has_forgotten_is_remembered_until_the_store_would_have_forgotten_it() {
        let dir = TempDir::new().unwrap();
        let mut fleet = Fleet::read(dir.path().join("members"), NOON_MS);
        fleet.take_in(&told(NOON_MS, &[1, 2, 3], &[]), FORGET_AFTER_MS);
        fleet.take_in(&told(NOON_MS + 1_000, &[2], &[]), FORGET_AFTER_MS);
        assert_eq!(nodes(&fleet), [node(1), node(2), node(3)]);
        let mut again = Fleet::read(dir.path().join("members"), NOON_MS + 2_000);
        again.take_in(&told(NOON_MS + 2_000, &[2], &[]), FORGET_AFTER_MS);
        assert_eq!(nodes(&again), [node(1), node(2), node(3)], "over a start, too");
        fleet.take_in(&heard(NOON_MS + FORGET_AFTER_MS - 1), FORGET_AFTER_MS);
        assert_eq!(nodes(&fleet), [node(1), node(2), node(3)]);
        fleet.take_in(&heard(NOON_MS + FORGET_AFTER_MS), FORGET_AFTER_MS);
        assert_eq!(fleet.members().collect::<Vec<_>>(), [(node(2), NOON_MS + FORGET_AFTER_MS)]);
        assert!(fleet.has_departed(&Now::at(NOON_MS)), "what they counted nobody says");
    }

    #[test]
    fn whoever_says_that_it_goes_is_not_waited_for_and_what_it_counted_is_missed_until_the_month_ends() {
        let dir = TempDir::new().unwrap();
        let mut fleet = Fleet::read(dir.path().join("members"), NOON_MS);
        fleet.take_in(&told(NOON_MS, &[1, 2], &[]), FORGET_AFTER_MS);
        assert!(!fleet.has_departed(&Now::at(NOON_MS)));
        fleet.take_in(&told(NOON_MS + 1_000, &[2], &[1]), FORGET_AFTER_MS);
        assert_eq!(nodes(&fleet), [node(2)]);
        for fleet in [fleet, Fleet::read(dir.path().join("members"), NOON_MS)] {
            assert!(fleet.has_departed(&Now::at(NOON_MS + 5_000)));
            assert!(!fleet.has_departed(&Now::at(NOON_MS + MONTH_MS)));
        }
    }
}
