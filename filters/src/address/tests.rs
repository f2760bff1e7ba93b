use proptest::prelude::*;

use super::*;

fn guard(allow: &[&str]) -> Guard {
    Guard { allow: allow.iter().map(|net| net.parse().unwrap()).collect(), ..Guard::default() }
}

fn judged(guard: &Guard, address: &str) -> Result<(), Refused> {
    guard.check(address.parse().unwrap())
}

/// One and more of every class that is not public, at its edges.
const REFUSED: &[(&str, &[&str])] = &[
    ("of this network, or unspecified", &["0.0.0.0", "0.1.2.3", "0.255.255.255"]),
    ("private", &["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"]),
    ("of a carrier's own network", &["100.64.0.0", "100.127.255.255"]),
    ("loopback", &["127.0.0.1", "127.255.255.254", "::1"]),
    ("link-local", &["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1"]),
    (
        "a cloud's metadata service",
        &["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"],
    ),
    ("reserved for protocols", &["192.0.0.1", "192.0.0.9", "192.0.0.170", "2001:1::1", "2001:1::3", "2001:40::1", "2001:1ff::1"]),
    ("for documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff::1"]),
    ("a sink of AS112", &["192.31.196.1", "192.175.48.255", "2001:4:112::1", "2620:4f:8000::1"]),
    ("a multicast relay", &["192.52.193.1", "2001:3::1"]),
    ("a 6to4 relay", &["192.88.99.1", "192.88.99.2"]),
    ("for benchmarks", &["198.18.0.0", "198.19.255.255", "2001:2::1", "2001:2:0:ffff::1"]),
    ("multicast", &["224.0.0.1", "233.252.0.1", "239.255.255.255", "ff02::1", "ffff::1"]),
    ("broadcast", &["255.255.255.255"]),
    ("reserved", &["240.0.0.1", "255.255.255.254", "4000::1", "e000::1", "200::1", "64:ff9b:2::1", "::1:0:0:1", "100:0:0:2::"]),
    ("unspecified", &["::"]),
    ("an IPv4 address in a form that is no longer used", &["::7f00:1", "::8.8.8.8"]),
    // IPv4-mapped, SIIT and NAT64: judged by what they lead to.
    ("loopback", &["::ffff:127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1"]),
    ("private", &["::ffff:10.0.0.1", "::ffff:c0a8:1", "64:ff9b::10.0.0.1"]),
    ("a cloud's metadata service", &["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "::ffff:0:a9fe:a9fe"]),
    ("of a network's own NAT64", &["64:ff9b:1::1", "64:ff9b:1:ffff::a00:1", "64:ff9b:1::8.8.8.8"]),
    ("discarded", &["100::1", "100::ffff:ffff:ffff:ffff"]),
    ("a dummy", &["100:0:0:1::1"]),
    ("an identifier that leads nowhere", &["2001:10::1", "2001:1f::1", "2001:20::1", "2001:30::1", "2001:3f::1"]),
    ("of segment routing", &["5f00::1"]),
    ("unique local", &["fc00::1", "fd12:3456::1", "fdff::1"]),
    ("site-local", &["fec0::1", "feff::1"]),
    ("of Teredo", &["2001::1", "2001:0:7f00:1::1", "2001:0:808:808::1"]),
    ("of 6to4", &["2002::1", "2002:7f00:1::1", "2002:808:808::1"]),
];

const PUBLIC: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2620:4f:8001::1",
    "2a00::1",
    "3fff:1000::1",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::8.8.8.8",
];

/// The registries as IANA publishes them (`iana-ipv4-special-registry`, `iana-ipv6-special-registry`), and multicast. Left
/// out: `::ffff:0:0/96` and `64:ff9b::/96`, which lead elsewhere.
const REGISTERED: &str = "
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
    192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
    192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
    255.255.255.255/32 224.0.0.0/4
    ::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128
    2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16
    2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8";

#[test]
fn nothing_is_posted_to_an_address_that_is_not_public() {
    let guard = guard(&[]);
    for (class, addresses) in REFUSED {
        for address in *addresses {
            assert_eq!(judged(&guard, address), Err(Refused::Address(class)), "{address}");
        }
    }
    for address in PUBLIC {
        assert_eq!(judged(&guard, address), Ok(()), "{address}");
    }
}

#[test]
fn every_network_of_the_registries_is_refused_from_its_first_address_to_its_last() {
    let guard = guard(&[]);
    for net in REGISTERED.split_whitespace() {
        let net: IpNet = net.parse().unwrap();
        for address in [net.network(), net.broadcast()] {
            assert!(guard.check(address).is_err(), "{address} of {net}");
        }
    }
}

#[test]
fn what_is_said_of_an_address_is_said_of_the_narrowest_network_that_holds_it() {
    for (n, (net, class)) in special::V4.iter().enumerate() {
        let hidden = special::V4[..n].iter().find(|(wider, _)| wider.contains(net));
        assert_eq!(hidden, None, "{net} {class}");
    }
    for (n, (net, class)) in special::V6.iter().enumerate() {
        let hidden = special::V6[..n].iter().find(|(wider, _)| wider.contains(net));
        assert_eq!(hidden, None, "{net} {class}");
    }
}

proptest! {
    #[test]
    fn an_ipv4_address_is_judged_alike_in_every_form(bits: u32) {
        let (guard, plain) = (guard(&["10.1.0.0/16"]), Ipv4Addr::from(bits));
        let [a, b] = [bits >> 16, bits & 0xffff].map(|half| u16::try_from(half).unwrap());
        let judged = guard.check(plain.into());
        for form in [[0, 0, 0, 0, 0, 0xffff, a, b], [0, 0, 0, 0, 0xffff, 0, a, b], [0x64, 0xff9b, 0, 0, 0, 0, a, b]] {
            prop_assert_eq!(guard.check(IpAddr::from(form)), judged);
        }
        // Tunnels that anybody's relay unpacks, and forms without a meaning.
        let tunnels = [[0x2002, a, b, 0, 0, 0, 0, 1], [0x2001, 0, 0, 0, 0, 0, !a, !b]];
        for form in tunnels.into_iter().chain([[0x64, 0xff9b, 1, 0, 0, 0, a, b], [0, 0, 0, 0, 0, 0, a, b]]) {
            prop_assert!(guard.check(IpAddr::from(form)).is_err());
        }
    }
}

#[test]
fn ones_own_networks_are_allowed_by_the_settings_and_no_others() {
    let guard = guard(&["10.1.0.0/16", "127.0.0.1/32", "fd12::/16"]);
    for allowed in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "127.0.0.1", "fd12::1"] {
        assert_eq!(judged(&guard, allowed), Ok(()), "{allowed}");
    }
    for refused in ["10.2.0.1", "127.0.0.2", "::1", "fd13::1", "2002:0a01:0203::1"] {
        assert!(judged(&guard, refused).is_err(), "{refused}");
    }
}

#[test]
fn a_metadata_service_takes_a_network_of_its_own() {
    let wide = guard(&["0.0.0.0/0", "::/0"]);
    assert_eq!(judged(&wide, "10.0.0.1"), Ok(()));
    for address in METADATA {
        assert_eq!(wide.check(address), Err(Refused::Address("a cloud's metadata service")), "{address}");
    }
    assert_eq!(judged(&guard(&["169.254.169.254/32"]), "169.254.169.254"), Ok(()));
}

#[test]
fn schemes_and_ports_are_those_of_the_settings() {
    let mut guard = guard(&[]);
    assert_eq!(guard.check_origin(true, 8443), Ok(()));
    assert_eq!(guard.check_origin(true, 0), Err(Refused::Port(0)));
    assert_eq!(guard.check_origin(false, 80), Err(Refused::Scheme));
    (guard.allow_http, guard.ports) = (true, vec![443, 8443]);
    assert_eq!(guard.check_origin(false, 8443), Ok(()));
    assert_eq!(guard.check_origin(true, 25), Err(Refused::Port(25)));
}
