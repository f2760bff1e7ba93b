//! What stands in the mapped file: slots, names and in-flight records, and how each is read and written.
//!
//! All of it is atomics and locks. What a lock guards is said at its type; who maps the bytes is the
//! module above.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use clearway_filters::quota::{WINDOWS_WORDS, Windows};
use parking_lot::{
    RawMutex,
    lock_api::{GuardNoSend, RawMutex as _},
};

/// A subject's counters: what every decision reads and writes, in one cache line.
#[repr(C, align(64))]
pub(in crate::ledger) struct Slot {
    pub(super) lock: RawMutex,
    pub(super) kind: AtomicU8,
    /// 0, 4 or 6: what kind of address the subject was last used from.
    pub(super) family: AtomicU8,
    unused: u8,
    address_v4: AtomicU32,
    pub(super) windows: [AtomicU64; WINDOWS_WORDS],
}

/// Who a slot belongs to: what decisions do not need.
#[repr(C)]
pub(in crate::ledger) struct Name {
    pub(in crate::ledger) id: Bytes16,
    pub(in crate::ledger) address_v6: Bytes16,
}

/// An admitted request: the redo record of its admission, then the proof that it is owed a release
/// and a line in the access log.
#[repr(C, align(64))]
pub(in crate::ledger) struct Record {
    pub(in crate::ledger) state: AtomicU32,
    pub(in crate::ledger) account_slot: AtomicU32,
    pub(in crate::ledger) key_slot: AtomicU32,
    pub(in crate::ledger) status: AtomicU32,
    pub(in crate::ledger) request: Bytes16,
    pub(in crate::ledger) admitted_ms: AtomicU64,
    pub(in crate::ledger) duration_ms: AtomicU64,
    account: [AtomicU64; WINDOWS_WORDS],
    key: [AtomicU64; WINDOWS_WORDS],
    unused: [u64; 4],
}

/// Sixteen bytes that can be read while they are written; who needs them whole holds a lock.
#[repr(transparent)]
pub(in crate::ledger) struct Bytes16([AtomicU64; 2]);

/// A locked slot.
pub(in crate::ledger) struct SlotGuard<'s> {
    slot: &'s Slot,
    /// A lock is given back by the thread that took it.
    _here: std::marker::PhantomData<GuardNoSend>,
}

impl Slot {
    #[inline]
    pub(in crate::ledger) fn kind(&self) -> u8 {
        self.kind.load(Ordering::Relaxed)
    }

    #[inline]
    pub(in crate::ledger) fn lock(&self) -> SlotGuard<'_> {
        self.lock.lock();
        SlotGuard { slot: self, _here: std::marker::PhantomData }
    }
}

impl SlotGuard<'_> {
    #[inline]
    pub(in crate::ledger) fn windows(&self) -> Windows {
        load_windows(&self.slot.windows)
    }

    #[inline]
    pub(in crate::ledger) fn set_windows(&self, windows: &Windows) {
        store_windows(&self.slot.windows, windows);
    }

    /// Writes the first `words` words only, as a process that is killed in the middle does.
    #[cfg(test)]
    pub(in crate::ledger) fn set_windows_in_part(&self, windows: &Windows, words: usize) {
        for (word, value) in self.slot.windows.iter().zip(windows.to_words()).take(words) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// 0, 4 or 6, and the address where that is 4.
    pub(in crate::ledger) fn address(&self) -> (u8, u32) {
        (self.slot.family.load(Ordering::Relaxed), self.slot.address_v4.load(Ordering::Relaxed))
    }

    #[inline]
    pub(in crate::ledger) fn set_address(&self, family: u8, v4: u32) {
        self.slot.family.store(family, Ordering::Relaxed);
        self.slot.address_v4.store(v4, Ordering::Relaxed);
    }
}

impl Drop for SlotGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a guard exists only between `lock` and this, and cannot leave its thread.
        unsafe { self.slot.lock.unlock() }
    }
}

impl Record {
    /// What the account's and the key's counters are to be.
    pub(in crate::ledger) fn windows(&self) -> (Windows, Windows) {
        (load_windows(&self.account), load_windows(&self.key))
    }

    #[inline]
    pub(in crate::ledger) fn set_windows(&self, account: &Windows, key: &Windows) {
        store_windows(&self.account, account);
        store_windows(&self.key, key);
    }
}

impl Bytes16 {
    #[inline]
    pub(in crate::ledger) fn load(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0[0].load(Ordering::Relaxed).to_ne_bytes());
        bytes[8..].copy_from_slice(&self.0[1].load(Ordering::Relaxed).to_ne_bytes());
        bytes
    }

    #[inline]
    pub(in crate::ledger) fn store(&self, bytes: [u8; 16]) {
        let [a, b, c, d, e, f, g, h, low @ ..] = bytes;
        self.0[0].store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), Ordering::Relaxed);
        self.0[1].store(u64::from_ne_bytes(low), Ordering::Relaxed);
    }
}

#[inline]
fn load_windows(words: &[AtomicU64; WINDOWS_WORDS]) -> Windows {
    Windows::from_words(std::array::from_fn(|at| words[at].load(Ordering::Relaxed)))
}

#[inline]
pub(super) fn store_windows(words: &[AtomicU64; WINDOWS_WORDS], windows: &Windows) {
    for (word, value) in words.iter().zip(windows.to_words()) {
        word.store(value, Ordering::Relaxed);
    }
}
