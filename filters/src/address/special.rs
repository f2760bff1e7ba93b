//! The addresses that are nobody's server on the internet: the IANA registries of special-purpose addresses for IPv4 and
//! IPv6 (RFC 6890 and its successors), multicast, what is withdrawn, and what clouds keep for their instances.
//!
//! What the registries call globally reachable stands here too where no receiver can be behind it: anycast addresses of
//! protocols, sinks and relays. Addresses that lead to another one are not in here: what counts is where they lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Networks, and what an address of them is; the first that holds it says it.
pub(super) const V4: [(Ipv4Net, &str); 19] = [
    // RFC 791, 3.2.
    (v4([0, 0, 0, 0], 8), "of this network, or unspecified"),
    // RFC 1918.
    (v4([10, 0, 0, 0], 8), "private"),
    (v4([172, 16, 0, 0], 12), "private"),
    (v4([192, 168, 0, 0], 16), "private"),
    // RFC 6598.
    (v4([100, 64, 0, 0], 10), "of a carrier's own network"),
    // RFC 1122, 3.2.1.3.
    (v4([127, 0, 0, 0], 8), "loopback"),
    // RFC 3927.
    (v4([169, 254, 0, 0], 16), "link-local"),
    // RFC 6890, 2.1, and what stands in it: RFC 7335, RFC 7600, RFC 7723, RFC 8155 and RFC 7050.
    (v4([192, 0, 0, 0], 24), "reserved for protocols"),
    // RFC 5737.
    (v4([192, 0, 2, 0], 24), "for documentation"),
    (v4([198, 51, 100, 0], 24), "for documentation"),
    (v4([203, 0, 113, 0], 24), "for documentation"),
    // RFC 7535 and RFC 7534.
    (v4([192, 31, 196, 0], 24), "a sink of AS112"),
    (v4([192, 175, 48, 0], 24), "a sink of AS112"),
    // RFC 7450.
    (v4([192, 52, 193, 0], 24), "a multicast relay"),
    // RFC 7526, and RFC 6751 in it.
    (v4([192, 88, 99, 0], 24), "a 6to4 relay"),
    // RFC 2544, C.2.2.
    (v4([198, 18, 0, 0], 15), "for benchmarks"),
    // RFC 5771.
    (v4([224, 0, 0, 0], 4), "multicast"),
    // RFC 919, 7.
    (v4([255, 255, 255, 255], 32), "broadcast"),
    // RFC 1112, 4.
    (v4([240, 0, 0, 0], 4), "reserved"),
];

/// Of what is given out to anybody ([`UNICAST`]) and beside it, as [`V4`].
pub(super) const V6: [(Ipv6Net, &str); 23] = [
    // RFC 4291, 2.5.2, 2.5.3 and 2.5.5.1.
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "an IPv4 address in a form that is no longer used"),
    // RFC 8215.
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "of a network's own NAT64"),
    // RFC 6666.
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "discarded"),
    // RFC 9780.
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64), "a dummy"),
    // RFC 4380.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), "of Teredo"),
    // RFC 5180.
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), "for benchmarks"),
    // RFC 7450.
    (v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32), "a multicast relay"),
    // RFC 7535 and RFC 7534.
    (v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48), "a sink of AS112"),
    (v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), "a sink of AS112"),
    // ORCHID of RFC 4843 and of RFC 7343, and DRIP of RFC 9374: names that look like addresses.
    (v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28), "an identifier that leads nowhere"),
    (v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28), "an identifier that leads nowhere"),
    (v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28), "an identifier that leads nowhere"),
    // RFC 2928, and the anycast addresses of RFC 7723, RFC 8155 and RFC 9665 in it.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "reserved for protocols"),
    // RFC 3849 and RFC 9637.
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "for documentation"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "for documentation"),
    // RFC 3056: a relay of anybody's unpacks it, so that even one with a public address inside ends who knows where.
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "of 6to4"),
    // RFC 9602.
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "of segment routing"),
    // RFC 4193.
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "unique local"),
    // RFC 4291, 2.5.6; RFC 3879; RFC 4291, 2.7.
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "site-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

/// What public IPv6 addresses are given out of (RFC 4291, 2.4).
pub(super) const UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Where clouds tell whoever asks what an instance may know, its credentials included.
pub(super) const METADATA: [IpAddr; 13] = [
    // AWS, Google Cloud, Azure, Oracle, DigitalOcean and others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // Credentials of AWS' containers, and of its Kubernetes' pods.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Scaleway, and Tencent Cloud.
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's host, at an address that looks public.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle's older cloud.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // AWS, its pods, Google Cloud, Scaleway and OpenStack by IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

const fn v4([a, b, c, d]: [u8; 4], bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), bits)
}
