//! Accounts by index, so that a credential's account costs four bytes and one step.
//!
//! An index is never given again: an account that is gone keeps its cell, suspended, until the process ends.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use clearway_config::AccountId;
use hashbrown::HashTable;
use parking_lot::RwLock;

use super::SlotCache;

#[derive(Default)]
pub(super) struct Accounts {
    cells: boxcar::Vec<Account>,
    index: RwLock<HashTable<u32>>,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Accounts({})", self.cells.count())
    }
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    /// Index into the plans.
    plan: AtomicU32,
    /// Index into the lists of policies; 0 is none.
    policies: AtomicU32,
    suspended: AtomicBool,
    pub(super) slot: SlotCache,
    generation: AtomicU32,
}

impl Accounts {
    pub(super) fn at(&self, index: u32) -> &Account {
        self.cells.get(index as usize).expect("an index was given out by push, and cells are never removed")
    }

    /// The account's index, if it has been described.
    pub(super) fn find(&self, id: &AccountId) -> Option<u32> {
        self.index.read().find(hash(id.as_bytes()), |&index| self.at(index).id == *id).copied()
    }

    /// The account's index; one not yet described is made suspended, with the plan `unknown`. For the one writer:
    /// its lock is what keeps two of them from making the same account.
    pub(super) fn of(&self, id: AccountId, unknown: u32) -> u32 {
        if let Some(index) = self.find(&id) {
            return index;
        }
        let index = self.cells.push(Account {
            id,
            plan: AtomicU32::new(unknown),
            policies: AtomicU32::new(0),
            suspended: AtomicBool::new(true),
            slot: SlotCache::default(),
            generation: AtomicU32::new(0),
        });
        let index = u32::try_from(index).expect("four billion accounts do not fit into memory");
        self.index.write().insert_unique(hash(id.as_bytes()), index, |&index| hash(self.at(index).id.as_bytes()));
        index
    }

    pub(super) fn len(&self) -> usize {
        self.cells.count()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Account> {
        self.cells.iter().map(|(_, account)| account)
    }
}

impl Account {
    pub(super) fn plan(&self) -> u32 {
        self.plan.load(Ordering::Acquire)
    }

    pub(super) fn policies(&self) -> u32 {
        self.policies.load(Ordering::Acquire)
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, plan: u32, policies: u32, suspended: bool, generation: u32) {
        // Before it may be served at all.
        self.policies.store(policies, Ordering::Release);
        self.plan.store(plan, Ordering::Release);
        self.suspended.store(suspended, Ordering::Release);
        self.generation.store(generation, Ordering::Relaxed);
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What happens to an account that control no longer names.
    pub(super) fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
    }
}

/// Ids are made by control: a time in front, then random bits. Only the mixing matters here.
fn hash(id: &[u8; 16]) -> u64 {
    let n = u128::from_be_bytes(*id);
    let mixed = ((n >> 64) as u64 ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}
