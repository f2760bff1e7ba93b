//! What a node says to the store, and what it is answered. Times are the store's, in milliseconds since 1970.

use std::{fmt, str::FromStr};

use clearway_config::{AccountId, KeyId};
use compact_str::CompactString;

use super::BUCKETS;
use crate::quota::{day_begins_ms, day_ends_ms, month_begins_ms, month_ends_ms};

/// One node: a proxy's ledger, from its first start until its files are removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 16]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a node's id: expected 32 hexadecimal digits")]
pub struct MalformedNodeId;

impl NodeId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = MalformedNodeId;

    fn from_str(text: &str) -> Result<Self, MalformedNodeId> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| hex).ok_or(MalformedNodeId)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Who calls, and which of its calls this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    pub node: NodeId,
    /// Rises with every start of the node, and with every process that takes its ledger over.
    pub epoch: u64,
    /// Rises with every call of the epoch, whatever the call is about. Below 2^53.
    pub seq: u64,
}

impl Caller {
    /// What the store compares by: a call counts only if it is greater than the one before.
    pub(super) fn order(&self) -> (u64, u64) {
        (self.epoch, self.seq)
    }
}

/// Which data of a bucket: another one means that what was there before is lost, wholly or in part. It names the
/// server's run too, since a server that starts again may have forgotten what it acknowledged last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(CompactString);

impl Incarnation {
    /// As the store says it.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Data that begins at `now_ms` on the server's `run`.
    pub(super) fn beginning(run: &str, now_ms: u64) -> Self {
        Self(compact_str::format_compact!("{}-{now_ms}", &run[..run.len().min(16)]))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectId {
    Account(AccountId),
    Key(KeyId),
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubjectId::Account(id) => id.fmt(f),
            SubjectId::Key(id) => id.fmt(f),
        }
    }
}

/// The bucket of an account and of its keys: FNV-1a over the id's bytes.
pub fn bucket_of(account: &AccountId) -> u16 {
    let hash = account
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // The high bits are mixed best.
    (hash >> 32) as u16 % BUCKETS
}

/// One call for parts of limits: says what the node holds and asks for more of it, for an account and at most one key.
///
/// With nothing wanted it is a return, or a renewal of what is leased until a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Take {
    pub caller: Caller,
    /// What the node has restored to; `None` before it ever did.
    pub incarnation: Option<Incarnation>,
    pub account: AccountId,
    pub account_asks: Asks,
    pub key: Option<(KeyId, Asks)>,
}

/// Of one subject; a window that is not limited is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Asks {
    pub second: Option<SecondAsk>,
    pub day: Option<LongAsk>,
    pub month: Option<LongAsk>,
    pub slots: Option<SlotsAsk>,
}

/// Of a day or a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LongAsk {
    /// As in [`crate::quota::Now`]: days since 1970-01-01, or year × 12 + month.
    pub window: u32,
    /// The plan's or the key's.
    pub limit: u64,
    /// What the node may admit in this window in all, with what it has admitted already: what it was granted, or as much of
    /// it as it keeps. Whoever lowers it does so in its own files first.
    pub holds: u64,
    /// How many more.
    pub want: u64,
    /// Whether the node has nothing left of it. If nothing is given of a window that a node is bare of, nothing is given
    /// of any: it could not be spent.
    pub bare: bool,
}

/// Of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecondAsk {
    pub limit: u32,
    /// Requests a second that the node goes by at the time of the call; 0 is none, or one that has ended.
    pub share: u32,
    /// Requests a second that it would like; 0 asks for no share.
    pub want_share: u32,
    /// Requests that it would like to admit in this second. Given only where it has no share afterwards.
    pub want_tokens: u32,
    /// As in [`LongAsk`].
    pub bare: bool,
}

/// Of a concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotsAsk {
    pub limit: u32,
    /// What the node keeps, at least its requests in flight.
    pub holds: u32,
    pub want: u32,
    /// As in [`LongAsk`].
    pub bare: bool,
}

impl Asks {
    /// The same, as a return or a renewal.
    pub(super) fn wanting_nothing(self) -> Self {
        Self {
            second: self.second.map(|ask| SecondAsk { want_share: 0, want_tokens: 0, ..ask }),
            day: self.day.map(|ask| LongAsk { want: 0, ..ask }),
            month: self.month.map(|ask| LongAsk { want: 0, ..ask }),
            slots: self.slots.map(|ask| SlotsAsk { want: 0, ..ask }),
        }
    }

    /// Whether something is wanted that the node has nothing of, and nothing of it was given.
    pub(super) fn is_left_bare(&self, given: &Given) -> bool {
        let second = self.second.zip(given.second).is_some_and(|(ask, given)| {
            ask.bare && (ask.want_share > 0 || ask.want_tokens > 0) && given.share == 0 && given.tokens == 0
        });
        let long = |ask: Option<LongAsk>, given: Option<LongGiven>| {
            ask.zip(given).is_some_and(|(ask, given)| ask.bare && ask.want > 0 && given.granted <= ask.holds)
        };
        let slots = self.slots.zip(given.slots);
        let slots = slots.is_some_and(|(ask, given)| ask.bare && ask.want > 0 && given.slots <= ask.holds);
        second || long(self.day, given.day) || long(self.month, given.month) || slots
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    Given(Box<Grants>),
    /// A later call of this node, or of a later start of it, was there before. Nothing was changed. A process that is
    /// answered this for its newest call is not the node any more.
    Stale,
    /// The bucket's data is not what the node has restored to. Nothing was changed: [`Restore`] comes first.
    Lost(Incarnation),
    /// The bucket waits for other nodes to restore theirs. Nothing was changed.
    Restoring,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grants {
    pub now_ms: u64,
    pub account: Given,
    pub key: Given,
}

/// Of one subject: whatever was asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Given {
    pub second: Option<SecondGiven>,
    pub day: Option<LongGiven>,
    pub month: Option<LongGiven>,
    pub slots: Option<SlotsGiven>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LongGiven {
    /// Of the call.
    pub window: u32,
    /// What the node may admit in the window in all: what it said it holds, and what was added.
    pub granted: u64,
    /// What nobody has been given yet.
    pub left: u64,
    /// `false` where the window is over, or has not begun: nothing is given of it, and [`LongGiven::left`] says nothing.
    pub open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecondGiven {
    /// Requests a second; 0 is no share.
    pub share: u32,
    /// When the share ends.
    pub until_ms: u64,
    /// To be admitted in [`SecondGiven::second`], beside earlier tokens of the same second.
    pub tokens: u32,
    /// Seconds since 1970.
    pub second: u32,
    /// What nobody has been given yet of this second.
    pub left: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotsGiven {
    pub slots: u32,
    /// When they end, all of them.
    pub until_ms: u64,
    pub left: u32,
}

/// Says what a node holds and has counted in one bucket, after the bucket's data was lost or when the node first meets it.
///
/// Of any number of calls only the last is `done`. One with nothing `held` and not `done` asks how the bucket is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Restore {
    pub caller: Caller,
    /// Below [`BUCKETS`].
    pub bucket: u16,
    /// What the node restores to, as an answer said it. With `None`, or another than the bucket's, nothing is changed and
    /// the answer says which it is.
    pub incarnation: Option<Incarnation>,
    /// At most [`Restore::HELD_MAX`].
    pub held: Vec<Held>,
    /// That was all.
    pub done: bool,
    /// Nodes of the fleet with their last beats, as far as this node knows of them: they are waited for.
    pub members: Vec<(NodeId, u64)>,
    /// Nodes are gone, as this node knows, that counted in windows that still run: nobody says anew what they counted.
    pub departed: bool,
}

impl Restore {
    /// Subjects in one call at most: it is carried out as a whole, and nothing else is meanwhile.
    pub const HELD_MAX: usize = 100;
}

/// What a node holds of one subject in the running windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    pub subject: SubjectId,
    pub second: Option<HeldSecond>,
    pub day: Option<HeldLong>,
    pub month: Option<HeldLong>,
    pub slots: Option<HeldSlots>,
}

impl Held {
    /// Asks about the same windows, for nothing.
    pub(super) fn as_asks(&self) -> Asks {
        let long = |held: HeldLong| LongAsk { window: held.window, limit: 0, holds: held.holds, want: 0, bare: false };
        Asks {
            second: self.second.map(|held| SecondAsk { limit: 0, share: held.share, want_share: 0, want_tokens: 0, bare: false }),
            day: self.day.map(long),
            month: self.month.map(long),
            slots: self.slots.map(|held| SlotsAsk { limit: 0, holds: held.slots, want: 0, bare: false }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeldLong {
    /// As in [`LongAsk`].
    pub window: u32,
    /// As [`LongAsk::holds`]; at least what the node has admitted in the window.
    pub holds: u64,
    /// What was out with all nodes when the node last heard of it: the limit without what was left. Counts where a
    /// node that was waited for did not come.
    pub out: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeldSecond {
    pub share: u32,
    /// How much longer, in milliseconds: told by the node's steady clock, it is no less when the store hears of it.
    pub lasts_ms: u64,
    /// The newest second that the node has admitted in, or has tokens of.
    pub second: u32,
    /// What it has admitted in it, or may by tokens.
    pub count: u32,
    /// What it admitted in the second before.
    pub before: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeldSlots {
    /// At least the node's requests in flight.
    pub slots: u32,
    /// As [`HeldSecond::lasts_ms`]; 0 where they have ended, and requests that they admitted have not.
    pub lasts_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Restored {
    /// Takes go on, by this incarnation.
    Ready(Incarnation),
    /// So many nodes have not said that they are done; ask again soon. The caller is one of them until it has said so.
    Restoring(Incarnation, u32),
    /// As [`Answer::Stale`], of the bucket: some of what was held has not been taken.
    Stale,
}

/// Which of the two long windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Long {
    Day,
    Month,
}

impl Long {
    pub fn begins_ms(self, window: u32) -> u64 {
        match self {
            Long::Day => day_begins_ms(window),
            Long::Month => month_begins_ms(window),
        }
    }

    pub fn ends_ms(self, window: u32) -> u64 {
        match self {
            Long::Day => day_ends_ms(window),
            Long::Month => month_ends_ms(window),
        }
    }

    pub fn kept_ms(self) -> u64 {
        match self {
            Long::Day => super::DAY_KEPT_MS,
            Long::Month => super::MONTH_KEPT_MS,
        }
    }
}
