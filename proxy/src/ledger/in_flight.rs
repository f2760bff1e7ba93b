//! In-flight records: one for every admitted request, from its admission until its line is in the
//! access log.
//!
//! A record is at once the redo record of the admission, the guard of its concurrency, and the proof
//! that a line is owed. Its state says which of these it still is; every step is one store.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

use clearway_config::RequestId;
use clearway_filters::quota::Windows;
use parking_lot::Mutex;

use super::mapping::{IN_FLIGHT_MAX, Record, SlotId};

/// How far a record's request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody's. What else stands in the record means nothing.
    Free,
    /// It is admitted. Whether the counters in the slots say so yet is not known: they are to be written again.
    Committed,
    /// It is admitted, the slots say so, and it holds its concurrency.
    Admitted,
    /// It has ended, holds nothing, and is owed a line in the access log.
    Finished,
}

const STATES: [State; 4] = [State::Free, State::Committed, State::Admitted, State::Finished];

impl Record {
    /// `None` for a number that no release of this format has written.
    pub(super) fn state(&self) -> Option<State> {
        STATES.get(self.state.load(Ordering::Acquire) as usize).copied()
    }

    /// Everything that was stored in the record before is there for whoever sees the new state. A kill takes
    /// effect between two instructions, so the same holds for what it leaves in the file.
    #[inline]
    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// Writes what an admission is going to do, without doing it.
    #[inline]
    pub(super) fn stage(&self, request: RequestId, now_ms: u64, account: (SlotId, &Windows), key: (SlotId, &Windows)) {
        self.account_slot.store(account.0.0, Ordering::Relaxed);
        self.key_slot.store(key.0.0, Ordering::Relaxed);
        self.status.store(0, Ordering::Relaxed);
        self.request.store(*request.as_bytes());
        self.admitted_ms.store(now_ms, Ordering::Relaxed);
        self.duration_ms.store(0, Ordering::Relaxed);
        self.set_windows(account.1, key.1);
    }

    #[inline]
    pub(super) fn finish(&self, status: u16, duration_ms: u64) {
        self.status.store(u32::from(status), Ordering::Relaxed);
        self.duration_ms.store(duration_ms, Ordering::Relaxed);
        self.set_state(State::Finished);
    }

    pub(super) fn slots(&self) -> (SlotId, SlotId) {
        (SlotId(self.account_slot.load(Ordering::Relaxed)), SlotId(self.key_slot.load(Ordering::Relaxed)))
    }
}

const SHARDS: usize = 64;
const SHARD_RECORDS: usize = IN_FLIGHT_MAX / SHARDS;

/// Which records are free. Every thread has a shard that it asks first, and a record goes back to the
/// shard it is from, so that threads neither meet at a lock nor pass each other's cache lines around.
#[derive(Debug)]
pub(super) struct FreeRecords([Shard; SHARDS]);

#[derive(Debug)]
#[repr(align(64))]
struct Shard(Mutex<Vec<u32>>);

impl FreeRecords {
    /// All records for which `is_free` holds.
    pub(super) fn new(is_free: impl Fn(u32) -> bool) -> Self {
        Self(std::array::from_fn(|shard| {
            let records = shard * SHARD_RECORDS..(shard + 1) * SHARD_RECORDS;
            // Taken from the end: the lowest first, which keeps the pages in use few.
            let numbers = records.rev().map(|n| u32::try_from(n).expect("IN_FLIGHT_MAX fits"));
            Shard(Mutex::new(numbers.filter(|&record| is_free(record)).collect()))
        }))
    }

    /// `None` when all are taken.
    #[inline]
    pub(super) fn take(&self) -> Option<u32> {
        let first = shard_of_this_thread();
        (first..first + SHARDS).find_map(|shard| self.0[shard % SHARDS].0.lock().pop())
    }

    #[inline]
    pub(super) fn give_back(&self, record: u32) {
        self.0[record as usize / SHARD_RECORDS].0.lock().push(record);
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|shard| shard.0.lock().len()).sum()
    }
}

#[inline]
fn shard_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SHARD.with(|shard| match shard.get() {
        Some(shard) => shard,
        None => {
            let new = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
            shard.set(Some(new));
            new
        }
    })
}
