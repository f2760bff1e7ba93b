//! When a delivery that has failed is attempted again. Pure: what is random is passed in.

use serde::{Deserialize, Serialize};

/// Attempts after the first at most.
pub(super) const RETRIES_MAX: usize = 20;
/// Seconds between two attempts at most, where a webhook lists its own.
pub(super) const DELAY_S_MAX: u32 = 3 * 86_400;
/// Where delays grow, none grows beyond this.
const GROWN_MS_MAX: u64 = 86_400_000;
/// By how much of itself a delay is lengthened at most, so that what failed together is not attempted together.
const JITTER: f64 = 0.1;

/// Seconds before each attempt after the first, as Standard Webhooks recommends: over 75 hours in all.
const STANDARD_S: [u32; 9] = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
/// The policy of seed 003, 9.3: five attempts within 15 seconds.
const FAST_S: [u32; 4] = [1, 2, 4, 8];

/// A webhook's schedule. Stored as it serializes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryPolicy {
    /// Ten attempts over 75 hours.
    #[default]
    Standard,
    /// Five attempts within 15 seconds.
    Fast,
    /// Seconds before each attempt after the first: at most [`RETRIES_MAX`] of them, each 1 to [`DELAY_S_MAX`]. None is
    /// one attempt.
    Delays(Vec<u32>),
    /// Each delay is the one before it times `multiplier`, and a day at most.
    Exponential {
        /// The first one counted: 1 to [`RETRIES_MAX`] + 1.
        max_attempts: u32,
        initial_delay_ms: u32,
        multiplier: f64,
    },
}

impl RetryPolicy {
    /// The attempts that are made before a delivery has failed for good.
    pub fn attempts_max(&self) -> u32 {
        let retries = match self {
            Self::Standard => STANDARD_S.len(),
            Self::Fast => FAST_S.len(),
            Self::Delays(delays) => delays.len(),
            Self::Exponential { max_attempts, .. } => return *max_attempts,
        };
        u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Milliseconds from the end of attempt `attempt` (from 1) to the next one, without jitter; `None` where it was the
    /// last.
    pub fn delay_ms(&self, attempt: u32) -> Option<u64> {
        let nth = usize::try_from(attempt.checked_sub(1)?).ok()?;
        let seconds = |delays: &[u32]| delays.get(nth).map(|seconds| u64::from(*seconds) * 1000);
        match self {
            Self::Standard => seconds(&STANDARD_S),
            Self::Fast => seconds(&FAST_S),
            Self::Delays(delays) => seconds(delays),
            Self::Exponential { max_attempts, initial_delay_ms, multiplier } => {
                (attempt < *max_attempts).then(|| grown(*initial_delay_ms, *multiplier, nth))
            }
        }
    }

    /// [`delay_ms`](Self::delay_ms), lengthened by up to a tenth: by none of it where `random` is 0, by all where it is 1.
    pub fn jittered_ms(&self, attempt: u32, random: f64) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a tenth of a few days in milliseconds; a fraction of one does not matter"
        )]
        let lengthen = |ms: u64| ms + (ms as f64 * JITTER * random.clamp(0.0, 1.0)) as u64;
        self.delay_ms(attempt).map(lengthen)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded to a day of milliseconds, and a cast of what is no number is 0"
)]
fn grown(initial_ms: u32, multiplier: f64, nth: usize) -> u64 {
    let nth = i32::try_from(nth).unwrap_or(i32::MAX);
    let ms = f64::from(initial_ms) * multiplier.powi(nth);
    if ms.is_finite() { (ms as u64).min(GROWN_MS_MAX) } else { GROWN_MS_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(policy: &RetryPolicy) -> Vec<u64> {
        (1..).map_while(|attempt| policy.delay_ms(attempt)).collect()
    }

    #[test]
    fn the_standard_schedule_is_ten_attempts_over_75_hours() {
        let delays = table(&RetryPolicy::Standard);
        assert_eq!(delays.iter().sum::<u64>(), ((75 * 60 + 35) * 60 + 5) * 1000);
        assert_eq!((delays.len(), delays[0], delays[8]), (9, 5_000, 86_400_000));
        assert_eq!(RetryPolicy::Standard.attempts_max(), 10);
    }

    #[test]
    fn the_seeds_policies_are_what_they_say() {
        assert_eq!(table(&RetryPolicy::Fast), [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(RetryPolicy::Fast.attempts_max(), 5);
        let seeds = RetryPolicy::Exponential { max_attempts: 6, initial_delay_ms: 1_000, multiplier: 2.0 };
        assert_eq!(table(&seeds), [1_000, 2_000, 4_000, 8_000, 16_000]);
    }

    #[test]
    fn a_webhooks_own_delays_are_kept_to_and_none_is_one_attempt() {
        let own = RetryPolicy::Delays(vec![7, 1]);
        assert_eq!((table(&own), own.attempts_max()), (vec![7_000, 1_000], 3));
        let once = RetryPolicy::Delays(Vec::new());
        assert_eq!((table(&once), once.attempts_max()), (vec![], 1));
        assert_eq!(own.delay_ms(0), None);
    }

    #[test]
    fn delays_grow_to_a_day_at_most() {
        let steep = RetryPolicy::Exponential { max_attempts: 21, initial_delay_ms: 3_600_000, multiplier: 10.0 };
        assert_eq!(table(&steep).len(), 20);
        assert_eq!(table(&steep)[2..], [GROWN_MS_MAX; 18]);
    }

    #[test]
    fn jitter_lengthens_by_a_tenth_at_most_and_never_shortens() {
        for (random, ms) in [(0.0, 5_000), (0.5, 5_250), (1.0, 5_500), (-3.0, 5_000), (f64::NAN, 5_000), (9.0, 5_500)] {
            assert_eq!(RetryPolicy::Standard.jittered_ms(1, random), Some(ms), "{random}");
        }
        assert_eq!(RetryPolicy::Standard.jittered_ms(10, 0.5), None);
    }

    #[test]
    fn a_stored_policy_is_read_as_it_was() {
        for (policy, text) in [
            (RetryPolicy::Standard, r#""standard""#),
            (RetryPolicy::Delays(vec![5]), r#"{"delays":[5]}"#),
            (
                RetryPolicy::Exponential { max_attempts: 6, initial_delay_ms: 1_000, multiplier: 2.0 },
                r#"{"exponential":{"max_attempts":6,"initial_delay_ms":1000,"multiplier":2.0}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&policy).unwrap(), text);
            assert_eq!(serde_json::from_str::<RetryPolicy>(text).unwrap(), policy);
        }
    }
}
