//! Signatures and proofs that have been accepted, so that none is accepted twice.
//!
//! A mark is remembered until its signature would be refused anyway. Marks stand by the slice of time in which that
//! is; as it is a part of the signature, a repetition looks in the slice where the first one stands, and a slice
//! whose time is over is dropped whole. Bounded, and full it refuses: nothing is forgotten early. It lives as long as
//! the process, and knows of nothing that another one has accepted: what was signed before the start is refused.

use std::collections::HashSet;

use clearway_filters::{
    jwt::Proof,
    signature::{Presented, REMEMBERED_S_MAX, Refusal},
};
use parking_lot::Mutex;

const SHARDS: usize = 64;
/// Seconds in a slice.
const SLICE_S: u64 = 32;
/// Slices that can be alive at once, with one to spare at each end.
const SLICES: usize = (REMEMBERED_S_MAX / SLICE_S) as usize + 2;

#[derive(Debug)]
pub(crate) struct Replays {
    shards: Box<[Mutex<Shard>]>,
    /// Marks in a shard at most.
    shard_max: usize,
    /// Seconds since 1970.
    started_s: u64,
}

#[derive(Debug, Default)]
struct Shard {
    slices: [Slice; SLICES],
    marks: usize,
}

#[derive(Debug, Default)]
struct Slice {
    /// Counted from 1970.
    number: u64,
    marks: HashSet<u128>,
}

/// What tells a signed request from all others, and until when it has to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    mark: u128,
    until_s: u64,
}

impl Mark {
    /// Of a signature that has been verified.
    pub(crate) fn of(presented: &Presented) -> Self {
        Self { mark: presented.mark(), until_s: presented.refused_from_s() }
    }

    /// Of a proof that has been verified.
    pub(crate) fn of_proof(proof: &Proof) -> Self {
        let half = *proof.mark().first_chunk().expect("a SHA-256 has 32 bytes");
        Self { mark: u128::from_le_bytes(half), until_s: proof.refused_from_s() }
    }
}

impl Replays {
    /// Remembers `marks_max` of them, give or take what falls on one shard more than on another.
    pub(crate) fn new(marks_max: usize, started_s: u64) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, shard_max: marks_max.div_ceil(SHARDS), started_s }
    }

    /// Whether this process would remember it, had it been seen: a signature made before the start may have been
    /// accepted by the process before this one.
    pub(crate) fn reach(&self, made_s: u64) -> Result<(), Refusal> {
        if made_s > self.started_s { Ok(()) } else { Err(Refusal::Expired) }
    }

    /// Accepts it, this once. One that has ended since it was verified, while its body came, is refused: that it was seen
    /// before may be forgotten by now.
    pub(crate) fn remember(&self, Mark { mark, until_s }: Mark, now_s: u64) -> Result<(), Refusal> {
        if until_s <= now_s {
            return Err(Refusal::Expired);
        }
        let number = until_s / SLICE_S;
        let mut shard = self.shard(mark).lock();
        shard.forget(now_s / SLICE_S);
        if shard.marks >= self.shard_max {
            return Err(Refusal::WindowFull);
        }
        let slice = &mut shard.slices[place(number)];
        if slice.number != number {
            // The other one has not ended: this one is of a time that no signature reaches.
            if !slice.marks.is_empty() {
                return Err(Refusal::WindowFull);
            }
            slice.number = number;
        }
        if !slice.marks.insert(mark) {
            return Err(Refusal::Replayed);
        }
        shard.marks += 1;
        Ok(())
    }

    /// Takes it back: the request was refused all the same, and may be sent again as it is.
    pub(crate) fn forget(&self, Mark { mark, until_s }: Mark) {
        let number = until_s / SLICE_S;
        let mut shard = self.shard(mark).lock();
        let slice = &mut shard.slices[place(number)];
        if slice.number == number && slice.marks.remove(&mark) {
            shard.marks -= 1;
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().marks).sum()
    }

    fn shard(&self, mark: u128) -> &Mutex<Shard> {
        // A mark is a part of a SHA-256.
        &self.shards[(mark % SHARDS as u128) as usize]
    }
}

impl Shard {
    /// Drops the slices that have ended before the one of now.
    fn forget(&mut self, now: u64) {
        for slice in self.slices.iter_mut().filter(|slice| slice.number < now && !slice.marks.is_empty()) {
            self.marks -= slice.marks.len();
            slice.marks = HashSet::new();
        }
    }
}

fn place(number: u64) -> usize {
    (number % SLICES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn mark(mark: u128, lives_s: u64) -> Mark {
        Mark { mark, until_s: NOW_S + lives_s }
    }

    #[test]
    fn a_mark_is_accepted_once_for_as_long_as_its_signature_would_be() {
        let replays = Replays::new(1_000, 0);
        for lives_s in [1, SLICE_S, REMEMBERED_S_MAX] {
            let mark = mark(u128::from(lives_s), lives_s);
            assert_eq!(replays.remember(mark, NOW_S), Ok(()));
            for later in [0, lives_s / 2, lives_s - 1] {
                assert_eq!(replays.remember(mark, NOW_S + later), Err(Refusal::Replayed), "{later} of {lives_s}");
            }
        }
        assert_eq!(replays.len(), 3);
    }

    #[test]
    fn a_signature_that_has_ended_is_not_accepted_however_late_its_body_comes() {
        let replays = Replays::new(1_000, 0);
        let mark = mark(7, 10);
        assert_eq!(replays.remember(mark, NOW_S), Ok(()));
        for late_s in [10, 10 + SLICE_S, 10 + 2 * SLICE_S] {
            assert_eq!(replays.remember(mark, NOW_S + late_s), Err(Refusal::Expired), "{late_s}");
        }
    }

    #[test]
    fn what_has_ended_makes_room_and_nothing_else_does() {
        let replays = Replays::new(SHARDS * 2, 0);
        let of_one_shard = |n: u128| n * SHARDS as u128;
        assert_eq!(replays.remember(mark(of_one_shard(1), 10), NOW_S), Ok(()));
        assert_eq!(replays.remember(mark(of_one_shard(2), REMEMBERED_S_MAX), NOW_S), Ok(()));
        assert_eq!(replays.remember(mark(of_one_shard(3), 10), NOW_S), Err(Refusal::WindowFull));
        assert_eq!(replays.remember(mark(1, 10), NOW_S), Ok(()), "another shard");
        let later = NOW_S + 10 + SLICE_S;
        assert_eq!(replays.remember(mark(of_one_shard(3), 100), later), Ok(()));
        assert_eq!(replays.remember(mark(of_one_shard(2), REMEMBERED_S_MAX), later), Err(Refusal::WindowFull), "full again");
        assert_eq!(replays.len(), 3);
    }

    #[test]
    fn what_was_refused_all_the_same_may_come_again() {
        let replays = Replays::new(1_000, 0);
        let mark = mark(7, 60);
        replays.remember(mark, NOW_S).unwrap();
        replays.forget(mark);
        replays.forget(mark);
        assert_eq!((replays.remember(mark, NOW_S), replays.len()), (Ok(()), 1));
    }

    #[test]
    fn of_many_at_once_one_is_accepted() {
        let replays = Replays::new(1_000, 0);
        let accepted = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| replays.remember(mark(7, 60), NOW_S).is_ok())).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(accepted, 1);
    }
}
