//! Which slots have changed: two bits a slot, in process memory. One says that the subject's total is to
//! be reported, the other that its counters are to be saved. One store sets both.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::mapping::{SEGMENT_SLOTS, SlotId};

/// Who is to hear of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The report of usage.
    Report,
    /// The journal.
    Save,
}

#[derive(Debug)]
pub(super) struct Marks {
    segments: Box<[OnceLock<Box<[AtomicU64]>>]>,
    /// The word to look at first, so that subjects that change all the time do not keep others waiting.
    next: AtomicUsize,
}

const WORD_SLOTS: usize = 32;
const SEGMENT_WORDS: usize = SEGMENT_SLOTS / WORD_SLOTS;
/// A word's bits of one kind, before they are shifted to it.
const EVERY_OTHER: u64 = u64::MAX / 3;

impl Mark {
    fn shift(self) -> u32 {
        match self {
            Self::Report => 0,
            Self::Save => 1,
        }
    }
}

impl Marks {
    /// With the first `slots` marked to be reported.
    pub(super) fn new(slots: u32) -> Self {
        // As many as slot numbers can name.
        let segments = (0..u32::MAX as usize / SEGMENT_SLOTS + 1).map(|_| OnceLock::new()).collect();
        let marks = Self { segments, next: AtomicUsize::new(0) };
        (0..slots).for_each(|slot| marks.set(SlotId(slot), Mark::Report));
        marks
    }

    /// Marks a slot for both. Called under the slot's lock, after the change: then either [`Marks::drain`], whose
    /// caller locks the slot after the mark was cleared, reads the change, or the mark is seen cleared and set again here.
    #[inline]
    pub(super) fn changed(&self, slot: SlotId) {
        self.set_bits(slot, 0b11);
    }

    pub(super) fn set(&self, slot: SlotId, mark: Mark) {
        self.set_bits(slot, 1 << mark.shift());
    }

    #[inline]
    fn set_bits(&self, slot: SlotId, bits: u64) {
        let at = slot.0 as usize;
        let words = self.segments[at / SEGMENT_SLOTS].get_or_init(|| (0..SEGMENT_WORDS).map(|_| AtomicU64::new(0)).collect());
        let word = &words[at % SEGMENT_SLOTS / WORD_SLOTS];
        let bits = bits << (at % WORD_SLOTS * 2);
        if word.load(Ordering::Relaxed) & bits != bits {
            word.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// Clears marks among the first `slots` and calls `take` for each, until `max` calls have said that they took something.
    pub(super) fn drain(&self, mark: Mark, slots: u32, max: usize, mut take: impl FnMut(SlotId) -> bool) {
        let words = (slots as usize).div_ceil(WORD_SLOTS);
        let (mask, first) = (EVERY_OTHER << mark.shift(), self.next.load(Ordering::Relaxed));
        let mut taken = 0;
        for word in (0..words).map(|n| (first + n) % words) {
            let Some(bits) = self.segments[word / SEGMENT_WORDS].get().map(|words| &words[word % SEGMENT_WORDS]) else {
                continue;
            };
            if bits.load(Ordering::Relaxed) & mask == 0 {
                continue;
            }
            let mut marked = (bits.fetch_and(!mask, Ordering::AcqRel) & mask) >> mark.shift();
            while marked != 0 {
                if taken == max {
                    bits.fetch_or(marked << mark.shift(), Ordering::AcqRel);
                    self.next.store(word, Ordering::Relaxed);
                    return;
                }
                let slot = u32::try_from(word * WORD_SLOTS).expect("a slot's number") + marked.trailing_zeros() / 2;
                taken += usize::from(take(SlotId(slot)));
                marked &= marked - 1;
            }
        }
    }
}
