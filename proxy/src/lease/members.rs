//! The other nodes of the fleet, as far as this node remembers. A store that has lost its data knows of nobody, and waits
//! for all that one of them remembers: whoever has beaten lately and has not said that it goes. Their ids are on disk
//! too, be it that this process has just started.

use std::{fs, io, path::PathBuf};

use clearway_filters::{
    lease::{Beaten, NodeId},
    quota::Now,
};

/// Ids that are read back at most.
const MEMBERS_MAX: usize = 10_000;
/// Stands in the file before the month of [`Fleet::departed_in`].
const DEPARTED: &str = "departed ";

#[derive(Debug)]
pub(super) struct Fleet {
    file: PathBuf,
    /// With their last beats, in the store's time; by id.
    members: Vec<(NodeId, u64)>,
    /// The last month that a node was gone in, for good or until it comes again: what it counted it does not say anew.
    departed_in: Option<u32>,
}

impl Fleet {
    /// Those of the last run. When they beat last is not known: they may just have.
    pub(super) fn read(file: PathBuf, now_ms: u64) -> Self {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let departed_in = text.lines().find_map(|line| line.strip_prefix(DEPARTED)?.parse().ok());
        let ids = text.lines().filter_map(|line| line.parse().ok()).take(MEMBERS_MAX);
        Self { file, members: ids.map(|id| (id, now_ms)).collect(), departed_in }
    }

    /// What a beat was answered. Whom it does not name the store may have forgotten: it is remembered here for as long
    /// as the store would have.
    pub(super) fn take_in(&mut self, beaten: &Beaten, forget_after_ms: u64) {
        let told = beaten.members.iter().map(|member| (member.node, member.beat_ms));
        let is_told = |node: &NodeId| beaten.members.iter().any(|member| member.node == *node);
        let (remembered, gone): (Vec<_>, Vec<_>) =
            self.members.iter().copied().filter(|(node, _)| !is_told(node)).partition(|(node, beat_ms)| {
                !beaten.departed.contains(node) && beaten.now_ms.saturating_sub(*beat_ms) < forget_after_ms
            });
        let any_gone = !gone.is_empty() || !beaten.departed.is_empty();
        let departed_in = if any_gone { Some(Now::at(beaten.now_ms).month) } else { self.departed_in };
        let mut members: Vec<_> = told.chain(remembered).collect();
        members.sort_unstable();
        let same = members.iter().map(|(node, _)| node).eq(self.members.iter().map(|(node, _)| node));
        let same = same && departed_in == self.departed_in;
        (self.members, self.departed_in) = (members, departed_in);
        if !same && let Err(e) = self.write() {
            tracing::warn!(error = &e as &dyn std::error::Error, file = %self.file.display(), "the fleet's members cannot be noted");
        }
    }

    pub(super) fn members(&self) -> &[(NodeId, u64)] {
        &self.members
    }

    /// Whether nodes are gone that may have counted in windows that run at `now`.
    pub(super) fn has_departed(&self, now: &Now) -> bool {
        self.departed_in.is_some_and(|month| month >= now.month)
    }

    fn write(&self) -> io::Result<()> {
        let unfinished = self.file.with_extension("unfinished");
        let mut lines: String = self.members.iter().map(|(node, _)| format!("{node}\n")).collect();
        if let Some(month) = self.departed_in {
            lines.push_str(&format!("{DEPARTED}{month}\n"));
        }
        fs::write(&unfinished, lines)?;
        fs::rename(&unfinished, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use clearway_filters::lease::Member;
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
        let member = |n: &u8| Member { node: node(*n), epoch: 1, beat_ms: at_ms, name: "node".into() };
        let departed = departed.iter().copied().map(node).collect();
        Beaten { now_ms: at_ms, members: members.iter().map(member).collect(), departed, lost: Vec::new() }
    }

    fn nodes(fleet: &Fleet) -> Vec<NodeId> {
        fleet.members().iter().map(|(node, _)| *node).collect()
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
        fleet.take_in(&told(NOON_MS + FORGET_AFTER_MS, &[2], &[]), FORGET_AFTER_MS);
        assert_eq!(nodes(&fleet), [node(2)]);
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
