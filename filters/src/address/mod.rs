//! Which addresses strangers may have this machine connect to: public ones, and those of one's own that the settings
//! allow.
//!
//! Whoever registers a webhook chooses its URL, and so where the proxy connects to. Names are no help in judging that:
//! what a name resolves to is its owner's to say, and to change between two looks. So it is the address of the
//! connection itself that is judged, at every attempt; and before, where a URL names an address, so that its owner hears
//! of it at once. Addresses that carry another one inside are judged by that one.
//!
//! What is not public stands in [`special`]. No name is resolved here.

mod special;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use clearway_config::settings::process::EgressSettings;
use ipnet::IpNet;

use special::METADATA;

/// What nothing is posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the address is {0}")]
    Address(&'static str),
    #[error("http is not allowed, https is wanted")]
    Scheme,
    #[error("port {0} is not allowed")]
    Port(u16),
}

/// What the settings allow beside what everybody may be posted to.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allow: Vec<IpNet>,
    allow_http: bool,
    /// Empty is every one.
    ports: Vec<u16>,
}

impl Guard {
    pub fn new(settings: &EgressSettings) -> Self {
        Self { allow: settings.allow.clone(), allow_http: settings.allow_http, ports: settings.ports.clone() }
    }

    /// What can be said before anything is resolved.
    pub fn check_origin(&self, https: bool, port: u16) -> Result<(), Refused> {
        if !https && !self.allow_http {
            return Err(Refused::Scheme);
        }
        if port == 0 || !self.ports.is_empty() && !self.ports.contains(&port) {
            return Err(Refused::Port(port));
        }
        Ok(())
    }

    /// Whether this may be connected to.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let leads_to = leads_to(address);
        // An operator's own network is allowed without these: they take a network of this one address.
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
fn leads_to(address: IpAddr) -> IpAddr {
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
        IpAddr::V4(v4) => special::V4.iter().find(|(net, _)| net.contains(&v4)).map(|(_, class)| *class),
        IpAddr::V6(v6) => match special::V6.iter().find(|(net, _)| net.contains(&v6)) {
            Some((_, class)) => Some(class),
            // Nothing else has been given out to anybody (RFC 4291, 2.4).
            None if !special::UNICAST.contains(&v6) => Some("reserved"),
            None => None,
        },
    }
}
