//! Which of a route's upstreams a request goes to, where a part of the requests goes elsewhere.

use clearway_config::settings::gateway::split::{ALL, Split};
use http::HeaderMap;

/// The upstream that a request goes to instead of the route's own; `None` for that one.
///
/// `who` is what a request is told apart by: an account's id, so that an account always lands on the same side, and
/// stays on it while the share grows; or anything random, where nobody is known. `route` is the route's name: the
/// accounts that try everything first are not the same on every route.
pub fn elsewhere(split: &Split, headers: &HeaderMap, who: u128, route: &str) -> Option<usize> {
    let by_header = split.by_header.iter().find(|(conditions, _)| conditions.hold_for_headers(headers));
    by_header.map(|(_, upstream)| *upstream).or_else(|| {
        let place = place(who, route);
        split.by_share.iter().find(|(end, _)| place < *end).map(|(_, upstream)| *upstream)
    })
}

/// From 0 to [`ALL`], evenly; the same on every machine and in every version.
fn place(who: u128, route: &str) -> u16 {
    // FNV-1a, then the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    let route = route.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mixed = mix(mix(route ^ (who as u64)) ^ ((who >> 64) as u64));
    ((u128::from(mixed) * u128::from(ALL)) >> 64) as u16
}

fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_share(shares: &[(u16, usize)]) -> Split {
        Split { by_share: shares.to_vec(), ..Split::default() }
    }

    fn taken(split: &Split, route: &str) -> Vec<u128> {
        let ids = (0..100_000_u128).map(|n| (n << 80) | (n.wrapping_mul(0x9e37_79b9) % 1000));
        ids.filter(|&who| elsewhere(split, &HeaderMap::new(), who, route) == Some(7)).collect()
    }

    #[test]
    fn a_share_is_its_part_of_the_accounts_and_grows_around_those_it_has() {
        let (five, ten) = (taken(&by_share(&[(500, 7)]), "orders"), taken(&by_share(&[(1_000, 7)]), "orders"));
        assert!((4_700..5_300).contains(&five.len()) && (9_600..10_400).contains(&ten.len()), "{} {}", five.len(), ten.len());
        assert!(five.iter().all(|who| ten.contains(who)));
        let elsewhere = taken(&by_share(&[(500, 7)]), "users");
        assert!(five.iter().filter(|who| elsewhere.contains(who)).count() < 500, "another route, other accounts");
    }

    #[test]
    fn nothing_and_all_are_exact() {
        assert_eq!(taken(&by_share(&[(0, 7)]), "r").len(), 0);
        assert_eq!(taken(&by_share(&[(0, 3), (ALL, 7)]), "r").len(), 100_000);
    }
}
