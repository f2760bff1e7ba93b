//! The keys and accounts that ask for most, read off the ledger when somebody looks.
//!
//! A look walks the ledger's slots once and compares each with the look before. Nothing is kept of the
//! subjects but one number each, and that only while somebody keeps looking.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;

use super::rounded;
use crate::ledger::{Ledger, SlotId, Subject};

/// Keys that are shown, and accounts.
const SHOWN_MAX: usize = 20;
/// Two looks are at least so far apart; a third in between is told what the second saw.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look that is older is not compared with: its rate would be of another time.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Most requests first: a second since the look before, else of the day.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Busiest {
    /// How far back rates look; `null` on the first look.
    pub(crate) window_s: Option<f64>,
    pub(crate) keys: Vec<Busy>,
    pub(crate) accounts: Vec<Busy>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Busy {
    pub(crate) id: String,
    /// Admitted on this day, UTC.
    pub(crate) today: u64,
    pub(crate) per_s: Option<f64>,
}

#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: Mutex<Option<Look>>,
}

#[derive(Debug)]
struct Look {
    at: Instant,
    day: u32,
    /// By slot.
    counts: Vec<u64>,
    seen: Busiest,
}

impl Looks {
    pub(crate) fn look(&self, ledger: &Ledger, day: u32, now: Instant) -> Busiest {
        let mut last = self.last.lock();
        if let Some(look) = &*last
            && now.saturating_duration_since(look.at) < LOOK_EVERY
        {
            return look.seen.clone();
        }
        let before = last.take().filter(|look| look.day == day);
        let window_s = before.as_ref().map(|look| now.saturating_duration_since(look.at).as_secs_f64());
        let mut counts = Vec::with_capacity(ledger.subjects() as usize);
        let (mut keys, mut accounts) = (Top::default(), Top::default());
        ledger.each_admitted(day, |slot, is_key, today| {
            let at = slot.0 as usize;
            counts.resize(at + 1, 0);
            counts[at] = today;
            let lately = before.as_ref().map(|look| today.saturating_sub(look.counts.get(at).copied().unwrap_or(0)));
            if is_key { &mut keys } else { &mut accounts }.offer((lately.unwrap_or(today), today, slot));
        });
        let named = |top: Top| {
            let busy = top.first().into_iter().filter_map(|(lately, today, slot)| {
                let id = match ledger.subject(slot)? {
                    Subject::Key(id) => id.to_string(),
                    Subject::Account(id) => id.to_string(),
                };
                Some(Busy { id, today, per_s: window_s.map(|s| rounded(lately as f64 / s)) })
            });
            busy.collect()
        };
        let seen = Busiest { window_s: window_s.map(rounded), keys: named(keys), accounts: named(accounts) };
        *last = Some(Look { at: now, day, counts, seen: seen.clone() });
        seen
    }

    /// Lets go of the last look if nobody has looked for a while.
    pub(crate) fn forget(&self, now: Instant) {
        let mut last = self.last.lock();
        if last.as_ref().is_some_and(|look| now.saturating_duration_since(look.at) > FORGET_AFTER) {
            *last = None;
        }
    }
}

/// Lately, today, and whose.
type Count = (u64, u64, SlotId);

/// The greatest [`SHOWN_MAX`] of what is offered.
#[derive(Debug, Default)]
struct Top(BinaryHeap<Reverse<(u64, u64, u32)>>);

impl Top {
    fn offer(&mut self, (lately, today, slot): Count) {
        let count = Reverse((lately, today, slot.0));
        if today == 0 || (self.0.len() == SHOWN_MAX && self.0.peek().is_some_and(|least| *least <= count)) {
            return;
        }
        self.0.push(count);
        if self.0.len() > SHOWN_MAX {
            self.0.pop();
        }
    }

    fn first(self) -> Vec<Count> {
        let sorted = self.0.into_sorted_vec().into_iter();
        sorted.map(|Reverse((lately, today, slot))| (lately, today, SlotId(slot))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use clearway_config::{AccountId, KeyId, Limits, RequestId};
    use clearway_filters::quota::Now;

    use super::*;

    const AT: Now = Now { ms: 86_400_000, second: 86_400, milli: 0, day: 1, month: 23_640, uptime_ms: 0 };

    fn admit(ledger: &Arc<Ledger>, n: u8, times: u32) {
        let account = ledger.slot(&Subject::Account(AccountId::from_bytes([1; 16]))).unwrap();
        let key = ledger.slot(&Subject::Key(KeyId::from_bytes([n; 16]))).unwrap();
        let from = Ipv4Addr::LOCALHOST.into();
        for _ in 0..times {
            let limits = (&Limits::UNLIMITED, &Limits::UNLIMITED);
            drop(ledger.admit(&AT, RequestId::new(1, 1), from, (account, limits.0), (key, limits.1)).unwrap());
        }
    }

    #[test]
    fn the_busiest_are_of_the_day_at_first_and_then_of_the_time_between_looks() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path(), &AT).unwrap().ledger;
        for n in 1..=30 {
            admit(&ledger, n, u32::from(n));
        }
        let looks = Looks::default();
        let start = Instant::now();
        let first = looks.look(&ledger, 1, start);
        assert_eq!((first.keys.len(), first.keys[0].today, first.keys[19].today), (SHOWN_MAX, 30, 11));
        assert_eq!((first.keys[0].id.as_str(), first.keys[0].per_s), (KeyId::from_bytes([30; 16]).to_string().as_str(), None));
        assert_eq!((first.accounts.len(), first.accounts[0].today), (1, 465));

        admit(&ledger, 2, 8);
        assert_eq!(looks.look(&ledger, 1, start).keys, first.keys, "too soon to look again");
        let second = looks.look(&ledger, 1, start + Duration::from_secs(4));
        let busy = &second.keys[0];
        assert_eq!((busy.id.as_str(), busy.per_s), (KeyId::from_bytes([2; 16]).to_string().as_str(), Some(2.0)));
        assert_eq!((second.window_s, second.accounts[0].per_s), (Some(4.0), Some(2.0)));

        looks.forget(start + Duration::from_secs(65));
        assert_eq!(looks.look(&ledger, 1, start + Duration::from_secs(66)).window_s, None);
        assert_eq!(looks.look(&ledger, 2, start + Duration::from_secs(70)).keys, [], "a new day has no counts yet");
    }
}
