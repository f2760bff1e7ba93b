//! The quota ledger: every count that a limit is decided by, in a memory-mapped file that survives the
//! death of the process with nothing lost and nothing counted twice.
//!
//! One slot a subject (account or key) holds its windows under a lock of one byte. An admission locks
//! the account's slot, then the key's, decides on copies, writes the outcome into an in-flight record,
//! commits it with one store and only then writes the slots; a process killed at any point leaves
//! either nothing or a record from which the next start finishes the job. Why not plain atomics:
//! `docs/decisions/ledger-locks-and-redo-record.md`. What a power cut could take is appended to a
//! journal each second: `docs/decisions/ledger-journal.md`.
//!
//! The ledger reads no clock, starts no thread and sends nothing: its owner calls [`Ledger::flush`] and
//! [`Ledger::spool_ended_days`] now and then, and reports [`Ledger::totals`]. It is exact for one
//! process. In a fleet it admits within what a store has granted to this node, which stands in a second file of the
//! same slots ([`leased`]); asking for that is the business of [`crate::lease`].

mod admission;
mod directory;
mod error;
mod handover;
mod in_flight;
mod inherited;
mod journal;
mod leased;
mod mapping;
mod marks;
mod open;
mod replay;
mod spool;
#[cfg(test)]
mod tests;
mod usage;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use clearway_config::{ErrorCode, Limits, RequestId};
use clearway_filters::{
    Reject,
    quota::{Now, Windows, decide},
};
use parking_lot::Mutex;

pub use admission::{Admission, Interrupted, STATUS_CLIENT_GONE, Unlogged};
pub use directory::Subject;
pub use error::LedgerError;
pub(crate) use handover::hand_line;
pub use handover::{Ending, Heir};
pub use inherited::{Adopted, Inherited};
pub use leased::Asks;
pub use mapping::{IN_FLIGHT_MAX, SlotId};
pub use open::Opened;
pub use spool::SpooledDay;
pub use usage::Total;

use directory::{Directory, KIND_ACCOUNT, KIND_KEY};
use handover::Keeping;
use in_flight::{FreeRecords, State};
use journal::Journal;
use leased::{Decided, Leasing, Part};
use mapping::{Mapping, Slot, SlotGuard};
use marks::Marks;

/// The open ledger of this process.
#[derive(Debug)]
pub struct Ledger {
    map: Mapping,
    directory: Directory,
    free: FreeRecords,
    marks: Marks,
    journal: Mutex<Journal>,
    /// Held while days are spooled.
    spooling: Mutex<()>,
    keeping: Keeping,
    /// Asks the process before for ends of requests that it has not told of yet.
    news: OnceLock<Box<dyn News>>,
    /// What a fleet's store has granted; not there where this ledger counts for itself.
    leasing: OnceLock<Leasing>,
    id: [u8; 16],
    file: PathBuf,
    spool: PathBuf,
}

/// Where ends of requests are heard of that another process serves.
pub trait News: std::fmt::Debug + Send + Sync {
    /// Takes in what has been told and not been heard. False where nobody tells anything any more.
    fn hear(&self) -> bool;
}

/// The steps of an admission. A kill before [`Step::Committed`] leaves nothing, a kill from there on leaves all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The record says what is to be done.
    Staged,
    /// It has happened: one store has said so.
    Committed,
    AccountWritten,
    KeyWritten,
    /// The slots say so too, and may be unlocked.
    Admitted,
}

impl Ledger {
    /// Names the file: totals of one ledger only ever grow.
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// Where a subject is counted; for its whole life, so that a caller may remember it. Allocates a slot on
    /// a subject's first request ever, which fails on a full disk.
    pub fn slot(&self, subject: &Subject) -> Result<SlotId, LedgerError> {
        self.directory.slot(&self.map, subject).map_err(LedgerError::io("grow", &self.file))
    }

    /// Says that these two will be asked to admit a request soon. Among a million subjects most of an admission
    /// is waiting for memory; whoever has something else to check meanwhile does not wait.
    #[inline]
    pub fn prefetch(&self, account: SlotId, key: SlotId) {
        self.map.prefetch(account);
        self.map.prefetch(key);
        if let Some(leasing) = self.leasing.get() {
            leasing.prefetch(account);
            leasing.prefetch(key);
        }
    }

    /// Admits a request and counts it in every window of its account and its key, or refuses it and counts it in none.
    #[inline]
    pub fn admit(
        self: &Arc<Self>,
        now: &Now,
        request: RequestId,
        from: IpAddr,
        account: (SlotId, &Limits),
        key: (SlotId, &Limits),
    ) -> Result<Admission, Reject> {
        let admitted = self.admit_in_steps(now, request, from, account, Some(key), |_| {});
        if self.is_worth_again(&admitted) {
            self.admit_in_steps(now, request, from, account, Some(key), |_| {})
        } else {
            admitted
        }
    }

    /// Asked by whom a predecessor tells its requests' ends: what it has told has happened before a request that
    /// comes after it, also where nobody has heard it yet.
    pub fn hears(&self, news: Box<dyn News>) {
        // A ledger is adopted once.
        let _ = self.news.set(news);
    }

    #[inline]
    fn is_worth_again(&self, admitted: &Result<Admission, Reject>) -> bool {
        let Err(reject) = admitted else { return false };
        self.news.get().is_some_and(|news| reject.code() == ErrorCode::ConcurrencyExceeded && news.hear())
    }

    /// [`Ledger::admit`] for a request that comes without a key: it is counted for its account alone.
    pub fn admit_account(
        self: &Arc<Self>,
        now: &Now,
        request: RequestId,
        from: IpAddr,
        account: (SlotId, &Limits),
    ) -> Result<Admission, Reject> {
        let admitted = self.admit_in_steps(now, request, from, account, None, |_| {});
        if self.is_worth_again(&admitted) { self.admit_in_steps(now, request, from, account, None, |_| {}) } else { admitted }
    }

    /// Whether a request would be admitted now. Nothing is counted, and nothing is promised.
    pub fn would_admit(
        &self,
        now: &Now,
        (account, account_limits): (SlotId, &Limits),
        key: Option<(SlotId, &Limits)>,
    ) -> Result<(), Reject> {
        let account_slot = self.slot_of_kind(account, KIND_ACCOUNT)?;
        let key_slot = match key {
            Some((key, _)) => Some(self.slot_of_kind(key, KIND_KEY)?),
            None => None,
        };
        let (key, key_limits) = key.unwrap_or((SlotId::NOBODY, &Limits::UNLIMITED));
        let (account_guard, key_guard) = (account_slot.lock(), key_slot.map(Slot::lock));
        let mut account_windows = account_guard.windows();
        let mut key_windows = key_guard.as_ref().map(SlotGuard::windows).unwrap_or_default();
        let account = Part { id: account, limits: account_limits, guard: Some(&account_guard) };
        let key = Part { id: key, limits: key_limits, guard: key_guard.as_ref() };
        self.decide(now, (&account, &mut account_windows), (&key, &mut key_windows)).map(drop)
    }

    /// [`Ledger::admit`], telling `reached` how far it is: what a kill leaves behind at each step is tested.
    #[inline]
    fn admit_in_steps(
        self: &Arc<Self>,
        now: &Now,
        request: RequestId,
        from: IpAddr,
        (account, account_limits): (SlotId, &Limits),
        key: Option<(SlotId, &Limits)>,
        reached: impl Fn(Step),
    ) -> Result<Admission, Reject> {
        if self.is_given() {
            // Whoever asks is held up before it comes here.
            return Err(Reject::LedgerUnavailable);
        }
        // Accounts are locked before keys, so that no two requests wait for each other. Asking both for their
        // kind also fetches both cache lines at once, where the locks would fetch one after the other.
        let account_slot = self.slot_of_kind(account, KIND_ACCOUNT)?;
        let key_slot = match key {
            Some((key, _)) => Some(self.slot_of_kind(key, KIND_KEY)?),
            None => None,
        };
        let (key, key_limits) = key.unwrap_or((SlotId::NOBODY, &Limits::UNLIMITED));
        let number = self.free.take().ok_or(Reject::LedgerUnavailable)?;
        let record = &self.map.records()[number as usize];
        let (account_guard, key_guard) = (account_slot.lock(), key_slot.map(Slot::lock));
        let mut account_windows = account_guard.windows();
        let mut key_windows = key_guard.as_ref().map(SlotGuard::windows).unwrap_or_default();
        let account_part = Part { id: account, limits: account_limits, guard: Some(&account_guard) };
        let key_part = Part { id: key, limits: key_limits, guard: key_guard.as_ref() };
        let decided = self.decide(now, (&account_part, &mut account_windows), (&key_part, &mut key_windows));
        let Decided { standing, low } = match decided {
            Ok(decided) => decided,
            Err(reject) => {
                self.free.give_back(number);
                return Err(reject);
            }
        };
        record.stage(request, now.ms, (account, &account_windows), (key, &key_windows));
        reached(Step::Staged);
        record.set_state(State::Committed);
        reached(Step::Committed);
        account_guard.set_windows(&account_windows);
        reached(Step::AccountWritten);
        if let Some(key_guard) = &key_guard {
            key_guard.set_windows(&key_windows);
        }
        reached(Step::KeyWritten);
        record.set_state(State::Admitted);
        reached(Step::Admitted);
        self.marks.changed(account);
        if let Some(key_guard) = &key_guard {
            self.note_address(key, key_guard, from);
            self.marks.changed(key);
        }
        if low {
            self.ask_for_more(&account_part, &key_part);
        }
        drop((account_guard, key_guard));
        Ok(Admission::of(self.clone(), number, standing))
    }

    /// Brings to disk what has changed in memory: bounds what a power cut can take. Takes as long as the disk does.
    /// Also makes room ahead for subjects to come.
    pub fn flush(&self) -> Result<(), LedgerError> {
        self.keeping.while_kept(|| self.save()).unwrap_or(Ok(()))
    }

    fn save(&self) -> Result<(), LedgerError> {
        self.journal.lock().save(&self.map, &self.marks).map_err(LedgerError::io("save", &self.file))?;
        self.map.grow_ahead().map_err(LedgerError::io("grow", &self.file))
    }

    /// Accounts and keys that have ever been counted here.
    pub fn subjects(&self) -> u32 {
        self.map.slots()
    }

    /// Requests in flight, and those that have ended and wait for the access log.
    pub fn in_flight(&self) -> usize {
        IN_FLIGHT_MAX - self.free.count()
    }

    /// Decides on copies of both subjects' windows. The slots, whose locks are held, are left alone.
    #[inline]
    fn decide(
        &self,
        now: &Now,
        (account, account_windows): (&Part<'_>, &mut Windows),
        (key, key_windows): (&Part<'_>, &mut Windows),
    ) -> Result<Decided, Reject> {
        // Read under the locks: a day that was closed while we waited for one is closed for us.
        let progress = self.map.progress();
        let now = now.not_before_day(progress.closed_day.load(Ordering::Acquire).saturating_add(1));
        let spooled = progress.spooled_day.load(Ordering::Acquire);
        let is_lost = |windows: &Windows| windows.day_dropped_by(&now).is_some_and(|(day, _)| day > spooled);
        if is_lost(account_windows) || is_lost(key_windows) {
            return Err(Reject::LedgerUnavailable);
        }
        if let Some(leasing) = self.leasing.get().filter(|_| account.is_leased() || key.is_leased()) {
            return leasing.decide(&now, (account, account_windows), (key, key_windows));
        }
        let standing = decide(&now, (account_windows, account.limits), (key_windows, key.limits))?;
        Ok(Decided { standing, low: false })
    }

    /// A slot number that is not one of this ledger, or of the other kind, is a fault of ours: it is refused
    /// rather than charged to somebody else.
    #[inline]
    fn slot_of_kind(&self, id: SlotId, kind: u8) -> Result<&Slot, Reject> {
        self.map.slot(id).filter(|slot| slot.kind() == kind).ok_or(Reject::LedgerUnavailable)
    }

    #[inline]
    fn note_address(&self, id: SlotId, slot: &SlotGuard<'_>, from: IpAddr) {
        match from {
            IpAddr::V4(v4) => slot.set_address(4, v4.to_bits()),
            IpAddr::V6(v6) => {
                slot.set_address(6, 0);
                if let Some(name) = self.map.name(id) {
                    name.address_v6.store(v6.octets());
                }
            }
        }
    }
}
