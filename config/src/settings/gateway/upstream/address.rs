//! Targets: where an upstream is.

use serde::{Deserialize, Serialize};

use crate::settings::fault::{Fault, Within as _};

/// Targets of one upstream at most.
pub const TARGETS_MAX: usize = 1024;
/// A target's weight at most.
pub const WEIGHT_MAX: u16 = 100;

/// A target as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// `http://host:port` or `https://host:port`.
    pub address: String,
    /// Its share of the requests beside the others' weights: 1 to 100, 1 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// A target, checked. A name may resolve to several addresses: each then has the weight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    pub address: UpstreamAddress,
    /// 1 to [`WEIGHT_MAX`].
    pub weight: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    pub tls: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

impl TargetSpec {
    pub(super) fn resolve(&self) -> Result<Target, Fault> {
        let weight = self.weight.unwrap_or(1);
        if !(1..=WEIGHT_MAX).contains(&weight) {
            return Err(Fault::at("weight", format!("must be from 1 to {WEIGHT_MAX}")));
        }
        Ok(Target { address: UpstreamAddress::parse(&self.address).map_err(Fault::new).within("address")?, weight })
    }
}

/// Targets from their long form or their short one; one of both must be there.
pub(super) fn resolve(targets: &[TargetSpec], addresses: &[String]) -> Result<Vec<Target>, Fault> {
    let key = if targets.is_empty() { "addresses" } else { "targets" };
    if !targets.is_empty() && !addresses.is_empty() {
        return Err(Fault::at("addresses", "is the short form of `targets`: write one of both"));
    }
    let count = targets.len() + addresses.len();
    if count == 0 {
        return Err(Fault::at(key, "at least one is needed"));
    }
    if count > TARGETS_MAX {
        return Err(Fault::at(key, format!("more than {TARGETS_MAX}")));
    }
    let short = |text: &String| {
        let address = UpstreamAddress::parse(text).map_err(Fault::new)?;
        Ok(Target { address, weight: 1 })
    };
    let resolved = targets.iter().map(TargetSpec::resolve).chain(addresses.iter().map(short));
    resolved.enumerate().map(|(n, target)| target.within(n)).collect::<Result<_, _>>().within(key)
}

impl UpstreamAddress {
    /// As Host names it: without the port that goes without saying.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// `http://host:port` or `https://host:port`; the port may be left out, a path may not be there.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("must begin with http:// or https://"),
        };
        let authority: http::uri::Authority =
            rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| "must be a host and a port, without a path")?;
        if authority.as_str().contains('@') {
            return Err("must not carry a user name");
        }
        let port = match authority.port() {
            Some(_) => authority.port_u16().filter(|&p| p != 0).ok_or("the port must be from 1 to 65535")?,
            None if authority.as_str().ends_with(':') => return Err("the port is missing after the colon"),
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("the host is missing");
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port })
    }
}
