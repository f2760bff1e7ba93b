//! What this node holds and has counted, as it is told to a store that does not know it: by one walk over the ledger.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use clearway_config::{AccountId, KeyId, Limits};
use clearway_filters::{
    lease::{Held, HeldLong, HeldSecond, HeldSlots, SubjectId, call::bucket_of},
    quota::{Holding, Now, Windows},
};

use super::Leases;
use crate::ledger::Subject;

/// Of each bucket, what this node holds and has counted.
type HeldByBucket = BTreeMap<u16, Vec<Held>>;

impl Leases {
    /// Walks the ledger: it takes a moment.
    pub(super) fn held(&self, buckets: &[u16]) -> HeldByBucket {
        let mut held: HeldByBucket = buckets.iter().map(|bucket| (*bucket, Vec::new())).collect();
        let mut of_keys: HashMap<KeyId, (AccountId, Limits)> = HashMap::new();
        self.snapshot.each_limited_key(|key, account, limits| match of_keys.entry(key) {
            // A key's secrets all have its limits.
            Entry::Occupied(_) => {}
            Entry::Vacant(vacant) => drop(vacant.insert((account, *limits))),
        });
        let now = self.now();
        self.ledger.each_counted(&now, |_, subject, windows, holding| {
            let found = match subject {
                Subject::Account(id) => self.snapshot.limits_of(&id).map(|limits| (SubjectId::Account(id), id, limits)),
                Subject::Key(id) => of_keys.get(&id).map(|(account, limits)| (SubjectId::Key(id), *account, *limits)),
            };
            let Some((subject, account, limits)) = found.filter(|(.., limits)| limits.can_refuse()) else { return };
            if let Some(held) = held.get_mut(&bucket_of(&account)) {
                held.push(self.held_of(&now, subject, &limits, windows, holding));
            }
        });
        held
    }

    fn held_of(&self, now: &Now, subject: SubjectId, limits: &Limits, windows: &Windows, holding: &Holding) -> Held {
        let long = |window: u32, limit: u64, is_its: bool, granted: u64, beyond: u64, used: u64| {
            let holds = if is_its { granted.max(used) } else { used };
            let out = if is_its && granted > 0 { limit.saturating_sub(beyond).max(holds) } else { holds };
            HeldLong { window, holds, out }
        };
        let lasts_ms = |until_ms: u64| until_ms.saturating_sub(now.uptime_ms);
        Held {
            subject,
            second: limits.per_second.map(|_| {
                let has_share = holding.has_share(now);
                let tokens = if holding.second == windows.second { holding.second_granted } else { 0 };
                HeldSecond {
                    share: if has_share { holding.share } else { 0 },
                    lasts_ms: lasts_ms(holding.share_until_ms),
                    second: windows.second,
                    count: windows.second_count.max(tokens),
                    before: windows.second_before,
                }
            }),
            day: limits.per_day.map(|limit| {
                let is_its = holding.day == windows.day;
                long(windows.day, limit, is_its, holding.day_granted, holding.day_beyond, windows.day_count)
            }),
            month: limits.per_month.filter(|_| !limits.overage).map(|limit| {
                let is_its = holding.month == windows.month;
                long(windows.month, limit, is_its, holding.month_granted, holding.month_beyond, windows.month_count)
            }),
            slots: limits.concurrent.map(|_| {
                let has_slots = holding.has_slots(now);
                HeldSlots {
                    slots: if has_slots { holding.slots.max(windows.concurrent) } else { windows.concurrent },
                    lasts_ms: lasts_ms(holding.slots_until_ms),
                }
            }),
        }
    }
}
