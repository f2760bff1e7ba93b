//! An admitted request's hold on the ledger, as two guards in turn: [`Admission`] while it is served,
//! [`Unlogged`] until its line is in the access log. Neither can be forgotten: dropping the first
//! releases the concurrency, dropping the second frees the record.

use std::sync::Arc;

use clearway_config::{AccountId, KeyId, RequestId};
use clearway_filters::quota::{self, Standing};

use super::Ledger;

/// What is noted for a request that was dropped before it had an answer: the client has gone.
pub const STATUS_CLIENT_GONE: u16 = 499;

/// A request being served. It is counted, and holds one of its account's and its key's concurrency.
#[derive(Debug)]
pub struct Admission {
    /// `None` once it has been finished.
    record: Option<Unlogged>,
    standing: Standing,
}

impl Admission {
    pub(super) fn of(ledger: Arc<Ledger>, record: u32, standing: Standing) -> Self {
        Self { record: Some(Unlogged { ledger, record, settled: false }), standing }
    }

    /// What is left of its limits, as of the admission.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Says that it will be finished soon: its counts then come from memory meanwhile.
    #[inline]
    pub fn ends_soon(&self) {
        if let Some(Unlogged { ledger, record, .. }) = &self.record {
            let (account, key) = ledger.map.records()[*record as usize].slots();
            ledger.prefetch(account, key);
        }
    }

    /// Releases the concurrency; the answer is over. What is returned is kept until the request's line is in the access log.
    pub fn finish(mut self, status: u16, duration_ms: u64) -> Unlogged {
        let record = self.record.take().expect("only finishing and dropping take it, and both end here");
        record.ledger.end(record.record, status, duration_ms);
        record
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            record.ledger.end(record.record, STATUS_CLIENT_GONE, 0);
        }
    }
}

/// A request that has ended and whose line is not in the access log yet. While this is kept, a new start of
/// the process finds the request again; dropping it says that the line is written, or that none is wanted.
#[derive(Debug)]
pub struct Unlogged {
    ledger: Arc<Ledger>,
    record: u32,
    settled: bool,
}

impl Unlogged {
    /// Which of the ledger's records it is.
    pub(super) fn record(&self) -> u32 {
        self.record
    }

    /// Another process has been told, and frees the record.
    pub(super) fn settled(mut self) {
        self.settled = true;
    }
}

impl Drop for Unlogged {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.forget(self.record);
        }
    }
}

/// A request that was admitted and counted by a process that ended before its line was in the access log.
#[derive(Debug)]
pub struct Interrupted {
    pub request: RequestId,
    pub account: AccountId,
    /// `None` for a request that came without a key.
    pub key: Option<KeyId>,
    /// Milliseconds since 1970.
    pub admitted_ms: u64,
    /// Status and duration in milliseconds, if it got as far as that.
    pub finished: Option<(u16, u64)>,
    /// To be dropped when its line is written.
    pub unlogged: Unlogged,
}

impl Interrupted {
    /// Leaves the line to be written by the next start.
    pub(crate) fn leave(self) {
        self.unlogged.settled();
    }
}

impl Ledger {
    /// What is to be dropped when the record's line is settled.
    #[inline]
    pub(super) fn owed(self: &Arc<Self>, record: u32) -> Unlogged {
        Unlogged { ledger: self.clone(), record, settled: false }
    }

    pub(super) fn release(&self, record: u32, status: u16, duration_ms: u64) {
        let record = &self.map.records()[record as usize];
        let (account, key) = record.slots();
        // Both at once: a lock waits for its cache line before the next is asked for.
        self.prefetch(account, key);
        record.finish(status, duration_ms);
        for slot in [account, key].into_iter().filter_map(|slot| self.map.slot(slot)) {
            let slot = slot.lock();
            let mut windows = slot.windows();
            quota::release(&mut windows);
            slot.set_windows(&windows);
        }
    }
}
