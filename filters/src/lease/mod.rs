//! Leased quotas: how many requests each node of a fleet may admit by itself, so that all of them together
//! never admit more than a limit.
//!
//! A *store* that all nodes share hands out parts of every limit. A part of a day or a month is a *grant*:
//! a number that only grows within the window, and that says how many requests of it the node may admit in
//! all. A part of a second is either a few *tokens* of that very second, or a *share*: requests a second,
//! decided by the node's own sliding window until a time. A part of a concurrency is *slots*, until a time.
//! A node spends without asking; what it spends it never tells. Per window the sum of what is out is at most
//! the limit, and that is the whole proof.
//!
//! Calls are absolute: a node says what it holds, and the store believes it. So an answer that was lost, a call that is
//! repeated and a part that is returned are one and the same thing. What must not happen is that an old call is carried
//! out after a newer one; every call has a number, and the store refuses one that is not the greatest so far.
//!
//! [`call`] has the calls and answers, [`roster`] those by which nodes know of each other, [`size`] what a node asks for and when, [`Book`] the store's rules over plain
//! maps, with the time as an argument. The same rules are a script inside of Redis, and a test holds the two against
//! each other. Nothing here reads a clock, performs IO or knows where a node keeps what it holds.

pub mod call;
pub mod roster;
pub mod size;

mod book;
#[cfg(test)]
mod tests;

pub use book::Book;
pub use call::{
    Answer, Asks, Caller, Given, Grants, Held, HeldLong, HeldSecond, HeldSlots, Incarnation, LongAsk, LongGiven, NodeId, Restore,
    Restored, SecondAsk, SecondGiven, SlotsAsk, SlotsGiven, SubjectId, Take,
};
pub use roster::{Beat, Beaten, BucketLost, Roster, RosterVersion};

/// Buckets that accounts are spread over. All of an account's windows and its keys' are in one bucket, so that one call
/// reaches all of them on a cluster too.
pub const BUCKETS: u16 = 256;

/// A window takes calls from so long before it begins until so long after it has ended.
pub const WINDOW_SLACK_MS: u64 = 10_000;

/// How long the store keeps a day's counts after the day.
pub const DAY_KEPT_MS: u64 = 86_400_000;

/// How long the store keeps a month's counts after the month.
pub const MONTH_KEPT_MS: u64 = 3 * 86_400_000;

/// Nodes that called about a window are counted by periods of this length.
pub const PERIOD_MS: u64 = 10_000;

/// The numbers by which the store decides. All nodes of a fleet must go by the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// One grant of a day or a month is at most what is left, divided by this and by the nodes that ask: the nearer the
    /// end, the smaller. At least 1.
    pub long_parts: u64,
    /// The same for slots.
    pub slots_parts: u64,
    /// How long a share holds, in milliseconds; at most [`SHARE_LEASE_MS_MAX`].
    pub share_lease_ms: u64,
    /// How long slots hold, in milliseconds: for so long requests are admitted by them. To the store they count for
    /// [`Policy::forget_after_ms`] longer, since a request that was admitted goes on.
    pub slots_lease_ms: u64,
    /// After a loss of the store's data a node that has not beaten for this long is no longer waited for, in
    /// milliseconds. A node that has not reached the store for this long gives up what it holds ([`size::lapsed`]).
    pub forget_after_ms: u64,
}

/// Longest lease of a share.
pub const SHARE_LEASE_MS_MAX: u64 = 5_000;

impl Default for Policy {
    fn default() -> Self {
        Self { long_parts: 4, slots_parts: 2, share_lease_ms: 2_000, slots_lease_ms: 10_000, forget_after_ms: 60_000 }
    }
}
