//! Accounts whose quotas are in use here: who waits for what, and what there is nothing left of.

use std::collections::{BTreeMap, HashMap};

use clearway_config::{AccountId, KeyId, Limits};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::{flight::Round, rechecks::Rechecks};
use crate::ledger::SlotId;

const SHARDS: usize = 64;

/// By the account's slot.
#[derive(Debug)]
pub(super) struct Accounts(Box<[Mutex<HashMap<SlotId, Account>>]>);

#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) limits: Limits,
    pub(super) rechecks: Rechecks,
    /// Those with limits of their own.
    pub(super) keys: HashMap<SlotId, Key>,
    /// Requests that wait for an answer.
    pub(super) waiting: u32,
    /// What is to be asked about next: the account alone, or with one of its keys.
    pub(super) pending: BTreeMap<Option<SlotId>, Why>,
    /// While a call is under way.
    pub(super) rounds: Option<watch::Receiver<Round>>,
    /// When somebody last asked, by the steady clock.
    pub(super) used_ms: u64,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) limits: Limits,
    pub(super) rechecks: Rechecks,
    pub(super) waiting: u32,
}

/// Why the store is asked; the greater reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// To return what is idle and to renew what ends.
    Tending,
    /// Little is left.
    Low,
    /// Requests wait.
    Wanted,
}

impl Default for Accounts {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Accounts {
    /// The accounts among which this one is. Never locked together with a slot of the ledger.
    pub(super) fn shard(&self, account: SlotId) -> MutexGuard<'_, HashMap<SlotId, Account>> {
        self.0[account.0 as usize % SHARDS].lock()
    }

    pub(super) fn slots(&self) -> Vec<SlotId> {
        self.0.iter().flat_map(|shard| shard.lock().keys().copied().collect::<Vec<_>>()).collect()
    }

    /// Every account and key in use, with its limits.
    pub(super) fn subjects(&self) -> Vec<(SlotId, Limits)> {
        let mut subjects = Vec::new();
        for shard in &self.0 {
            for (slot, account) in &*shard.lock() {
                subjects.push((*slot, account.limits));
                subjects.extend(account.keys.iter().map(|(slot, key)| (*slot, key.limits)));
            }
        }
        subjects
    }
}

impl Account {
    pub(super) fn new(id: AccountId, limits: Limits) -> Self {
        Self {
            id,
            limits,
            rechecks: Rechecks::default(),
            keys: HashMap::new(),
            waiting: 0,
            pending: BTreeMap::new(),
            rounds: None,
            used_ms: 0,
        }
    }

    pub(super) fn is_to_ask(&mut self, key: Option<SlotId>, why: Why) {
        let known = self.pending.entry(key).or_insert(why);
        *known = why.max(*known);
    }
}
