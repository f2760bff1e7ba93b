//! Giving the ledger to another process while requests that this one admitted are still being served.
//!
//! One process writes the file at every moment. The steps: whoever admits is held up by the owner of this
//! ledger, [`Ledger::hand_over`] sends the ends of requests to an [`Heir`] instead of the file, the owner
//! waits until no thread is in the middle of an end that began before, and [`Ledger::let_go`] writes what
//! there is to the journal and unlocks the file. Then the successor may open it, by [`Ledger::adopt`]. If it
//! fails and is certainly dead, [`Ledger::take_back`] makes everything as if nothing had been given.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clearway_filters::quota::Now;
use parking_lot::{Mutex, RwLock};

use super::{Ledger, LedgerError, Unlogged, in_flight::State};

/// What becomes of requests that this process admitted, told to whoever keeps the ledger now.
pub trait Heir: std::fmt::Debug + Send {
    /// Called on the request's way: it does not block.
    fn tell(&mut self, ending: Ending);

    /// All that it was told, in that order: the successor is gone, and none of it has been done.
    fn take_back(&mut self) -> Vec<Ending>;
}

/// A step at the end of a request. A record's first two steps come in this order, each at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The answer is over, and the concurrency free.
    Finished { record: u32, status: u16, duration_ms: u64 },
    /// Its line for the access log; without a record for a request that was not counted.
    Line { record: Option<u32>, line: Vec<u8> },
    /// No line is wanted, or it has been written.
    Forgotten { record: u32 },
}

/// Who keeps the file.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Another process does, or is about to.
    given: AtomicBool,
    heir: Mutex<Option<Box<dyn Heir>>>,
    /// Held shared by whatever walks or writes the file beside requests, and alone while it changes hands.
    walking: RwLock<()>,
}

impl Keeping {
    #[inline]
    pub(super) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Tells the heir, if there is one. Otherwise what has to be done is the caller's.
    fn tell(&self, ending: Ending) -> Option<Ending> {
        let mut heir = self.heir.lock();
        match heir.as_mut() {
            Some(heir) => heir.tell(ending),
            None => return Some(ending),
        }
        None
    }

    /// Runs what walks or writes the file, unless it is another's.
    pub(super) fn while_kept<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let _walking = self.walking.read();
        (!self.is_given()).then(work)
    }
}

impl Ledger {
    /// Whether another process keeps the file, or is about to: nothing is admitted here.
    #[inline]
    pub fn is_given(&self) -> bool {
        self.keeping.is_given()
    }

    /// From now on what ends is told to `heir`. Nothing may be admitted any more, and a thread may still be in the
    /// middle of an end that it writes to the file.
    pub fn hand_over(&self, heir: Box<dyn Heir>) {
        *self.keeping.heir.lock() = Some(heir);
        self.keeping.given.store(true, Ordering::Release);
    }

    /// Brings to disk what there is and unlocks the file. After [`Ledger::hand_over`], when no thread writes to it.
    pub fn let_go(&self) -> Result<(), LedgerError> {
        let _alone = self.keeping.walking.write();
        self.journal.lock().save(&self.map, &self.marks).map_err(LedgerError::io("save", &self.file))?;
        self.map.unlock_file().map_err(LedgerError::io("unlock", &self.file))
    }

    /// Locks the file again and does what the heir was told meanwhile; `log` takes lines with what is to be dropped
    /// when they are written. Only while nothing is admitted, and when the successor is certainly dead: whatever
    /// locks it held in the file are void.
    pub fn take_back(self: &Arc<Self>, mut log: impl FnMut(Option<Unlogged>, &[u8])) -> Result<(), LedgerError> {
        let _alone = self.keeping.walking.write();
        self.map.lock_file().map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => LedgerError::InUse { file: self.file.clone() },
            _ => LedgerError::io("lock", &self.file)(e),
        })?;
        self.map.reset_locks();
        // It may have begun one of its own.
        self.next_epoch(&Now::at(0))?;
        // Held until all of it is done: what ends meanwhile waits its turn.
        let mut heir = self.keeping.heir.lock();
        let mut lines = Vec::new();
        for ending in heir.as_mut().map(|heir| heir.take_back()).unwrap_or_default() {
            match ending {
                Ending::Finished { record, status, duration_ms } => {
                    if self.map.records()[record as usize].state() == Some(State::Admitted) {
                        self.release(record, status, duration_ms);
                    }
                }
                Ending::Line { record, line } => lines.push((record.map(|record| self.owed(record)), line)),
                Ending::Forgotten { record } => self.free(record),
            }
        }
        *heir = None;
        self.keeping.given.store(false, Ordering::Release);
        drop(heir);
        // Whoever takes one may drop what came with it, which ends it here again.
        lines.into_iter().for_each(|(ticket, line)| log(ticket, &line));
        Ok(())
    }

    /// Ends a request's answer: in the file, or by telling whoever keeps it.
    #[inline]
    pub(super) fn end(&self, record: u32, status: u16, duration_ms: u64) {
        if self.is_given() && self.keeping.tell(Ending::Finished { record, status, duration_ms }).is_none() {
            return;
        }
        self.release(record, status, duration_ms);
    }

    /// Makes a record anybody's.
    #[inline]
    pub(super) fn forget(&self, record: u32) {
        if self.is_given() && self.keeping.tell(Ending::Forgotten { record }).is_none() {
            return;
        }
        self.free(record);
    }

    fn free(&self, record: u32) {
        self.map.records()[record as usize].set_state(State::Free);
        self.free.give_back(record);
    }
}

/// Hands a line to whoever keeps the ledger, with the record that it settles. `Err`: that is this process, which
/// has the ticket back.
pub(crate) fn hand_line(ledger: &Ledger, ticket: Option<Unlogged>, line: &[u8]) -> Result<(), Option<Unlogged>> {
    if !ledger.is_given() {
        return Err(ticket);
    }
    let record = ticket.as_ref().map(Unlogged::record);
    match ledger.keeping.tell(Ending::Line { record, line: line.to_vec() }) {
        None => {
            if let Some(ticket) = ticket {
                ticket.settled();
            }
            Ok(())
        }
        Some(_) => Err(ticket),
    }
}
