//! Whether an address is in a list of networks.

use std::net::IpAddr;

use clearway_config::settings::gateway::policy::Addresses;
use ipnet::IpNet;

/// Whether requests from `address` are let through. `deny` comes first.
pub fn admit(addresses: &Addresses, address: IpAddr) -> bool {
    !is_in(&addresses.deny, address) && (addresses.allow.is_empty() || is_in(&addresses.allow, address))
}

/// `networks` are sorted, and none lies in another, as settings leave them; `address` is canonical.
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let behind = networks.partition_point(|network| network.network() <= address);
    behind.checked_sub(1).is_some_and(|before| networks[before].contains(&address))
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::policy::PolicySpec;

    use super::*;

    fn addresses(allow: &[&str], deny: &[&str]) -> Addresses {
        let text = format!(r#"{{"name": "p", "addresses": {{"allow": {allow:?}, "deny": {deny:?}}}}}"#);
        let policy = serde_json::from_str::<PolicySpec>(&text).unwrap().resolve().unwrap();
        Addresses::clone(&policy.addresses.unwrap())
    }

    #[test]
    fn what_is_denied_is_not_let_through_by_being_allowed() {
        let both = addresses(&["10.0.0.0/8", "2001:db8::/32"], &["10.1.0.0/16", "2001:db8:1::/48"]);
        for (address, admitted) in [
            ("10.0.0.1", true),
            ("10.1.255.255", false),
            ("10.2.0.0", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("2001:db8::1", true),
            ("2001:db8:1::1", false),
            ("::1", false),
        ] {
            assert_eq!(admit(&both, address.parse().unwrap()), admitted, "{address}");
        }
        assert!(admit(&addresses(&[], &["10.0.0.0/8"]), "192.0.2.1".parse().unwrap()), "all but the denied");
    }

    #[test]
    fn a_long_list_says_what_looking_at_each_says() {
        let texts: Vec<String> = (0..200_u8).map(|n| format!("10.{n}.{}.0/24", n.wrapping_mul(7))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).chain(["0.0.0.0/28", "255.255.255.255", "::/127"]).collect();
        let list = addresses(&texts, &[]).allow;
        for n in 0..=u8::MAX {
            for address in [[10, n, n.wrapping_mul(7), n], [10, n, n, n], [0, 0, 0, n], [255, 255, 255, n]] {
                let address = IpAddr::from(address);
                assert_eq!(is_in(&list, address), list.iter().any(|network| network.contains(&address)), "{address}");
            }
        }
    }
}
