//! While no store can be asked: what a plan says is to happen when what this node was granted is spent.

use std::collections::HashMap;

use clearway_config::{Limits, OnQuotaStoreLoss};
use clearway_filters::{
    lease::size,
    quota::{Holding, Now, Windows},
};
use parking_lot::Mutex;

use super::{Leases, Obtained, Wanted};
use crate::ledger::SlotId;

/// How long what is leased until a time lasts, where this node leases it to itself.
const SELF_LEASED_MS: u64 = 1_000;

/// What nodes have taken of days and months without the store: what may have been admitted beyond a limit.
#[derive(Debug, Default)]
pub(super) struct Debts(Mutex<HashMap<SlotId, Debt>>);

#[derive(Debug, Clone, Copy, Default)]
struct Debt {
    /// The day, and how much of it.
    day: (u32, u64),
    month: (u32, u64),
}

/// Of one subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    day: u64,
    month: u64,
}

impl Leases {
    /// What becomes of a request that the store cannot be asked for.
    pub(super) fn without_store(&self, wanted: &Wanted) -> Obtained {
        let unavailable = || {
            self.metrics.refused_without_store();
            Obtained::Unavailable
        };
        if wanted.on_loss == OnQuotaStoreLoss::LeaseThenDeny {
            return unavailable();
        }
        let now = self.now();
        let members = self.fleet.lock().members().len().max(1) as u64;
        let valid = self.ledger.is_valid(&now);
        for (slot, limits) in [Some(wanted.account), wanted.key].into_iter().flatten().filter(|(_, limits)| limits.can_refuse()) {
            let taken = self.ledger.change_holding(slot, &now, |windows, holding| {
                take_without(wanted.on_loss, members, (&now, valid), &limits, windows, holding)
            });
            match taken {
                Ok(Some(Some(taken))) => self.debts.add(slot, &now, taken),
                _ => return unavailable(),
            }
        }
        Obtained::Again
    }

    /// How many requests may have been admitted beyond limits at most, in days and months that still run.
    pub(crate) fn excess_max(&self) -> u64 {
        self.debts.excess(&self.now())
    }

    /// What is held and not spent, of days and months.
    pub(crate) fn unspent(&self) -> (u64, u64) {
        let now = self.now();
        let mut unspent = (0, 0);
        for (slot, limits) in self.accounts.subjects() {
            let Some((windows, holding)) = self.ledger.holding(slot, &now) else { continue };
            if limits.per_day.is_some() && holding.day == windows.day {
                unspent.0 += holding.day_granted.saturating_sub(windows.day_count);
            }
            if limits.per_month.is_some() && !limits.overage && holding.month == windows.month {
                unspent.1 += holding.month_granted.saturating_sub(windows.month_count);
            }
        }
        unspent
    }
}

/// Takes what the plan lets a node take by itself, of each limit that has nothing left; `None` where there is nothing
/// to be had of one.
fn take_without(
    policy: OnQuotaStoreLoss,
    members: u64,
    (now, valid): (&Now, bool),
    limits: &Limits,
    windows: &Windows,
    holding: &mut Holding,
) -> Option<Taken> {
    let was_running = (holding.day == windows.day, holding.month == windows.month);
    holding.roll(windows);
    let room = holding.room(now, windows, limits, valid);
    let mut taken = Taken::default();
    // Of a window that has begun since, nobody has anything.
    let part = |limit: u64, knows: bool, beyond: u64, used: u64, is_shared: bool| match policy {
        OnQuotaStoreLoss::LeaseThenDeny => 0,
        OnQuotaStoreLoss::LeaseThenLocalShare if is_shared => 0,
        OnQuotaStoreLoss::LeaseThenLocalShare => size::local_share(if knows { beyond } else { limit }, members),
        // The ledger's own count keeps to the limit.
        OnQuotaStoreLoss::LeaseThenAllow => {
            u64::from(windows.second_before.max(windows.second_count)).max(1).min(limit.saturating_sub(used))
        }
    };
    if let Some(limit) = limits.per_day.filter(|_| room.day == 0) {
        let knows = was_running.0 && (holding.day_granted > 0 || holding.day_beyond > 0);
        taken.day = part(limit, knows, holding.day_beyond, windows.day_count, holding.day_shared);
        if taken.day == 0 {
            return None;
        }
        holding.day_granted = windows.day_count + taken.day;
        (holding.day_shared, holding.day_debt) = (true, true);
    }
    if let Some(limit) = limits.per_month.filter(|_| room.month == 0) {
        let knows = was_running.1 && (holding.month_granted > 0 || holding.month_beyond > 0);
        taken.month = part(limit, knows, holding.month_beyond, windows.month_count, holding.month_shared);
        if taken.month == 0 {
            return None;
        }
        holding.month_granted = windows.month_count + taken.month;
        (holding.month_shared, holding.month_debt) = (true, true);
    }
    let of_few = |limit: u32| match policy {
        OnQuotaStoreLoss::LeaseThenAllow => limit,
        _ => limit / u32::try_from(members).unwrap_or(u32::MAX),
    };
    if let Some(limit) = limits.per_second.filter(|_| room.second == 0) {
        if of_few(limit) == 0 || (holding.has_share(now) && holding.share >= of_few(limit)) {
            return None;
        }
        (holding.share, holding.share_until_ms) = (of_few(limit), now.uptime_ms + SELF_LEASED_MS);
    }
    if let Some(limit) = limits.concurrent.filter(|_| room.concurrent == 0) {
        if of_few(limit) == 0 || (holding.has_slots(now) && holding.slots >= of_few(limit)) {
            return None;
        }
        (holding.slots, holding.slots_until_ms) = (of_few(limit), now.uptime_ms + SELF_LEASED_MS);
    }
    Some(taken)
}

impl Debts {
    fn add(&self, slot: SlotId, now: &Now, taken: Taken) {
        if taken == Taken::default() {
            return;
        }
        let mut debts = self.0.lock();
        let debt = debts.entry(slot).or_default();
        let add = |debt: &mut (u32, u64), window: u32, more: u64| {
            *debt = (window, if debt.0 == window { debt.1.saturating_add(more) } else { more });
        };
        add(&mut debt.day, now.day, taken.day);
        add(&mut debt.month, now.month, taken.month);
    }

    fn excess(&self, now: &Now) -> u64 {
        let mut debts = self.0.lock();
        debts.retain(|_, debt| debt.day.0 >= now.day || debt.month.0 >= now.month);
        let of = |debt: (u32, u64), window: u32| if debt.0 == window { debt.1 } else { 0 };
        debts.values().map(|debt| of(debt.day, now.day).max(of(debt.month, now.month))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: u64 = 1_770_724_800_000;

    fn take(policy: OnQuotaStoreLoss, windows: &Windows, holding: &mut Holding, limits: &Limits) -> Option<Taken> {
        let now = Now::at(NOON_MS).with_uptime(1_000);
        take_without(policy, 3, (&now, true), limits, windows, holding)
    }

    fn today() -> Windows {
        let now = Now::at(NOON_MS);
        Windows { day: now.day, month: now.month, second: now.second, day_count: 40, month_count: 40, ..Windows::default() }
    }

    #[test]
    fn a_local_share_is_a_part_of_what_was_left_and_is_taken_once_a_window() {
        let limits = Limits { per_day: Some(100), ..Limits::UNLIMITED };
        let windows = today();
        let mut holding =
            Holding { day: windows.day, month: windows.month, day_granted: 40, day_beyond: 31, ..Holding::default() };
        let policy = OnQuotaStoreLoss::LeaseThenLocalShare;
        assert_eq!(take(policy, &windows, &mut holding, &limits), Some(Taken { day: 10, month: 0 }));
        assert_eq!((holding.day_granted, holding.day_debt), (50, true));
        let spent = Windows { day_count: 50, ..windows };
        assert_eq!(take(policy, &spent, &mut holding, &limits), None, "not again, however often the store is lost");
        let tomorrow = Windows { day: windows.day + 1, day_count: 0, ..windows };
        assert_eq!(
            take(policy, &tomorrow, &mut holding, &limits),
            Some(Taken { day: 33, month: 0 }),
            "of which nobody has anything"
        );
    }

    #[test]
    fn allowing_goes_on_to_the_limit_by_this_nodes_own_count() {
        let limits = Limits { per_day: Some(41), per_second: Some(7), ..Limits::UNLIMITED };
        let windows = today();
        let mut holding = Holding::default();
        let policy = OnQuotaStoreLoss::LeaseThenAllow;
        assert_eq!(take(policy, &windows, &mut holding, &limits), Some(Taken { day: 1, month: 0 }));
        assert_eq!((holding.share, holding.share_until_ms), (7, 2_000));
        let full = Windows { day_count: 41, ..windows };
        assert_eq!(take(policy, &full, &mut holding, &limits), None);
    }

    #[test]
    fn a_limit_that_is_less_than_the_nodes_has_no_local_share() {
        let limits = Limits { per_second: Some(2), ..Limits::UNLIMITED };
        assert_eq!(take(OnQuotaStoreLoss::LeaseThenLocalShare, &today(), &mut Holding::default(), &limits), None);
    }

    #[test]
    fn the_excess_is_of_windows_that_still_run() {
        let debts = Debts::default();
        let now = Now::at(NOON_MS);
        debts.add(SlotId(1), &now, Taken { day: 10, month: 4 });
        debts.add(SlotId(1), &now, Taken { day: 5, month: 0 });
        debts.add(SlotId(2), &now, Taken { day: 0, month: 7 });
        assert_eq!(debts.excess(&now), 22);
        assert_eq!(debts.excess(&Now::at(NOON_MS + 86_400_000)), 11);
    }
}
