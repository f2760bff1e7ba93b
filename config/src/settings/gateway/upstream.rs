//! Upstreams: where requests are sent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CONTROL_UPSTREAM, check_name};
use crate::settings::fault::{Fault, Within as _};

/// Addresses of one upstream at most.
pub const ADDRESSES_MAX: usize = 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// An upstream as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// 1 to 64 of `a-z`, `0-9`, `-`, `_` and `.`.
    pub name: String,
    /// `http://host:port` or `https://host:port`; used in turn.
    pub addresses: Vec<String>,
    /// To be connected, TLS included; `5s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "5s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// Between two reads of the answer, and to its first byte; `60s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "60s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub read_timeout: Option<Duration>,
    /// Between two writes of the request; `60s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "60s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub write_timeout: Option<Duration>,
}

/// An upstream, checked.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub name: String,
    /// Used in turn; never empty.
    pub addresses: Vec<UpstreamAddress>,
    pub connect_timeout: Duration,
    /// Between two reads of the answer, and to its first byte.
    pub read_timeout: Duration,
    pub write_timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpstreamAddress {
    pub tls: bool,
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

impl UpstreamSpec {
    pub fn resolve(&self) -> Result<Upstream, Fault> {
        check_name(&self.name)?;
        if self.addresses.is_empty() {
            return Err(Fault::at("addresses", "at least one is needed"));
        }
        if self.addresses.len() > ADDRESSES_MAX {
            return Err(Fault::at("addresses", format!("more than {ADDRESSES_MAX}")));
        }
        let address =
            |(n, text): (usize, &String)| UpstreamAddress::parse(text).map_err(Fault::new).within(n).within("addresses");
        Ok(Upstream {
            name: self.name.clone(),
            addresses: self.addresses.iter().enumerate().map(address).collect::<Result<_, _>>()?,
            connect_timeout: self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            read_timeout: self.read_timeout.unwrap_or(READ_TIMEOUT),
            write_timeout: self.write_timeout.unwrap_or(WRITE_TIMEOUT),
        })
    }
}

impl Upstream {
    /// The upstream that is always there.
    pub(super) fn control(address: &UpstreamAddress) -> Self {
        Self {
            name: CONTROL_UPSTREAM.to_owned(),
            addresses: vec![address.clone()],
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

impl UpstreamAddress {
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
