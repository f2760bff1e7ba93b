mod long_model;
mod rules;
mod search;
mod second_model;

use clearway_config::{AccountId, KeyId};

use super::*;

/// 2026-02-10T12:00:00Z.
pub(super) const NOON_MS: u64 = 1_770_724_800_000;

pub(super) fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 16])
}

pub(super) fn account() -> AccountId {
    AccountId::from_bytes([1; 16])
}

pub(super) fn key() -> KeyId {
    KeyId::from_bytes([2; 16])
}

pub(super) fn caller(n: u8, epoch: u64, seq: u64) -> Caller {
    Caller { node: node(n), epoch, seq }
}

/// The incarnation of the account's bucket, after `nodes` have restored nothing to it.
pub(super) fn ready(book: &mut Book, now_ms: u64, nodes: &[u8]) -> Incarnation {
    let bucket = call::bucket_of(&account());
    let mut restore = Restore {
        caller: caller(0, 0, 0),
        bucket,
        incarnation: None,
        held: vec![],
        done: false,
        members: vec![],
        departed: false,
    };
    let (Restored::Restoring(found, _) | Restored::Ready(found)) = book.restore(now_ms, &restore) else { unreachable!() };
    restore.incarnation = Some(found.clone());
    restore.done = true;
    restore.members = nodes.iter().map(|n| (node(*n), now_ms)).collect();
    for n in nodes {
        restore.caller = caller(*n, 1, 1);
        book.restore(now_ms, &restore);
    }
    found
}
