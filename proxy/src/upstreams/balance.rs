//! The order that targets are tried in: a smooth sequence by weight, and a ring for hashes.
//!
//! Both are made when an upstream's targets change, never on a request. What is unavailable just then
//! is not known here: the ring and the sequence hold every target, and picking passes over some.

use std::net::SocketAddr;

use super::clock::{hash, mix};

/// Points on the ring for each unit of weight, where the ring has room for so many.
const POINTS: u32 = 128;
/// Points on a ring at most: 4 MiB.
const RING_MAX: u64 = 1 << 18;

/// Each target as often as its weight says, as far apart as can be: the `k`th turn of a target stands
/// at `(k + offset) / weight` of the round. Indices into the targets.
pub(super) fn sequence(weights: &[u16]) -> Box<[u16]> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let count = weights.len() as f64;
    let mut turns: Vec<(f64, u16)> = Vec::new();
    for (target, weight) in (0_u16..).zip(weights) {
        let weight = weight / divisor;
        let offset = (f64::from(target) + 0.5) / count;
        turns.extend((0..weight).map(|k| ((f64::from(k) + offset) / f64::from(weight), target)));
    }
    turns.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    turns.into_iter().map(|(_, target)| target).collect()
}

/// A consistent hash: targets own the stretches before their points. When a target goes, its stretches
/// fall to others and nobody else's move (Karger et al., 1997).
#[derive(Debug, Default)]
pub(super) struct Ring(Box<[(u64, u16)]>);

impl Ring {
    /// A target's points follow from its address alone, whatever the others are and wherever it stands among them.
    pub(super) fn new(targets: &[(SocketAddr, u16)]) -> Self {
        let weights: u64 = targets.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut points = POINTS;
        while points > 1 && weights * u64::from(points) > RING_MAX {
            points /= 2;
        }
        let mut ring: Vec<(u64, u16)> = Vec::new();
        for (index, (address, weight)) in (0_u16..).zip(targets) {
            let seed = hash(address.to_string().as_bytes());
            ring.extend((0..points * u32::from(*weight)).map(|n| (mix(seed ^ mix(u64::from(n))), index)));
        }
        ring.sort_unstable();
        Self(ring.into())
    }

    /// Targets from the owner of `hash` onwards, each as often as it has points; once around.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = u16> + '_ {
        let start = self.0.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.0.split_at(start);
        after.iter().chain(before).map(|(_, target)| *target)
    }
}

fn gcd(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn targets(weights: &[u16]) -> Vec<(SocketAddr, u16)> {
        weights.iter().zip(1..).map(|(&weight, n)| (SocketAddr::from(([10, 0, 0, 1], n)), weight)).collect()
    }

    fn owner(ring: &Ring, targets: &[(SocketAddr, u16)], key: u64) -> SocketAddr {
        targets[usize::from(ring.from(mix(key)).next().unwrap())].0
    }

    #[test]
    fn a_heavy_target_is_not_asked_in_one_go() {
        assert_eq!(*sequence(&[2, 2]), [0, 1]);
        assert_eq!(*sequence(&[10, 10, 10]), [0, 1, 2]);
        assert_eq!(*sequence(&[5, 1, 1]), [0, 0, 0, 1, 0, 0, 2]);
    }

    proptest! {
        #[test]
        fn a_sequence_has_each_target_by_its_weight_and_never_long_without_it(weights in prop::collection::vec(1_u16..20, 1..12)) {
            let sequence = sequence(&weights);
            let total: usize = sequence.len();
            let divisor = weights.iter().copied().fold(0, gcd);
            for (target, &weight) in (0_u16..).zip(&weights) {
                let turns: Vec<_> = (0..total).filter(|&at| sequence[at] == target).collect();
                prop_assert_eq!(turns.len(), usize::from(weight / divisor));
                // A round holds `turns` of it: no gap is as long as two even ones, and one turn of each other.
                let even = total.div_ceil(turns.len());
                for pair in turns.windows(2) {
                    prop_assert!(pair[1] - pair[0] <= 2 * even + weights.len(), "{:?}", sequence);
                }
            }
        }

        #[test]
        fn only_the_keys_of_a_target_that_goes_move(weights in prop::collection::vec(1_u16..5, 2..10), gone in any::<prop::sample::Index>()) {
            let all = targets(&weights);
            let mut left = all.clone();
            let gone = left.remove(gone.index(all.len())).0;
            let (before, after) = (Ring::new(&all), Ring::new(&left));
            for key in 0..2_000 {
                let was = owner(&before, &all, key);
                let is = owner(&after, &left, key);
                prop_assert!(was == is || was == gone);
                // Passing over it on the old ring leads to the same target as a ring without it.
                let passed = before.from(mix(key)).map(|t| all[usize::from(t)].0).find(|a| *a != gone);
                prop_assert_eq!(passed, Some(is));
            }
        }
    }

    #[test]
    fn keys_are_shared_out_by_weight() {
        let all = targets(&[1, 1, 2, 4]);
        let ring = Ring::new(&all);
        let mut counts = [0_u32; 4];
        for key in 0..80_000 {
            counts[usize::from(ring.from(mix(key)).next().unwrap())] += 1;
        }
        for (count, even) in counts.iter().zip([10_000, 10_000, 20_000, 40_000]) {
            assert!(count.abs_diff(even) < even / 4, "{counts:?}");
        }
    }

    #[test]
    fn a_thousand_heavy_targets_make_a_bounded_ring() {
        let ring = Ring::new(&targets(&[100; 1024]));
        assert!(ring.0.len() as u64 <= RING_MAX && ring.0.len() >= 100 * 1024);
    }
}
