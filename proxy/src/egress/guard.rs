//! Which addresses webhooks may be posted to: public ones, and those of one's own that the settings allow.
//!
//! Whoever registers a webhook chooses its URL, and so where this process connects to. Names are no help in judging
//! that: what a name resolves to is its owner's to say, and to change between two looks. So it is the address of the
//! connection itself that is judged, at every attempt. Addresses that carry another one inside are judged by that one.
//!
//! The classes are those of the IANA registries for special-purpose addresses (RFC 6890 and its successors).

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clearway_config::settings::process::EgressSettings;
use ipnet::IpNet;

/// What nothing is posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the address is {0}")]
    Address(&'static str),
    #[error("http is not allowed, https is wanted")]
    Scheme,
    #[error("port {0} is not allowed")]
    Port(u16),
}

#[derive(Debug)]
pub(crate) struct Guard {
    allow: Vec<IpNet>,
    allow_http: bool,
    /// Empty is every one.
    ports: Vec<u16>,
}

/// Where clouds tell whoever asks what an instance may know, its credentials included. An operator's own network is
/// allowed without these; they take a network of this one address.
const METADATA: [IpAddr; 6] = [
    // AWS, Google Cloud, Azure, Oracle, DigitalOcean and others.
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // Credentials of AWS' containers.
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's host, at an address that looks public.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // AWS by IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    // Google Cloud by IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

impl Guard {
    pub(crate) fn new(settings: &EgressSettings) -> Self {
        Self { allow: settings.allow.clone(), allow_http: settings.allow_http, ports: settings.ports.clone() }
    }

    /// What can be said before anything is resolved.
    pub(crate) fn check_origin(&self, https: bool, port: u16) -> Result<(), Refused> {
        if !https && !self.allow_http {
            return Err(Refused::Scheme);
        }
        if !self.ports.is_empty() && !self.ports.contains(&port) {
            return Err(Refused::Port(port));
        }
        Ok(())
    }

    /// Whether this may be connected to.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let leads_to = inside(address);
        if METADATA.contains(&leads_to) {
            let exactly = |net: &IpNet| net.addr() == leads_to && net.prefix_len() == net.max_prefix_len();
            return if self.allow.iter().any(exactly) { Ok(()) } else { Err(Refused::Address("a cloud's metadata service")) };
        }
        match class(leads_to) {
            None => Ok(()),
            Some(_) if self.allow.iter().any(|net| net.contains(&leads_to)) => Ok(()),
            Some(class) => Err(Refused::Address(class)),
        }
    }
}

/// The address that a packet to `address` ends at: IPv4 addresses in the clothes of IPv6 ones without them.
fn inside(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [.., a, b] = v6.segments();
    let embedded = IpAddr::V4(Ipv4Addr::from(u32::from(a) << 16 | u32::from(b)));
    match v6.segments() {
        // IPv4-mapped (RFC 4291, 2.5.5.2), and SIIT's (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _] => embedded,
        // NAT64's well-known prefix (RFC 6052): where there is no IPv4, the whole of it is reached so.
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => embedded,
        _ => address,
    }
}

/// What an address is where it is not a public one.
fn class(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

fn class_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "of this network, or unspecified",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [100, 64..=127, ..] => "of a carrier's own network",
        [127, ..] => "loopback",
        [169, 254, ..] => "link-local",
        [192, 0, 0, _] => "reserved for protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "for documentation",
        [192, 88, 99, _] => "a 6to4 relay",
        [198, 18..=19, ..] => "for benchmarks",
        [224..=239, ..] => "multicast",
        [255, 255, 255, 255] => "broadcast",
        [240..=255, ..] => "reserved",
        _ => return None,
    })
}

fn class_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0, 0, 0, 0, 0, 0, _, _] => "an IPv4 address in a form that is no longer used",
        [0x64, 0xff9b, ..] => "of a network's own NAT64",
        [0x100, 0, 0, 0, ..] => "discarded",
        [0xfc00..=0xfdff, ..] => "unique local",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local",
        [0xff00..=0xffff, ..] => "multicast",
        [0x2001, 0, ..] => "of Teredo",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "for documentation",
        // ORCHID, benchmarks and the like.
        [0x2001, 0..=0x1ff, ..] => "reserved for protocols",
        [0x2002, ..] => "of 6to4",
        // What is given out to anybody at all.
        [0x2000..=0x3fff, ..] => return None,
        _ => "reserved",
    })
}
