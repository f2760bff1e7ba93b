//! Whether the holder of a key may do what a route asks for. The order of the checks is part of the
//! contract: a client sees the first that fails.

use std::net::IpAddr;

use clearway_config::Scopes;
use ipnet::IpNet;

use crate::Reject;

/// What is known of a key and its account.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    pub revoked: bool,
    /// Milliseconds since 1970 UTC; from that moment on the key is expired.
    pub expires_at: Option<u64>,
    pub suspended: bool,
    /// Empty allows every address.
    pub allowed: &'a [IpNet],
    pub scopes: &'a Scopes,
}

impl Held<'_> {
    /// Whether it is neither revoked nor expired.
    pub fn is_live(&self, now_ms: u64) -> bool {
        !self.revoked && self.expires_at.is_none_or(|at| at > now_ms)
    }
}

/// Revoked, expired, suspended, address, scope: in this order.
pub fn check(held: &Held<'_>, wanted: &Scopes, address: IpAddr, now_ms: u64) -> Result<(), Reject> {
    if held.revoked {
        return Err(Reject::KeyRevoked);
    }
    if held.expires_at.is_some_and(|at| at <= now_ms) {
        return Err(Reject::KeyExpired);
    }
    if held.suspended {
        return Err(Reject::AccountSuspended);
    }
    if !held.allowed.is_empty() && !held.allowed.iter().any(|net| net.contains(&address)) {
        return Err(Reject::AddressNotAllowed);
    }
    match held.scopes.missing(wanted) {
        Some(scope) => Err(Reject::ScopeMissing(scope.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(words: &[&str]) -> Scopes {
        words.iter().map(|word| word.parse::<clearway_config::Scope>().unwrap()).collect()
    }

    #[test]
    fn the_first_failing_check_is_the_one_that_is_answered() {
        let (none, wanted) = (Scopes::default(), scopes(&["read:apps"]));
        let elsewhere = ["10.0.0.0/8".parse().unwrap()];
        let address = "192.0.2.1".parse().unwrap();
        let mut held = Held { revoked: true, expires_at: Some(5), suspended: true, allowed: &elsewhere, scopes: &none };
        let answer = |held: &Held<'_>| check(held, &wanted, address, 5);

        assert_eq!(answer(&held), Err(Reject::KeyRevoked));
        held.revoked = false;
        assert_eq!(answer(&held), Err(Reject::KeyExpired));
        held.expires_at = Some(6);
        assert_eq!(answer(&held), Err(Reject::AccountSuspended));
        held.suspended = false;
        assert_eq!(answer(&held), Err(Reject::AddressNotAllowed));
        held.allowed = &[];
        assert_eq!(answer(&held), Err(Reject::ScopeMissing("read:apps".parse().unwrap())));
        held.scopes = &wanted;
        assert_eq!(answer(&held), Ok(()));
    }

    #[test]
    fn an_address_is_allowed_by_any_of_the_networks_of_its_own_family() {
        let none = Scopes::default();
        let allowed = ["192.0.2.0/25".parse().unwrap(), "2001:db8::/48".parse().unwrap()];
        let held = Held { revoked: false, expires_at: None, suspended: false, allowed: &allowed, scopes: &none };
        for (address, passes) in [
            ("192.0.2.127", true),
            ("192.0.2.128", false),
            ("2001:db8:0:ffff::1", true),
            ("2001:db8:1::1", false),
            ("::c000:0201", false),
        ] {
            assert_eq!(check(&held, &none, address.parse().unwrap(), 0).is_ok(), passes, "{address}");
        }
    }
}
