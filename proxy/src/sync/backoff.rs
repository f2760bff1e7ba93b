//! How long to wait before connecting again: twice as long each time, and at random below that, so that
//! a fleet does not come back all at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { ceiling: FIRST }
    }
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(LONGEST);
        ceiling.mul_f64(rand::random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_each_time_up_to_ten_seconds_and_never_longer_than_it_may() {
        let mut backoff = Backoff::default();
        for power in 0..20 {
            let ceiling = LONGEST.min(FIRST * 2_u32.pow(power.min(10)));
            assert_eq!(backoff.ceiling, ceiling);
            assert!(backoff.next() <= ceiling);
        }
    }
}
