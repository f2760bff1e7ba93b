//! Which slot a subject's counters are in. Asked on a subject's first request after a start; after
//! that the snapshot's row remembers.

use std::hash::BuildHasher;

use clearway_config::{AccountId, KeyId};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::{
    error::LedgerError,
    mapping::{Mapping, SlotId},
};

/// Whose requests a slot counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Account(AccountId),
    Key(KeyId),
}

pub(super) const KIND_ACCOUNT: u8 = 1;
pub(super) const KIND_KEY: u8 = 2;

impl Subject {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Subject::Account(_) => KIND_ACCOUNT,
            Subject::Key(_) => KIND_KEY,
        }
    }

    pub(super) fn id(&self) -> &[u8; 16] {
        match self {
            Subject::Account(id) => id.as_bytes(),
            Subject::Key(id) => id.as_bytes(),
        }
    }

    pub(super) fn from_parts(kind: u8, id: [u8; 16]) -> Option<Self> {
        match kind {
            KIND_ACCOUNT => Some(Subject::Account(AccountId::from_bytes(id))),
            KIND_KEY => Some(Subject::Key(KeyId::from_bytes(id))),
            _ => None,
        }
    }
}

/// Slots by subject. Only their numbers are kept here; the subjects stand in the mapped file.
///
/// In shards, each with a lock: whoever makes one grow keeps only few others waiting, and not for long.
#[derive(Debug)]
pub(super) struct Directory {
    shards: Box<[Mutex<HashTable<u32>>]>,
    hasher: RandomState,
}

const SHARDS: usize = 256;

impl Directory {
    /// The directory of all slots in use; says why when one of them belongs to nobody, or two to the same.
    pub(super) fn rebuild(map: &Mapping) -> Result<Self, &'static str> {
        let room = map.slots() as usize / SHARDS;
        let shards = (0..SHARDS).map(|_| Mutex::new(HashTable::with_capacity(room))).collect();
        let directory = Self { shards, hasher: RandomState::default() };
        for slot in 0..map.slots() {
            let subject = subject_of(map, SlotId(slot)).ok_or("a slot belongs to nobody")?;
            let hash = directory.hash(&subject);
            let mut slots = directory.shard(hash).lock();
            if slots.find(hash, |&other| subject_of(map, SlotId(other)) == Some(subject)).is_some() {
                return Err("two slots belong to the same subject");
            }
            slots.insert_unique(hash, slot, |&other| directory.hash_of_slot(map, other));
        }
        Ok(directory)
    }

    /// The subject's slot; a new one on its first request ever.
    pub(super) fn slot(&self, map: &Mapping, subject: &Subject) -> std::io::Result<SlotId> {
        let hash = self.hash(subject);
        let mut slots = self.shard(hash).lock();
        if let Some(&slot) = slots.find(hash, |&slot| subject_of(map, SlotId(slot)) == Some(*subject)) {
            return Ok(SlotId(slot));
        }
        let slot = map.append(subject.kind(), *subject.id())?;
        slots.insert_unique(hash, slot.0, |&other| self.hash_of_slot(map, other));
        Ok(slot)
    }

    /// The subject's slot, if it has one.
    pub(super) fn find(&self, map: &Mapping, subject: &Subject) -> Option<SlotId> {
        let hash = self.hash(subject);
        let slots = self.shard(hash).lock();
        slots.find(hash, |&slot| subject_of(map, SlotId(slot)) == Some(*subject)).map(|&slot| SlotId(slot))
    }

    /// By bits in the middle: a table takes the lowest and the highest.
    fn shard(&self, hash: u64) -> &Mutex<HashTable<u32>> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    fn hash(&self, subject: &Subject) -> u64 {
        self.hasher.hash_one((subject.kind(), u128::from_ne_bytes(*subject.id())))
    }

    fn hash_of_slot(&self, map: &Mapping, slot: u32) -> u64 {
        subject_of(map, SlotId(slot)).map_or(0, |subject| self.hash(&subject))
    }
}

/// Whose slot it is; `None` for one that is not in use.
pub(super) fn subject_of(map: &Mapping, slot: SlotId) -> Option<Subject> {
    Subject::from_parts(map.slot(slot)?.kind(), map.name(slot)?.id.load())
}

impl From<LedgerError> for clearway_filters::Reject {
    fn from(_: LedgerError) -> Self {
        Self::LedgerUnavailable
    }
}
