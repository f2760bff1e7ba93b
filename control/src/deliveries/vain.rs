//! Deliveries that proxies cannot attempt, because they do not know the webhook. For a moment that is so after every change,
//! and no attempt is used up by it. But it must end: of a webhook that a proxy cannot hold, or where one is cut off from changes,
//! it would be so for ever. Pure: the time is passed in.

use std::collections::HashMap;

use clearway_config::DeliveryId;

/// A delivery is given up after so many refusals over so long: neither a burst of them nor one long silence is enough.
const TIMES_MIN: u32 = 20;
const FOR_MS: i64 = 3_600_000;
/// Deliveries that are counted at a time. The others go on meanwhile, and come to it when some of these have ended.
const COUNTED_MAX: usize = 10_000;

/// What an attempt says in the log by which a delivery was given up.
pub(super) const REASON: &str = "no proxy has known the webhook for an hour";

/// Since when, when last, and how often.
#[derive(Debug, Default)]
pub(super) struct Vain(HashMap<DeliveryId, (i64, i64, u32)>);

impl Vain {
    /// Counts one more. Whether it was the last: then the delivery is forgotten.
    pub(super) fn again(&mut self, id: DeliveryId, now_ms: i64) -> bool {
        if self.0.len() >= COUNTED_MAX && !self.0.contains_key(&id) {
            return false;
        }
        let (since, last, times) = self.0.entry(id).or_insert((now_ms, now_ms, 0));
        (*last, *times) = (now_ms, *times + 1);
        let over = *times >= TIMES_MIN && now_ms - *since >= FOR_MS;
        if over {
            self.0.remove(&id);
        }
        over
    }

    /// It was attempted.
    pub(super) fn forget(&mut self, id: DeliveryId) {
        if !self.0.is_empty() {
            self.0.remove(&id);
        }
    }

    /// Forgets those that have not come back.
    pub(super) fn sweep(&mut self, now_ms: i64) {
        self.0.retain(|_, (_, last, _)| *last + FOR_MS > now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_over_an_hour_are_the_end_and_neither_alone_is() {
        let (mut vain, id) = (Vain::default(), DeliveryId::new(1, 0));
        assert!((0..1_000).all(|_| !vain.again(id, 5)), "all at once");
        vain.sweep(5 + FOR_MS - 1);
        assert!(!vain.again(id, 5 + FOR_MS - 1));
        assert!(vain.again(id, 5 + FOR_MS));
        assert!(!vain.again(id, 5 + FOR_MS), "it begins anew");
        let other = DeliveryId::new(2, 0);
        assert!(!vain.again(other, 0) && !vain.again(other, FOR_MS), "twice in an hour");
    }

    #[test]
    fn what_was_attempted_or_never_came_back_is_forgotten_and_no_more_are_counted_than_may() {
        let mut vain = Vain::default();
        for n in 0..=COUNTED_MAX as u64 {
            vain.again(DeliveryId::new(n, 0), 0);
        }
        assert_eq!(vain.0.len(), COUNTED_MAX);
        vain.forget(DeliveryId::new(7, 0));
        assert_eq!(vain.0.len(), COUNTED_MAX - 1);
        vain.sweep(FOR_MS);
        assert_eq!(vain.0.len(), 0);
    }
}
