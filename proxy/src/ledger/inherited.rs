//! Opening a ledger whose process still serves requests: they keep their place, and end when it says so.
//!
//! What a start after a death voids is kept here: a record that is admitted holds its concurrency until the
//! predecessor tells of its end, or is gone, which settles it as after a death.

use std::{collections::HashSet, path::Path, sync::Arc};

use clearway_filters::quota::Now;

use super::{
    Interrupted, Ledger, LedgerError, STATUS_CLIENT_GONE, Unlogged,
    in_flight::State,
    open::{Owed, interrupted},
};

/// An open ledger, and what the process before still serves.
#[derive(Debug)]
pub struct Adopted {
    pub ledger: Arc<Ledger>,
    pub inherited: Inherited,
}

/// Requests that another process admitted and has not done with.
#[derive(Debug)]
pub struct Inherited {
    ledger: Arc<Ledger>,
    records: HashSet<u32>,
}

impl Ledger {
    /// Opens the ledger in `dir` after its process has called [`Ledger::let_go`]. Days that are over are not closed
    /// here, and nothing is written but what every start may find: if this process dies before it admits
    /// anything, the other one goes on as if it had never been.
    pub fn adopt(dir: &Path, now: &Now) -> Result<Adopted, LedgerError> {
        let (ledger, records) = Self::open_for(dir, now, Owed::Served)?;
        let inherited = Inherited { ledger: ledger.clone(), records: records.into_iter().collect() };
        Ok(Adopted { ledger, inherited })
    }
}

impl Inherited {
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A request's answer is over: its concurrency is free. Nothing for a record that is not among these.
    pub fn finished(&mut self, record: u32, status: u16, duration_ms: u64) {
        if self.records.contains(&record) && self.is_served(record) {
            self.ledger.end(record, status, duration_ms);
        }
    }

    /// A request whose line comes, or is not wanted: to be dropped when that is settled.
    pub fn take(&mut self, record: u32) -> Option<Unlogged> {
        if !self.records.remove(&record) {
            return None;
        }
        if self.is_served(record) {
            self.ledger.end(record, STATUS_CLIENT_GONE, 0);
        }
        Some(self.ledger.owed(record))
    }

    /// The process that served them is gone: all of them have ended, and a line is owed for each.
    pub fn into_interrupted(mut self) -> Result<Vec<Interrupted>, LedgerError> {
        let records: Vec<u32> = self.records.drain().collect();
        let settled = records.into_iter().map(|record| {
            let interrupted = interrupted(&self.ledger, record)?;
            if interrupted.finished.is_none() {
                self.ledger.end(record, STATUS_CLIENT_GONE, 0);
            }
            Ok(interrupted)
        });
        settled.collect()
    }

    fn is_served(&self, record: u32) -> bool {
        self.ledger.map.records()[record as usize].state() == Some(State::Admitted)
    }
}
