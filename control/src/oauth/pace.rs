//! How often one address may ask OAuth's endpoints, by this process's own count.
//!
//! Places of a fixed number: addresses that share one share its count, so that nobody is ever counted too little. Which do
//! cannot be chosen from outside. What guesses cost besides is that secrets have 256 bits.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

const PLACES: usize = 16_384;
const WINDOW_MS: i64 = 60_000;
/// Requests of one address in a minute.
const REQUESTS_MAX: u32 = 600;
/// Client authentications in a minute that failed.
const FAILURES_MAX: u32 = 30;
/// Applications that register themselves from one address in a minute.
const REGISTRATIONS_MAX: u32 = 10;

#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Mutex<Box<[Place]>>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    began_ms: i64,
    requests: u32,
    failures: u32,
    registrations: u32,
}

impl Default for Pace {
    fn default() -> Self {
        let places = Mutex::new(vec![Place::default(); PLACES].into());
        Self(Arc::new(Inner { places, hasher: RandomState::new() }))
    }
}

impl Pace {
    /// Counts a request; whether it may go on.
    pub(super) fn admit(&self, from: IpAddr, now_ms: i64) -> bool {
        self.with(from, now_ms, |place| {
            place.requests = place.requests.saturating_add(1);
            place.requests <= REQUESTS_MAX && place.failures <= FAILURES_MAX
        })
    }

    /// Counts a client that did not prove that it is itself.
    pub(super) fn failed(&self, from: IpAddr, now_ms: i64) {
        self.with(from, now_ms, |place| place.failures = place.failures.saturating_add(1));
    }

    /// Counts an application that registers itself; whether it may.
    pub(super) fn registers(&self, from: IpAddr, now_ms: i64) -> bool {
        self.with(from, now_ms, |place| {
            place.registrations = place.registrations.saturating_add(1);
            place.registrations <= REGISTRATIONS_MAX
        })
    }

    fn with<T>(&self, from: IpAddr, now_ms: i64, act: impl FnOnce(&mut Place) -> T) -> T {
        let network = match from.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            // One subscriber has a /64 for itself.
            IpAddr::V6(v6) => v6.to_bits() >> 64 | 1 << 96,
        };
        let hash = self.0.hasher.hash_one(network);
        let at = usize::try_from(hash % PLACES as u64).expect("less than PLACES");
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut places[at];
        if now_ms.saturating_sub(place.began_ms) >= WINDOW_MS {
            *place = Place { began_ms: now_ms, ..Place::default() };
        }
        act(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_guesses_or_asks_too_often_waits_a_minute() {
        let pace = Pace::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..=FAILURES_MAX {
            assert!(pace.admit(one, 1_000_000));
            pace.failed(one, 1_000_000);
        }
        assert!(!pace.admit(one, 1_000_001));
        assert!(pace.admit(one, 1_000_000 + WINDOW_MS));
        let asked = (0..2 * REQUESTS_MAX).filter(|_| pace.admit(other, 9_000_000)).count();
        assert_eq!(asked, REQUESTS_MAX as usize);
        let registered = (0..2 * REGISTRATIONS_MAX).filter(|_| pace.registers(other, 9_000_000)).count();
        assert_eq!(registered, REGISTRATIONS_MAX as usize);
    }
}
