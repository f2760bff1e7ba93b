//! Accounts whose quotas are in use here: who waits for what, and what there is nothing left of.

use std::collections::{BTreeMap, HashMap, VecDeque};

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
    /// What requests wait for, which is asked about first: the account alone, or with one of its keys.
    wanted: VecDeque<(Ticket, Option<SlotId>)>,
    next_ticket: Ticket,
    /// What else is to be asked about.
    pending: BTreeMap<Option<SlotId>, Why>,
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

/// Number of a question that requests wait for; those of an account are put in this order.
pub(super) type Ticket = u64;

/// What is to be asked about next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) key: Option<SlotId>,
    pub(super) why: Why,
    /// Where requests wait for it.
    pub(super) ticket: Option<Ticket>,
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
            wanted: VecDeque::new(),
            next_ticket: 1,
            pending: BTreeMap::new(),
            rounds: None,
            used_ms: 0,
        }
    }

    /// A request waits. All that ask for the same before it is asked about have the same ticket.
    pub(super) fn is_wanted(&mut self, key: Option<SlotId>) -> Ticket {
        self.pending.remove(&key);
        if let Some((ticket, _)) = self.wanted.iter().find(|(_, wanted)| *wanted == key) {
            return *ticket;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.wanted.push_back((ticket, key));
        ticket
    }

    /// Nobody waits for it.
    pub(super) fn is_to_ask(&mut self, key: Option<SlotId>, why: Why) {
        if self.wanted.iter().any(|(_, wanted)| *wanted == key) {
            return;
        }
        let known = self.pending.entry(key).or_insert(why);
        *known = why.max(*known);
    }

    pub(super) fn next(&mut self) -> Option<Next> {
        if let Some((ticket, key)) = self.wanted.pop_front() {
            return Some(Next { key, why: Why::Wanted, ticket: Some(ticket) });
        }
        // Keys first: a call for one of them tells of the account, too.
        self.pending.pop_last().map(|(key, why)| Next { key, why, ticket: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_wait_for_is_asked_about_first_and_in_their_order() {
        let mut account = Account::new(AccountId::new(1, 1), Limits::UNLIMITED);
        let [none, first, second] = [None, Some(SlotId(1)), Some(SlotId(2))];
        account.is_to_ask(none, Why::Tending);
        account.is_to_ask(first, Why::Low);
        assert_eq!((account.is_wanted(second), account.is_wanted(first), account.is_wanted(second)), (1, 2, 1));
        account.is_to_ask(second, Why::Low);
        let mut next = || account.next().map(|next| (next.key, next.why, next.ticket));
        assert_eq!(next(), Some((second, Why::Wanted, Some(1))));
        assert_eq!(next(), Some((first, Why::Wanted, Some(2))));
        assert_eq!((next(), next()), (Some((none, Why::Tending, None)), None));
    }
}
