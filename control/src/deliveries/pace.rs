//! How fast and how many at a time a webhook is posted to. Pure: the time is passed in.

/// Attempts at the same time that a webhook begins with; more are allowed as it answers.
const BEGINS_WITH: u32 = 8;

/// At most `rate` attempts in any second, however the seconds are cut.
///
/// A few may follow each other at once, so that they can be handed over in batches; in turn the others are spaced as if
/// the rate were lower by as many. (Generic cell rate algorithm.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    rate: u32,
    /// When the next would be on time, in microseconds.
    on_time: i64,
}

impl Pace {
    /// `rate` is 1 or more.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, on_time: 0 }
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// As many as may follow each other at once.
    fn burst(&self) -> i64 {
        i64::from(self.rate / 20).max(1)
    }

    /// Between two of the others. A burst and those that follow in the second after its first are `rate` together.
    fn spacing(&self) -> i64 {
        let others = i64::from(self.rate) - self.burst() + 1;
        // Rounded up: a second never holds one more.
        (1_000_000 + others - 1) / others
    }

    /// When the next may begin, in milliseconds.
    pub(super) fn ready_at(&self) -> i64 {
        let early = (self.burst() - 1) * self.spacing();
        (self.on_time - early + 999).div_euclid(1_000)
    }

    /// Takes one, if it may begin now.
    pub(super) fn take(&mut self, now_ms: i64) -> bool {
        if self.ready_at() > now_ms {
            return false;
        }
        self.on_time = self.on_time.max(now_ms * 1_000) + self.spacing();
        true
    }
}

/// Attempts at the same time: the webhook's own bound, approached while it answers and left while it does not, so that
/// one that hangs holds few places of those that all webhooks share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance(u32);

impl Default for Allowance {
    fn default() -> Self {
        Self(BEGINS_WITH)
    }
}

impl Allowance {
    pub(super) fn within(&self, concurrency: u32) -> u32 {
        self.0.min(concurrency)
    }

    pub(super) fn succeeded(&mut self, concurrency: u32) {
        self.0 = (self.0 + 1).min(concurrency.max(BEGINS_WITH));
    }

    pub(super) fn failed(&mut self) {
        self.0 = (self.0 / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_second_holds_more_than_the_rate(rate in 1_u32..300, steps in prop::collection::vec(0_i64..60, 1..100)) {
            let mut pace = Pace::new(rate);
            let mut now = 1_000_000;
            let mut taken: Vec<i64> = Vec::new();
            for step in steps {
                now += step;
                while pace.take(now) {
                    taken.push(now);
                }
            }
            let mut end = 0;
            for (n, began) in taken.iter().enumerate() {
                while taken.get(end).is_some_and(|at| *at < began + 1_000) {
                    end += 1;
                }
                prop_assert!(end - n <= rate as usize, "{} of {rate}", end - n);
            }
        }
    }

    #[test]
    fn nearly_the_rate_is_reached() {
        for rate in [1, 3, 10, 50, 1_000] {
            let mut pace = Pace::new(rate);
            let taken = (0..60_000).map(|now| (0..rate).take_while(|_| pace.take(now)).count()).sum::<usize>();
            assert!(taken as f64 >= 0.9 * 60.0 * f64::from(rate), "{taken} of {rate} a second");
        }
    }

    #[test]
    fn a_webhook_that_hangs_is_left_with_one_place_and_one_that_answers_gets_all_of_its_own() {
        let mut allowance = Allowance::default();
        (0..100).for_each(|_| allowance.succeeded(16));
        assert_eq!(allowance.within(16), 16);
        (0..5).for_each(|_| allowance.failed());
        assert_eq!(allowance.within(16), 1);
        assert_eq!(Allowance::default().within(2), 2);
    }
}
