//! A ledger in a fleet: requests are admitted within what the store has granted to this node, in the same step and
//! under the same locks as everywhere else. What is granted is written here and asked for by [`crate::lease`].

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use clearway_config::Limits;
use clearway_filters::{
    Reject,
    quota::{Holding, Leased, Now, Standing, Windows, Withheld, decide_leased},
};

use super::{
    Ledger, LedgerError, SlotId, Subject,
    directory::subject_of,
    mapping::{LeaseTable, SlotGuard},
};

const FILE: &str = "leases.bin";

/// Hears whose grants are nearly spent.
pub trait Asks: std::fmt::Debug + Send + Sync {
    /// Called on the request's way, under its locks: it does not block.
    fn low(&self, account: (SlotId, Limits), key: Option<(SlotId, Limits)>);
}

/// A ledger's part in a fleet.
#[derive(Debug)]
pub(super) struct Leasing {
    table: LeaseTable,
    /// Of this process; another that has the same file has a later one.
    epoch: AtomicU64,
    asks: Box<dyn Asks>,
}

/// One of a request's two subjects.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) id: SlotId,
    pub(super) limits: &'a Limits,
    /// `None` for a key where there is none.
    pub(super) guard: Option<&'a SlotGuard<'a>>,
}

/// A request that may be counted.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) standing: Standing,
    /// A grant of this node is nearly spent.
    pub(super) low: bool,
}

impl Part<'_> {
    /// Whether there is a limit that nodes share.
    #[inline]
    pub(super) fn is_leased(&self) -> bool {
        self.limits.can_refuse()
    }

    #[inline]
    fn holding(&self, table: &LeaseTable) -> Holding {
        match self.guard {
            Some(guard) if self.is_leased() => table.read(guard, self.id),
            _ => Holding::default(),
        }
    }
}

impl Leasing {
    #[inline]
    pub(super) fn prefetch(&self, id: SlotId) {
        self.table.prefetch(id);
    }

    #[inline]
    pub(super) fn decide(
        &self,
        now: &Now,
        (account, account_windows): (&Part<'_>, &mut Windows),
        (key, key_windows): (&Part<'_>, &mut Windows),
    ) -> Result<Decided, Reject> {
        let (account_holding, key_holding) = (account.holding(&self.table), key.holding(&self.table));
        let decided = decide_leased(
            now,
            self.table.is_valid(now),
            (account_windows, account.limits, &account_holding),
            (key_windows, key.limits, &key_holding),
        );
        match decided {
            Ok(Leased { standing, low }) => Ok(Decided { standing, low: low && !account_holding.asked }),
            Err(Withheld::Refused(refused)) => Err(Reject::Quota(refused)),
            Err(Withheld::Short(refused)) => Err(Reject::LeaseShort(refused)),
        }
    }
}

impl Ledger {
    /// From now on requests are admitted within grants only, of the file beside this one. Before anything is admitted,
    /// once; `boot` names the machine's run. Begins an epoch.
    pub fn lease(&self, boot: [u8; 16], now: &Now, asks: Box<dyn Asks>) -> Result<(), LedgerError> {
        let path = self.file.with_file_name(FILE);
        let table = LeaseTable::open(&path, &self.id, &boot, now).map_err(LedgerError::io("open", path))?;
        let epoch = AtomicU64::new(table.epoch());
        let _ = self.leasing.set(Leasing { table, epoch, asks });
        Ok(())
    }

    /// The number of this start among those of this ledger; 0 outside a fleet.
    pub fn epoch(&self) -> u64 {
        self.leasing.get().map_or(0, |leasing| leasing.epoch.load(Ordering::Acquire))
    }

    /// Begins another epoch: what was asked for before is void.
    pub(super) fn next_epoch(&self, now: &Now) -> Result<(), LedgerError> {
        let Some(leasing) = self.leasing.get() else { return Ok(()) };
        leasing.table.next_epoch(now).map_err(LedgerError::io("write", self.file.with_file_name(FILE)))?;
        leasing.epoch.store(leasing.table.epoch(), Ordering::Release);
        Ok(())
    }

    /// Whether what was granted may be spent: the store has been heard of lately enough.
    pub fn is_valid(&self, now: &Now) -> bool {
        self.leasing.get().is_some_and(|leasing| leasing.table.is_valid(now))
    }

    /// What was granted may be spent until then, by [`Now::uptime_ms`]. After it had become void, only when
    /// everything has been given up.
    pub fn set_valid_until(&self, uptime_ms: u64) {
        if let Some(leasing) = self.leasing.get() {
            self.keeping.while_kept(|| leasing.table.set_valid_until(uptime_ms));
        }
    }

    /// A subject's counts and holding, as of `now`. `None` where another process keeps the file.
    pub fn holding(&self, id: SlotId, now: &Now) -> Option<(Windows, Holding)> {
        let leasing = self.leasing.get()?;
        self.keeping.while_kept(|| {
            let slot = self.map.slot(id)?.lock();
            let mut windows = slot.windows();
            windows.roll(&self.not_closed(now));
            Some((windows, leasing.table.read(&slot, id)))
        })?
    }

    /// Changes a subject's holding, beside its counts as of `now`. What `change` returns; `None` where another process
    /// keeps the file.
    pub fn change_holding<T>(
        &self,
        id: SlotId,
        now: &Now,
        change: impl FnOnce(&Windows, &mut Holding) -> T,
    ) -> Result<Option<T>, LedgerError> {
        let Some(leasing) = self.leasing.get() else { return Ok(None) };
        let changed = self.keeping.while_kept(|| {
            let Some(slot) = self.map.slot(id) else { return Ok(None) };
            let slot = slot.lock();
            let mut windows = slot.windows();
            windows.roll(&self.not_closed(now));
            let mut holding = leasing.table.read(&slot, id);
            let changed = change(&windows, &mut holding);
            leasing.table.write(&slot, id, &holding)?;
            Ok(Some(changed))
        });
        changed.unwrap_or(Ok(None)).map_err(LedgerError::io("grow", self.file.with_file_name(FILE)))
    }

    /// Every subject that was admitted anything this month, or holds something. Walks all slots, locking each for a moment.
    pub fn each_counted(&self, now: &Now, mut tell: impl FnMut(SlotId, Subject, &Windows, &Holding)) {
        let Some(leasing) = self.leasing.get() else { return };
        self.keeping.while_kept(|| {
            for id in (0..self.map.slots()).map(SlotId) {
                let Some((slot, subject)) = self.map.slot(id).zip(subject_of(&self.map, id)) else { continue };
                let (mut windows, holding) = {
                    let slot = slot.lock();
                    (slot.windows(), leasing.table.read(&slot, id))
                };
                windows.roll(&self.not_closed(now));
                if windows.month_count > 0 || windows.day_count > 0 || holding != Holding::default() {
                    tell(id, subject, &windows, &holding);
                }
            }
        });
    }

    /// Changes every subject's holding, as [`Ledger::change_holding`] does one's. For what happens seldom.
    pub fn change_all_holdings(&self, now: &Now, mut change: impl FnMut(&Windows, &mut Holding)) -> Result<(), LedgerError> {
        let Some(leasing) = self.leasing.get() else { return Ok(()) };
        let held = |id: &SlotId| {
            let slot = self.map.slot(*id);
            slot.is_some_and(|slot| leasing.table.read(&slot.lock(), *id) != Holding::default())
        };
        for id in (0..self.map.slots()).map(SlotId).filter(held) {
            self.change_holding(id, now, &mut change)?;
        }
        Ok(())
    }

    fn not_closed(&self, now: &Now) -> Now {
        let closed = self.map.progress().closed_day.load(Ordering::Acquire);
        now.not_before_day(closed.saturating_add(1))
    }

    #[cold]
    pub(super) fn ask_for_more(self: &Arc<Self>, account: &Part<'_>, key: &Part<'_>) {
        let Some((leasing, guard)) = self.leasing.get().zip(account.guard) else { return };
        let holding = leasing.table.read(guard, account.id);
        leasing.table.set_asked(guard, account.id, &holding, true);
        leasing.asks.low((account.id, *account.limits), key.guard.map(|_| (key.id, *key.limits)));
    }
}
