//! The other nodes of the fleet, as the last beat told. Their ids are on disk too: a store that has lost its data waits
//! for all that one of them remembers, be it that this process has just started.

use std::{fs, io, path::PathBuf};

use clearway_filters::lease::{Member, NodeId};

/// Ids that are read back at most.
const MEMBERS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Fleet {
    file: PathBuf,
    /// With their last beats, in the store's time.
    members: Vec<(NodeId, u64)>,
}

impl Fleet {
    /// Those of the last run. When they beat last is not known: they may just have.
    pub(super) fn read(file: PathBuf, now_ms: u64) -> Self {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let ids = text.lines().take(MEMBERS_MAX).filter_map(|line| line.parse().ok());
        Self { file, members: ids.map(|id| (id, now_ms)).collect() }
    }

    pub(super) fn take_in(&mut self, members: &[Member]) {
        let told: Vec<_> = members.iter().map(|member| (member.node, member.beat_ms)).collect();
        let same = self.members.iter().map(|(node, _)| node).eq(told.iter().map(|(node, _)| node));
        self.members = told;
        if !same && let Err(e) = self.write() {
            tracing::warn!(error = &e as &dyn std::error::Error, file = %self.file.display(), "the fleet's members cannot be noted");
        }
    }

    pub(super) fn members(&self) -> &[(NodeId, u64)] {
        &self.members
    }

    fn write(&self) -> io::Result<()> {
        let unfinished = self.file.with_extension("unfinished");
        let lines: String = self.members.iter().map(|(node, _)| format!("{node}\n")).collect();
        fs::write(&unfinished, lines)?;
        fs::rename(&unfinished, &self.file)
    }
}
