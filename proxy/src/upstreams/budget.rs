//! How many requests may be tried again: a share of those that came, so that retries cannot become the
//! load that keeps an upstream down.
//!
//! A bucket of tokens. Requests fill it by the share that the settings say, found from their count when
//! a token is wanted: a request that is not tried again costs nothing here. Time fills it slowly up to a
//! small reserve, so that an upstream with few requests may have its retries too.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A retry, in the hundredths that percents come in.
const RETRY: u64 = 100;
/// Retries that are always saved up, by time if not by requests.
const RESERVE: u64 = 10 * RETRY;
/// Retries saved up at most.
const TOKENS_MAX: u64 = 200 * RETRY;
/// Time to a further retry below the reserve.
const TRICKLE_MS: u64 = 1000;

#[derive(Debug)]
pub(super) struct Budget {
    percent: u64,
    /// Tokens in the upper half, the requests that have been counted in the lower.
    state: AtomicU64,
    trickled_ms: AtomicU64,
}

impl Budget {
    pub(super) fn new(percent: u8) -> Self {
        Self { percent: percent.into(), state: AtomicU64::new(RESERVE << 32), trickled_ms: AtomicU64::new(0) }
    }

    /// Takes a retry, `requests` having come so far, modulo 2³².
    pub(super) fn take(&self, requests: u32, now_ms: u64) -> bool {
        let trickle = self.trickle(now_ms);
        let after = |state: u64| {
            let (tokens, seen) = (state >> 32, state as u32);
            // A count that is behind was read before another thread's.
            let came = u64::from(requests.wrapping_sub(seen)).min(u64::from(u32::MAX / 2));
            let behind = requests.wrapping_sub(seen) > u32::MAX / 2;
            let came = if behind { 0 } else { came };
            let trickled = tokens.max((tokens + trickle).min(RESERVE));
            let tokens = (trickled + came * self.percent).min(TOKENS_MAX);
            (tokens, if behind { seen } else { requests })
        };
        let taken = self.state.fetch_update(Relaxed, Relaxed, |state| {
            let (tokens, seen) = after(state);
            tokens.checked_sub(RETRY).map(|left| left << 32 | u64::from(seen))
        });
        taken.is_ok() || {
            // What came is kept, though it was not enough.
            let _ = self.state.fetch_update(Relaxed, Relaxed, |state| {
                let (tokens, seen) = after(state);
                Some(tokens << 32 | u64::from(seen))
            });
            false
        }
    }

    /// What time has brought since it was last asked.
    fn trickle(&self, now_ms: u64) -> u64 {
        let since = self.trickled_ms.load(Relaxed);
        let retries = now_ms.saturating_sub(since) / TRICKLE_MS;
        let moved = self.trickled_ms.compare_exchange(since, since + retries * TRICKLE_MS, Relaxed, Relaxed);
        if moved.is_ok() { retries.min(RESERVE) * RETRY } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(budget: &Budget, requests: u32, now_ms: u64) -> usize {
        (0..1_000_000).take_while(|_| budget.take(requests, now_ms)).count()
    }

    #[test]
    fn a_share_of_the_requests_may_be_tried_again_and_a_reserve() {
        let budget = Budget::new(20);
        assert_eq!(taken(&budget, 0, 0), 10);
        assert_eq!(taken(&budget, 0, 999), 0);
        assert_eq!(taken(&budget, 100, 999), 20);
        assert_eq!(taken(&budget, 104, 999), 0);
        assert_eq!(taken(&budget, 105, 999), 1, "what does not make a retry yet is kept");
        assert_eq!(taken(&budget, 1_000_000, 999), 200, "what is saved up is bounded");
    }

    #[test]
    fn time_brings_retries_up_to_the_reserve_only() {
        let budget = Budget::new(20);
        assert_eq!(taken(&budget, 0, 0), 10);
        assert_eq!(taken(&budget, 0, 3_500), 3);
        assert_eq!(taken(&budget, 0, 4_000), 1);
        assert_eq!(taken(&budget, 0, 4_000_000), 10);
    }

    #[test]
    fn the_count_of_requests_may_wrap_and_be_read_late() {
        let budget = Budget::new(50);
        for requests in [u32::MAX / 3, u32::MAX / 3 * 2, u32::MAX - 3] {
            assert!(taken(&budget, requests, 0) >= 200);
        }
        assert_eq!(taken(&budget, 6, 0), 5);
        assert_eq!(taken(&budget, 2, 0), 0, "a count that was read earlier brings nothing");
        assert_eq!(taken(&budget, 8, 0), 1);
    }

    proptest! {
        #[test]
        fn retries_never_come_to_more_than_their_share(percent in 1_u8..=100, steps in prop::collection::vec((0_u32..500, 1_u64..300, 0_usize..80), 1..60)) {
            let budget = Budget::new(percent);
            let (mut requests, mut now, mut taken) = (0_u32, 0_u64, 0_u64);
            for (came, passed, wanted) in steps {
                requests += came;
                now += passed;
                taken += (0..wanted).filter(|_| budget.take(requests, now)).count() as u64;
                let most = u64::from(requests) * u64::from(percent) / 100 + 10 + now / 1000 + 1;
                prop_assert!(taken <= most, "{taken} of {most}");
            }
        }
    }
}
