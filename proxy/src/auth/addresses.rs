//! What anonymous requests have used, by route and client address, in memory of a fixed size.
//!
//! A table of sets with a few places each. An address that is new to a full set takes the place of the one
//! with the least use, and takes over its counts: no address is ever counted too little, so however many
//! addresses there are, none gets more than its limit. What is lost under an attack with more addresses than
//! places is fairness among strangers of one set, by no more than the least use among them; callers with a
//! credential are not counted here at all.
//!
//! Counts are this process's own, and gone when it ends.

use std::{
    hash::BuildHasher,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use clearway_config::Limits;
use clearway_filters::{
    Reject,
    quota::{self, Now, Standing, Subject, Windows},
};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// 65,536 places of 80 bytes.
const SETS: usize = 16_384;
const PLACES: usize = 4;

/// Places for all addresses of all routes together.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// Made on the first anonymous request.
    sets: OnceLock<Box<[Mutex<Set>]>>,
    hasher: RandomState,
}

type Set = [Place; PLACES];

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    who: Who,
    windows: Windows,
}

/// A route, and an address or network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Who {
    route: u64,
    address: u64,
}

/// An anonymous request being served: it holds one of its address's concurrency.
#[derive(Debug)]
pub(crate) struct Visit {
    addresses: Arc<Addresses>,
    set: usize,
    place: usize,
    standing: Standing,
}

impl Visit {
    /// What is left of the address's limits, as of the admission.
    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // The place may be another address's by now; it took over this count too.
        quota::release(&mut self.addresses.sets()[self.set].lock()[self.place].windows);
    }
}

impl Addresses {
    /// Admits and counts a request, or refuses it and does not.
    pub(crate) fn admit(self: &Arc<Self>, now: &Now, route: &str, from: IpAddr, limits: &Limits) -> Result<Visit, Reject> {
        let (who, set) = self.find(route, from);
        let mut places = self.sets()[set].lock();
        let place = find_or_take(&mut places, who, now);
        let standing = quota::decide_alone(now, Subject::Address, &mut places[place].windows, limits)?;
        drop(places);
        Ok(Visit { addresses: self.clone(), set, place, standing })
    }

    /// Whether a request would be admitted now. Nothing is counted, and nothing is promised.
    pub(crate) fn would_admit(&self, now: &Now, route: &str, from: IpAddr, limits: &Limits) -> Result<(), Reject> {
        let (who, set) = self.find(route, from);
        let mut places = *self.sets()[set].lock();
        let place = find_or_take(&mut places, who, now);
        quota::decide_alone(now, Subject::Address, &mut places[place].windows, limits)?;
        Ok(())
    }

    /// Who asks, and in which set that is counted.
    fn find(&self, route: &str, from: IpAddr) -> (Who, usize) {
        let who = Who { route: self.hasher.hash_one(route), address: network(from) };
        // Nobody outside can choose addresses that share a set: the hasher is seeded at random.
        let set = usize::try_from(self.hasher.hash_one((who.route, who.address)) % SETS as u64).expect("less than SETS");
        (who, set)
    }

    fn sets(&self) -> &[Mutex<Set>] {
        self.sets.get_or_init(|| (0..SETS).map(|_| Mutex::default()).collect())
    }
}

fn find_or_take(places: &mut Set, who: Who, now: &Now) -> usize {
    if let Some(held) = places.iter().position(|place| place.who == who) {
        return held;
    }
    for place in places.iter_mut() {
        place.windows.roll(now);
    }
    let use_of = |place: &Place| {
        let Windows { concurrent, second_count, second_before, day_count, .. } = place.windows;
        (concurrent, day_count, second_count.saturating_add(second_before))
    };
    let least = (0..PLACES).min_by_key(|&place| use_of(&places[place])).expect("PLACES is not zero");
    places[least].who = who;
    least
}

/// One IPv4 address, or the /64 that one subscriber of IPv6 has for itself.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        // In a part of IPv6 that is nobody's network.
        IpAddr::V4(v4) => 0x0000_ffff_0000_0000 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    const NOON_MS: u64 = 1_770_724_800_000;

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn per_day(limit: u64) -> Limits {
        Limits { per_day: Some(limit), ..Limits::UNLIMITED }
    }

    #[test]
    fn every_address_has_its_own_limit_on_every_route_and_ipv6_counts_by_network() {
        let addresses = Arc::new(Addresses::default());
        let ask = |route: &str, from: &str| {
            addresses.admit(&Now::at(NOON_MS), route, from.parse().unwrap(), &per_day(2)).map(drop).is_ok()
        };
        assert!(ask("a", "192.0.2.1") && ask("a", "192.0.2.1") && !ask("a", "::ffff:192.0.2.1"));
        assert!(ask("a", "192.0.2.2") && ask("b", "192.0.2.1"));
        assert!(ask("a", "2001:db8::1") && ask("a", "2001:db8::2") && !ask("a", "2001:db8::ffff:0:0:3"));
        assert!(ask("a", "2001:db8:0:1::1"));
    }

    #[test]
    fn a_request_holds_its_place_until_it_ends() {
        let addresses = Arc::new(Addresses::default());
        let limits = Limits { concurrent: Some(1), ..Limits::UNLIMITED };
        let ask = || addresses.admit(&Now::at(NOON_MS), "a", v4(1), &limits);
        let visit = ask().unwrap();
        assert_eq!(visit.standing().iter().next().map(|left| left.subject), Some(Subject::Address));
        let look = || addresses.would_admit(&Now::at(NOON_MS), "a", v4(1), &limits);
        assert!(ask().is_err() && look().is_err());
        drop(visit);
        assert!(look().is_ok() && look().is_ok(), "looking takes no place");
        assert!(ask().is_ok());
    }

    #[test]
    fn however_many_addresses_ask_none_gets_more_than_its_limit() {
        let addresses = Arc::new(Addresses::default());
        let mut admitted: HashMap<u32, u64> = HashMap::new();
        let strangers = u32::try_from(SETS * PLACES * 3).unwrap();
        for round in 0..4 {
            for n in (0..strangers).step_by(if round == 3 { 7 } else { 1 }) {
                let now = Now::at(NOON_MS + round);
                *admitted.entry(n).or_default() += u64::from(addresses.admit(&now, "a", v4(n), &per_day(2)).is_ok());
            }
        }
        assert!(admitted.values().all(|&count| count <= 2));
        assert_eq!(addresses.sets().len() * PLACES, SETS * PLACES, "nothing has grown");
    }

    #[test]
    fn an_address_that_keeps_its_place_is_not_disturbed_by_strangers_of_little_use() {
        let addresses = Arc::new(Addresses::default());
        let limits = per_day(1_000);
        let mut regular = 0;
        for n in 0..200_000_u32 {
            let _ = addresses.admit(&Now::at(NOON_MS), "a", v4(1_000 + n), &limits);
            if n % 400 == 0 {
                regular += u64::from(addresses.admit(&Now::at(NOON_MS), "a", v4(1), &limits).is_ok());
            }
        }
        assert_eq!(regular, 500);
    }

    proptest! {
        #[test]
        fn a_second_s_limit_holds_over_any_order_of_addresses(asks in proptest::collection::vec((0_u32..6, 0_u64..900), 1..120)) {
            let addresses = Arc::new(Addresses::default());
            let limits = Limits { per_second: Some(3), ..Limits::UNLIMITED };
            let mut admitted: HashMap<u32, u32> = HashMap::new();
            for (from, ms) in asks {
                *admitted.entry(from).or_default() +=
                    u32::from(addresses.admit(&Now::at(NOON_MS + ms), "a", v4(from), &limits).is_ok());
            }
            prop_assert!(admitted.values().all(|&count| count <= 3));
        }
    }
}
