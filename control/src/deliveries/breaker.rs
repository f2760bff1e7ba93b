//! The circuit breaker of one webhook: while its receiver is known to be broken, nothing is attempted and no attempt is
//! used up. Pure: the time is passed in.

/// Attempts that fail one after another until it opens.
pub(super) const OPENS_AFTER: u32 = 10;
/// How long it stays open at first, and at most: each failed probe doubles it.
pub(super) const PAUSE_MS_MIN: i64 = 30_000;
pub(super) const PAUSE_MS_MAX: i64 = 5 * 60_000;
/// Until the next probe, where one never reached the receiver.
const PROBE_AGAIN_MS: i64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaker {
    Closed {
        /// Attempts that failed since the last that succeeded.
        failures: u32,
    },
    Open {
        until: i64,
        pause_ms: i64,
    },
    /// Half open: one attempt is on its way.
    Probing {
        pause_ms: i64,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// How many attempts may begin now.
    pub(super) fn allows(&self, now_ms: i64) -> usize {
        match *self {
            Self::Closed { .. } => usize::MAX,
            Self::Open { until, .. } => usize::from(until <= now_ms),
            Self::Probing { .. } => 0,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Somebody wants to know whether the receiver is well again.
    pub(super) fn probe_now(&mut self, now_ms: i64) {
        if let Self::Open { until, .. } = self {
            *until = now_ms.min(*until);
        }
    }

    pub(super) fn began(&mut self, now_ms: i64) {
        if let Self::Open { until, pause_ms } = *self
            && until <= now_ms
        {
            *self = Self::Probing { pause_ms };
        }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// What is answered while it is open began before it opened, and says nothing new.
    pub(super) fn failed(&mut self, now_ms: i64) {
        *self = match *self {
            Self::Closed { failures } if failures + 1 < OPENS_AFTER => Self::Closed { failures: failures + 1 },
            Self::Closed { .. } => Self::Open { until: now_ms + PAUSE_MS_MIN, pause_ms: PAUSE_MS_MIN },
            Self::Open { .. } => return,
            Self::Probing { pause_ms } => {
                let pause_ms = (pause_ms * 2).min(PAUSE_MS_MAX);
                Self::Open { until: now_ms + pause_ms, pause_ms }
            }
        };
    }

    /// An attempt came to nothing, but not because of the receiver.
    pub(super) fn learned_nothing(&mut self, now_ms: i64) {
        if let Self::Probing { pause_ms } = *self {
            *self = Self::Open { until: now_ms + PROBE_AGAIN_MS, pause_ms };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_at(now_ms: i64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..OPENS_AFTER {
            assert!(breaker.is_closed());
            breaker.failed(now_ms);
        }
        breaker
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_one_success_between_them_does_not_let_it() {
        assert_eq!(open_at(0).allows(29_999), 0);
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            (0..9).for_each(|_| breaker.failed(0));
            breaker.succeeded();
        }
        assert_eq!(breaker.allows(0), usize::MAX);
    }

    #[test]
    fn one_probe_is_let_through_and_its_outcome_decides() {
        let mut breaker = open_at(0);
        assert_eq!((breaker.allows(29_999), breaker.allows(30_000)), (0, 1));
        breaker.began(30_000);
        assert_eq!(breaker.allows(30_000), 0, "one at a time");
        breaker.succeeded();
        assert_eq!(breaker.allows(30_000), usize::MAX);
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_to_five_minutes() {
        let (mut breaker, mut now) = (open_at(0), 0);
        for pause in [30_000, 60_000, 120_000, 240_000, 300_000, 300_000] {
            assert_eq!(breaker.allows(now + pause - 1), 0);
            now += pause;
            assert_eq!(breaker.allows(now), 1);
            breaker.began(now);
            breaker.failed(now);
        }
    }

    #[test]
    fn late_answers_of_earlier_attempts_change_nothing_and_a_lost_probe_is_repeated_soon() {
        let mut breaker = open_at(0);
        breaker.failed(5_000);
        assert_eq!(breaker.allows(29_999), 0);
        breaker.began(30_000);
        breaker.learned_nothing(30_000);
        assert_eq!((breaker.allows(30_999), breaker.allows(31_000)), (0, 1));
        let mut breaker = open_at(0);
        breaker.probe_now(5);
        assert_eq!(breaker.allows(5), 1, "it was asked for");
    }
}
