//! `[egress]`: the way out, for webhooks.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::Deserialize;

use crate::settings::duration;

/// Bytes of a body that is signed at most: it is held in memory until it has been.
const BODY_MAX: ByteSize = ByteSize::mib(64);
/// What an attempt may be allowed to take at most.
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Attempts in flight at most.
const IN_FLIGHT_MAX: usize = 65_536;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressSettings {
    /// Where an operator's own senders post what is to be signed and passed on. Port 0 picks a free one.
    pub addr: SocketAddr,
    /// Whether they speak TLS there, by the gateway's certificates and rules.
    pub tls: bool,
    /// Whether what control has accepted is delivered from here too.
    pub deliver: bool,
    /// Networks that webhooks may be posted to although they are not public: one's own.
    pub allow: Vec<IpNet>,
    /// Whether webhooks may be posted without TLS.
    pub allow_http: bool,
    /// Ports that webhooks may be posted to; empty is every one.
    pub ports: Vec<u16>,
    /// Authorities in PEM that receivers' certificates may be of, beside the system's. Relative to the settings file.
    pub ca_file: Option<PathBuf>,
    /// Bytes of a body that an operator's sender may post.
    pub body_max: ByteSize,
    /// Attempts at the same time; a quarter is kept for deliveries, and one for an operator's own senders.
    pub in_flight_max: usize,
    /// Until the connection and its TLS are there.
    #[serde(deserialize_with = "duration::deserialize")]
    pub connect_timeout: Duration,
    /// From the request sent to the first byte of the answer.
    #[serde(deserialize_with = "duration::deserialize")]
    pub first_byte_timeout: Duration,
    /// For the whole attempt.
    #[serde(deserialize_with = "duration::deserialize")]
    pub total_timeout: Duration,
}

impl Default for EgressSettings {
    fn default() -> Self {
        Self {
            addr: ([127, 0, 0, 1], 8081).into(),
            tls: false,
            deliver: true,
            allow: Vec::new(),
            allow_http: false,
            ports: Vec::new(),
            ca_file: None,
            body_max: ByteSize::mib(1),
            in_flight_max: 1_024,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(15),
            total_timeout: Duration::from_secs(20),
        }
    }
}

impl EgressSettings {
    /// What is out of bounds: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.body_max > BODY_MAX {
            return Some(("egress.body_max", "must be at most 64MiB"));
        }
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight_max) {
            return Some(("egress.in_flight_max", "must be from 1 to 65536"));
        }
        let timeouts = [
            ("egress.connect_timeout", self.connect_timeout),
            ("egress.first_byte_timeout", self.first_byte_timeout),
            ("egress.total_timeout", self.total_timeout),
        ];
        let wrong = timeouts.into_iter().find(|(_, timeout)| timeout.is_zero() || *timeout > TIMEOUT_MAX);
        wrong.map(|(key, _)| (key, "must be more than 0s and at most 2m"))
    }
}
