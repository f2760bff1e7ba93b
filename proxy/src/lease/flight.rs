//! Calls to the store: one at a time for an account, and all that wait for it are served by the same.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use clearway_config::Limits;
use clearway_filters::{
    lease::{Answer, Asks, Given, Grants, Take, call::bucket_of},
    quota::{Now, Room},
};
use tokio::sync::watch;

use super::{
    Leases, Wanted,
    accounts::{Account, Next, Ticket, Why},
    ask::{self, Answered, Occasion, Question},
    rechecks::Rechecks,
    tend::Event,
};
use crate::ledger::{SlotId, Subject};

/// Calls for one question, where the store says that it must be put anew.
const CALLS_MAX: u32 = 4;

/// How far the calls for an account are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Of the last question that requests waited for.
    pub(super) ticket: Ticket,
    /// Whether the store has answered it.
    pub(super) answered: bool,
}

/// A request that waits; it does no longer when this is dropped.
pub(super) struct Waiting<'l> {
    leases: &'l Leases,
    account: SlotId,
    key: Option<SlotId>,
}

/// What became of a request that wants more than there is.
pub(super) enum Joined<'l> {
    /// Until what it has a ticket for has been asked.
    Waits(Waiting<'l>, watch::Receiver<Round>, Ticket),
    /// The store has said lately that there is nothing.
    Nothing,
    /// For a while nothing is granted: the store's data is being restored, and other nodes are waited for, or its clock
    /// was set.
    Withheld,
}

/// A call, and what its answer is to be applied to.
struct Composed {
    take: Take,
    bucket: u16,
    /// Of the bucket, before.
    losses: u64,
    account: (SlotId, Asks),
    key: Option<(SlotId, Asks)>,
}

/// An answer that has come.
struct Landing<'c> {
    now: Now,
    /// The store's time, as it said.
    said_ms: u64,
    sent_ms: u64,
    composed: &'c Composed,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut shard = self.leases.accounts.shard(self.account);
        let Some(account) = shard.get_mut(&self.account) else { return };
        account.waiting = account.waiting.saturating_sub(1);
        if let Some(key) = self.key.and_then(|key| account.keys.get_mut(&key)) {
            key.waiting = key.waiting.saturating_sub(1);
        }
    }
}

impl Leases {
    /// Has a request wait for its account's next answer.
    pub(super) fn join(self: &Arc<Self>, wanted: &Wanted) -> Joined<'_> {
        let now = self.now();
        let (account, limits) = wanted.account;
        let key = wanted.key.filter(|(_, limits)| limits.can_refuse());
        let valid = self.ledger.is_valid(&now);
        let room = |slot: SlotId, limits: &Limits| {
            let (windows, holding) = self.ledger.holding(slot, &now)?;
            Some(holding.room(&now, &windows, limits, valid))
        };
        let account_room = room(account, &limits);
        let key_room = key.and_then(|(slot, limits)| room(slot, &limits));

        let mut shard = self.accounts.shard(account);
        let Some(known) = self.known(&mut shard, account, limits, key) else { return Joined::Nothing };
        if self.buckets.waits_for_others(bucket_of(&known.id)) {
            return Joined::Withheld;
        }
        let lacks_leased = |room: &Room| room.second == 0 || room.concurrent == 0;
        if self.is_unsteady(&now) && account_room.iter().chain(&key_room).any(lacks_leased) {
            return Joined::Withheld;
        }
        let forbids = |rechecks: &Rechecks, room: &Room| rechecks.forbid(room, now.uptime_ms);
        if account_room.is_some_and(|room| forbids(&known.rechecks, &room)) {
            return Joined::Nothing;
        }
        if let Some(((slot, _), room)) = key.zip(key_room)
            && known.keys.get(&slot).is_some_and(|key| forbids(&key.rechecks, &room))
        {
            return Joined::Nothing;
        }
        known.waiting += 1;
        let key = key.map(|(slot, _)| slot);
        if let Some(key) = key.and_then(|slot| known.keys.get_mut(&slot)) {
            key.waiting += 1;
        }
        let ticket = known.is_wanted(key);
        let rounds = self.fly(account, known);
        drop(shard);
        Joined::Waits(Waiting { leases: self, account, key }, rounds, ticket)
    }

    /// The account, from now on in use. `None` where the slot is not an account's.
    pub(super) fn known<'s>(
        &self,
        shard: &'s mut HashMap<SlotId, Account>,
        slot: SlotId,
        limits: Limits,
        key: Option<(SlotId, Limits)>,
    ) -> Option<&'s mut Account> {
        let known = match shard.entry(slot) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let Some(Subject::Account(id)) = self.ledger.subject(slot) else { return None };
                let _ = self.events.send(Event::New(slot));
                unknown.insert(Account::new(id, limits))
            }
        };
        known.limits = limits;
        known.used_ms = self.clock.uptime_ms();
        if let Some((slot, limits)) = key {
            let Some(Subject::Key(id)) = self.ledger.subject(slot) else { return None };
            let new = super::accounts::Key { id, limits, rechecks: Rechecks::default(), waiting: 0 };
            known.keys.entry(slot).or_insert(new).limits = limits;
        }
        Some(known)
    }

    /// Sees to it that what is pending is asked.
    pub(super) fn fly(self: &Arc<Self>, slot: SlotId, account: &mut Account) -> watch::Receiver<Round> {
        // One whose sender is gone has ended in the middle.
        if let Some(rounds) = account.rounds.as_ref().filter(|rounds| rounds.has_changed().is_ok()) {
            return rounds.clone();
        }
        let (tell, rounds) = watch::channel(Round::default());
        account.rounds = Some(rounds.clone());
        let leases = self.clone();
        self.runtime.spawn(async move { leases.ask_all(slot, tell).await });
        rounds
    }

    /// Asks what is pending until nothing is.
    async fn ask_all(self: Arc<Self>, slot: SlotId, tell: watch::Sender<Round>) {
        loop {
            let next = {
                let mut shard = self.accounts.shard(slot);
                let Some(account) = shard.get_mut(&slot) else { return };
                let next = account.next();
                if next.is_none() {
                    account.rounds = None;
                }
                next
            };
            let Some(Next { key, why, ticket }) = next else { return };
            let answered = self.ask_once(slot, key, why, false).await;
            if let Some(ticket) = ticket {
                tell.send_replace(Round { ticket, answered });
            }
        }
    }

    /// One question, and its answer taken in. False where there was none.
    pub(super) async fn ask_once(&self, account: SlotId, key: Option<SlotId>, why: Why, leaving: bool) -> bool {
        for _ in 0..CALLS_MAX {
            let Some(composed) = self.compose(account, key, why, leaving) else { return true };
            let sent_ms = self.clock.uptime_ms();
            let answer = self.store.take(&composed.take).await;
            let bucket = composed.bucket;
            match answer {
                Ok(Answer::Given(grants)) => {
                    self.metrics.called("take", "given");
                    self.land(&composed, &grants, sent_ms);
                    return true;
                }
                Ok(Answer::Stale) => self.metrics.called("take", "stale"),
                Ok(Answer::Lost(incarnation)) => {
                    self.metrics.called("take", "lost");
                    if leaving || !self.restored(bucket, Some(incarnation)).await {
                        break;
                    }
                }
                Ok(Answer::Restoring) => {
                    self.metrics.called("take", "restoring");
                    if leaving || !self.restored(bucket, None).await {
                        break;
                    }
                }
                Err(e) => {
                    self.metrics.called("take", e.label());
                    self.lost(&e);
                    break;
                }
            }
        }
        self.not_asked(account);
        false
    }

    /// What to say and ask; `None` where it is worth no call. What is returned by it has been lowered when this returns.
    fn compose(&self, account: SlotId, key: Option<SlotId>, why: Why, leaving: bool) -> Option<Composed> {
        let now = self.now();
        let (id, limits, waiting, of_key) = {
            let shard = self.accounts.shard(account);
            let known = shard.get(&account)?;
            let of_key = key.and_then(|slot| Some((slot, known.keys.get(&slot)?)));
            (known.id, known.limits, known.waiting, of_key.map(|(slot, key)| (slot, key.id, key.limits, key.waiting)))
        };
        let bucket = bucket_of(&id);
        // Before what is said is read: of an answer to it nothing is taken in after a loss.
        let losses = self.buckets.losses(bucket);
        let question = |slot, limits, waiting| self.question(&now, slot, limits, waiting, why, leaving);
        let account_asks = question(account, limits, waiting)?;
        let key_asks = match of_key {
            Some((slot, _, limits, waiting)) => Some(question(slot, limits, waiting)?),
            None => None,
        };
        if !account_asks.worth && !key_asks.is_some_and(|asks| asks.worth) {
            self.not_asked(account);
            return None;
        }
        let key = of_key.zip(key_asks).map(|((slot, id, ..), asks)| (slot, id, asks.asks));
        let take = Take {
            caller: self.caller(),
            incarnation: self.buckets.restored_to(bucket),
            account: id,
            account_asks: account_asks.asks,
            key: key.map(|(_, id, asks)| (id, asks)),
        };
        let key = key.map(|(slot, _, asks)| (slot, asks));
        Some(Composed { take, bucket, losses, account: (account, account_asks.asks), key })
    }

    fn question(&self, now: &Now, slot: SlotId, limits: Limits, waiting: u32, why: Why, leaving: bool) -> Option<Question> {
        let occasion = self.occasion(now, &limits, waiting, why, leaving);
        let asked = self.ledger.change_holding(slot, now, |windows, holding| ask::ask(&occasion, windows, holding));
        asked.unwrap_or_else(|e| {
            tracing::error!(error = &e as &dyn std::error::Error, "what is held of quotas cannot be written");
            None
        })
    }

    pub(super) fn occasion<'o>(&self, now: &'o Now, limits: &'o Limits, waiting: u32, why: Why, leaving: bool) -> Occasion<'o> {
        let policy = &self.options.policy;
        Occasion {
            now,
            limits,
            valid: self.ledger.is_valid(now),
            waiting,
            refills: why > Why::Tending,
            leaving,
            share_lease_ms: policy.share_lease_ms,
            slots_lease_ms: policy.slots_lease_ms,
            unsteady: self.is_unsteady(now),
        }
    }

    /// Takes an answer in.
    fn land(&self, composed: &Composed, grants: &Grants, sent_ms: u64) {
        self.hear_time(sent_ms, grants.now_ms);
        let landing = Landing { now: self.now(), said_ms: grants.now_ms, sent_ms, composed };
        let (account, asked) = &composed.account;
        let rechecks = self.accounts.shard(*account).get(account).map(|known| known.rechecks);
        let landed = self.land_subject(&landing, *account, asked, &grants.account, rechecks);
        if let Some((rechecks, known)) = landed.zip(self.accounts.shard(*account).get_mut(account)) {
            known.rechecks = rechecks;
        }
        let Some((key, asked)) = &composed.key else { return };
        let rechecks = self.accounts.shard(*account).get(account).and_then(|known| Some(known.keys.get(key)?.rechecks));
        let landed = self.land_subject(&landing, *key, asked, &grants.key, rechecks);
        let mut shard = self.accounts.shard(*account);
        let known = shard.get_mut(account).and_then(|known| known.keys.get_mut(key));
        if let Some((rechecks, known)) = landed.zip(known) {
            known.rechecks = rechecks;
        }
    }

    fn land_subject(
        &self,
        landing: &Landing<'_>,
        slot: SlotId,
        asked: &Asks,
        given: &Given,
        rechecks: Option<Rechecks>,
    ) -> Option<Rechecks> {
        let Landing { now, said_ms, sent_ms, composed } = landing;
        let mut rechecks = rechecks.unwrap_or_default();
        let landed = self.ledger.change_holding(slot, now, |windows, holding| {
            holding.asked = false;
            // Under the lock: whoever looks for what is held after a loss has not looked at this, or has counted it first.
            let is_void = self.buckets.losses(composed.bucket) != composed.losses;
            // Here as well: leases end after this is said, and before they are looked at.
            let unsteady = self.is_unsteady(now);
            let given = if unsteady { Given { second: None, slots: None, ..*given } } else { *given };
            let answered = Answered { asked, given: &given, sent_ms: *sent_ms, said_ms: *said_ms };
            (!is_void).then(|| ask::take_in(&answered, now, windows, holding, &mut rechecks))
        });
        match landed {
            Ok(Some(Some(added))) => self.metrics.granted(&added),
            // Another process has the file, or the store's data was lost: what was given is nobody's.
            Ok(_) => return None,
            Err(e) => tracing::error!(error = &e as &dyn std::error::Error, "what was granted cannot be written"),
        }
        Some(rechecks)
    }

    /// No answer is under way any more.
    fn not_asked(&self, account: SlotId) {
        // It is written as before: that takes no room.
        let _ = self.ledger.change_holding(account, &self.now(), |_, holding| holding.asked = false);
    }
}
