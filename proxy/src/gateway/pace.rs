//! How fast a client sends or takes a body: so much a second on average, while it is waited for, and not counting
//! a first grace. What was fast is credit for what is slow later.

use std::time::Duration;

use clearway_config::settings::process::LimitSettings;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The client was waited for.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// How much longer it is waited for if nothing comes.
    pub(crate) fn left(&self, limits: &LimitSettings) -> Duration {
        match limits.rate_min.as_u64() {
            0 => Duration::MAX,
            rate => {
                let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / rate);
                limits.rate_grace.saturating_add(earned).saturating_sub(self.waited)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(rate_min: &str) -> LimitSettings {
        LimitSettings { rate_min: rate_min.parse().unwrap(), rate_grace: 5 * SECOND, ..LimitSettings::default() }
    }

    #[test]
    fn a_client_may_be_slow_for_as_long_as_it_was_fast() {
        let (mut pace, limits) = (Pace::default(), limits("100B"));
        assert_eq!(pace.left(&limits), 5 * SECOND);
        pace.moved(1000);
        pace.waited(12 * SECOND);
        assert_eq!(pace.left(&limits), 3 * SECOND);
        pace.waited(4 * SECOND);
        assert_eq!(pace.left(&limits), Duration::ZERO);
    }

    #[test]
    fn without_a_rate_there_is_no_end() {
        let mut pace = Pace::default();
        pace.waited(1000 * SECOND);
        assert_eq!(pace.left(&limits("0B")), Duration::MAX);
    }
}
