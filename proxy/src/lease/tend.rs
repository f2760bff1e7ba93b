//! What is done beside requests: more is asked for when little is left, what is idle is returned, what ends is renewed.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clearway_config::Limits;
use clearway_filters::{
    lease::size,
    quota::{Holding, Now, Windows},
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Leases, accounts::Why, ask};
use crate::ledger::SlotId;

/// How often what is held is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// An account that holds something is looked at again after so long.
const HOLDING_MS: u64 = 500;
/// And one that nobody misses it of.
const QUIET_MS: u64 = 2_000;
/// And one that holds nothing.
const RESTING_MS: u64 = 5_000;
/// An account that holds nothing is forgotten when nobody has asked for this long: longer than what is exhausted is remembered.
const FORGOTTEN_MS: u64 = size::RECHECK_MS_MAX + 5_000;
/// Looks at a time: with more to look at than that, each comes later.
const LOOKS_MAX: usize = 20_000;
/// Calls at the same time when everything is returned.
const RETURNS_AT_ONCE: usize = 64;

/// A key, or the account itself, as it is now.
type State = (Option<SlotId>, Limits, Windows, Holding);

/// What tending hears of.
#[derive(Debug)]
pub(super) enum Event {
    /// Little is left.
    Low { account: (SlotId, Limits), key: Option<(SlotId, Limits)> },
    /// An account has come into use.
    New(SlotId),
}

impl Leases {
    pub(super) async fn tend(self: Arc<Self>, mut events: mpsc::UnboundedReceiver<Event>) {
        let mut due: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Low { account, key }) => self.refill(account, key),
                    Some(Event::New(slot)) => due.push(Reverse((self.clock.uptime_ms() + HOLDING_MS, slot.0))),
                    // It is held by this value itself.
                    None => return,
                },
                _ = looks.tick() => {
                    let uptime_ms = self.clock.uptime_ms();
                    for _ in 0..LOOKS_MAX {
                        let Some(Reverse((at_ms, slot))) = due.peek().copied().filter(|Reverse((at_ms, _))| *at_ms <= uptime_ms) else {
                            break;
                        };
                        due.pop();
                        if let Some(again_ms) = self.look(SlotId(slot)) {
                            due.push(Reverse((uptime_ms.max(at_ms) + again_ms, slot)));
                        }
                    }
                }
            }
        }
    }

    fn refill(self: &Arc<Self>, (account, limits): (SlotId, Limits), key: Option<(SlotId, Limits)>) {
        if !self.is_up() || self.is_leaving() {
            // Requests that find nothing left are told so.
            let _ = self.ledger.change_holding(account, &self.now(), |_, holding| holding.asked = false);
            return;
        }
        let key = key.filter(|(_, limits)| limits.can_refuse());
        let mut shard = self.accounts.shard(account);
        let Some(known) = self.known(&mut shard, account, limits, key) else { return };
        known.is_to_ask(key.map(|(slot, _)| slot), Why::Low);
        drop(self.fly(account, known));
    }

    /// Looks at an account, and says when to do so again; `None` when it is forgotten.
    fn look(self: &Arc<Self>, slot: SlotId) -> Option<u64> {
        let now = self.now();
        let (subjects, used_ms) = {
            let shard = self.accounts.shard(slot);
            let known = shard.get(&slot)?;
            let keys = known.keys.iter().map(|(slot, key)| (Some(*slot), key.limits));
            (keys.chain([(None, known.limits)]).collect::<Vec<_>>(), known.used_ms)
        };
        let of = |key: &Option<SlotId>| self.ledger.holding(key.unwrap_or(slot), &now);
        let states: Vec<State> = subjects
            .iter()
            .filter_map(|(key, limits)| of(key).map(|(windows, holding)| (*key, *limits, windows, holding)))
            .collect();
        let any_holds = states.iter().any(|(_, limits, windows, holding)| holds(&now, limits, windows, holding));
        let is_quiet = states.iter().all(|(_, limits, windows, holding)| is_quiet(&now, limits, windows, holding));

        let mut shard = self.accounts.shard(slot);
        let known = shard.get_mut(&slot)?;
        let rests = known.waiting == 0 && known.rounds.is_none() && now.uptime_ms.saturating_sub(used_ms) > FORGOTTEN_MS;
        if rests && !any_holds && known.used_ms == used_ms {
            shard.remove(&slot);
            return None;
        }
        if any_holds && self.is_up() && !self.is_leaving() {
            let tended: Vec<_> = states.iter().filter(|state| self.is_worth_tending(&now, state)).map(|(key, ..)| *key).collect();
            if !tended.is_empty() {
                tended.into_iter().for_each(|key| known.is_to_ask(key, Why::Tending));
                drop(self.fly(slot, known));
            }
        }
        Some(match any_holds {
            true if is_quiet => QUIET_MS,
            true => HOLDING_MS,
            false => RESTING_MS,
        })
    }

    /// Whether there is anything to return or renew.
    fn is_worth_tending(&self, now: &Now, (_, limits, windows, holding): &State) -> bool {
        let (occasion, mut holding) = (self.occasion(now, limits, 0, Why::Tending, false), *holding);
        ask::ask(&occasion, windows, &mut holding).worth
    }

    /// Returns all that is not needed and says that this node goes. When no more requests come.
    pub(crate) async fn leave(self: &Arc<Self>, within: Duration) {
        if self.ledger.is_given() {
            return;
        }
        self.leaving.store(true, Ordering::Relaxed);
        let returns = async {
            let slots = self.accounts.slots();
            stream::iter(slots).for_each_concurrent(RETURNS_AT_ONCE, |slot| self.return_all(slot)).await;
            self.say_farewell().await;
        };
        if !self.is_up() || timeout(within, returns).await.is_err() {
            tracing::warn!("quotas that this node holds could not all be returned: the next start has them");
        }
    }

    async fn return_all(&self, slot: SlotId) {
        // Two calls at a time for an account would not know of each other's answers.
        let rounds = self.accounts.shard(slot).get(&slot).and_then(|known| known.rounds.clone());
        if let Some(mut rounds) = rounds {
            while rounds.changed().await.is_ok() {}
        }
        let keys: Vec<SlotId> =
            self.accounts.shard(slot).get(&slot).map(|known| known.keys.keys().copied().collect()).unwrap_or_default();
        for key in keys {
            self.ask_once(slot, Some(key), Why::Tending, true).await;
        }
        self.ask_once(slot, None, Why::Tending, true).await;
    }
}

/// Whether nothing is held that ends soon, and nobody misses what is.
fn is_quiet(now: &Now, limits: &Limits, windows: &Windows, holding: &Holding) -> bool {
    let is_little = |limit: Option<u64>, parts: u64, granted: u64, used: u64, left: u64| {
        limit.is_none_or(|limit| granted.saturating_sub(used) <= size::least_long(limit, parts, left))
    };
    is_little(limits.per_day, size::DAY_PARTS, holding.day_granted, windows.day_count, holding.day_beyond)
        && is_little(limits.per_month, size::MONTH_PARTS, holding.month_granted, windows.month_count, holding.month_beyond)
        && !holding.has_share(now)
        && !(holding.has_slots(now) && holding.slots > 0)
}

/// Whether something is held that may have to be returned or renewed.
fn holds(now: &Now, limits: &Limits, windows: &Windows, holding: &Holding) -> bool {
    let day = limits.per_day.is_some() && holding.day == windows.day && holding.day_granted > windows.day_count;
    let month = limits.per_month.is_some()
        && !limits.overage
        && holding.month == windows.month
        && holding.month_granted > windows.month_count;
    let slots = limits.concurrent.is_some() && (holding.has_slots(now) && holding.slots > 0 || windows.concurrent > 0);
    day || month || slots || (limits.per_second.is_some() && holding.has_share(now))
}
