//! Who is there: what nodes say of themselves once a second, and what they are answered.

use compact_str::CompactString;

use super::{
    NodeId,
    call::{Caller, Incarnation},
};

/// Once a second from every node: that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    pub caller: Caller,
    /// For people: no spaces, at most 64 bytes; others are replaced and cut.
    pub name: CompactString,
    /// The node has returned what it held, and goes.
    pub leaving: bool,
    /// Which roster the node has; it is not told again while it is the same. `None` where it has none.
    pub knows: Option<RosterVersion>,
    /// Buckets that this node has seen waiting for others since its last beat: the others learn of it by theirs.
    pub lost: Vec<BucketLost>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketLost {
    pub bucket: u16,
    pub incarnation: Incarnation,
}

/// Names a roster: another one has another name, whatever the store has forgotten between the two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RosterVersion(CompactString);

impl RosterVersion {
    /// As the store says it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(super) fn of(run: &str, number: u64) -> Self {
        Self(compact_str::format_compact!("{}-{number}", &run[..run.len().min(16)]))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beaten {
    pub now_ms: u64,
    pub version: RosterVersion,
    /// `None`: it is the one that the node knows.
    pub roster: Option<Roster>,
}

/// The fleet, as of a second ago at most; each list in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Roster {
    /// All that have beaten within [`super::Policy::forget_after_ms`] and have not gone.
    pub members: Vec<NodeId>,
    /// Those that said in that time that they go, and have not come again. Whoever is neither here nor a member the store
    /// may have forgotten.
    pub departed: Vec<NodeId>,
    /// What nodes have named in that time. Whoever has not restored to one of these does so.
    pub lost: Vec<BucketLost>,
}

/// How old the answered roster may be, in milliseconds; the store looks for those that beat no longer this often.
pub const ROSTER_AGE_MS: u64 = 1_000;

/// Longest name of a node that is kept, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A name that is one word of bounded length: it stands in a line with others.
pub fn plain_name(name: &str) -> CompactString {
    let plain = name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' });
    plain.take(NAME_BYTES_MAX).collect()
}
