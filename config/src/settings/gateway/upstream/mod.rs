//! Upstreams: where requests are sent, and what is done when that goes wrong.

pub mod address;
pub mod balance;
mod bounds;
pub mod health;
pub mod resilience;
pub mod statuses;
#[cfg(test)]
mod tests;
pub mod tls;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CONTROL_UPSTREAM, check_name};
use crate::settings::fault::{Fault, Within as _};
pub use address::{Target, TargetSpec, UpstreamAddress};
pub use balance::{Balance, BalanceSpec, HashBy};
pub use health::{Check, Health, HealthSpec};
pub use resilience::{Breaker, BreakerSpec, Outliers, OutliersSpec, Retries, RetriesSpec};
pub use statuses::Statuses;
pub use tls::{UpstreamTls, UpstreamTlsSpec};

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
    /// Short form of `targets`: `http://host:port` or `https://host:port`, all of weight 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Where it is; 1024 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetSpec>,
    /// What is spoken with it; `http1` unless said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Which target a request goes to; `round_robin` unless said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub balance: BalanceSpec,
    /// For `balance = "hash"`: `key`, `account`, `address` or `header:NAME`. The address stands in for what a request lacks.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "account"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_by: Option<HashBy>,
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
    /// From the first attempt to the end of the answer, all attempts together; no limit unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "30s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub total_timeout: Option<Duration>,
    /// Requests in flight at one target at most; what is more goes to the next one, or is refused. 0, no limit, unless said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub connections_max: u32,
    /// How long a target that has come back takes to get its whole share; at once unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "30s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Duration>,
    /// For targets that begin with `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTlsSpec>,
    /// Asks every target now and then; none is asked unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// Leaves out targets that keep failing; none is left out unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<OutliersSpec>,
    /// Refuses requests while the upstream as a whole fails; never unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerSpec>,
    /// When a request is tried again, at another target.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: RetriesSpec,
}

/// What is spoken with an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2, by prior knowledge over `http://` (RFC 9113 section 3.3); what gRPC needs.
    H2,
    /// What the upstream chooses by ALPN over `https://`; HTTP/1.1 over `http://`.
    Auto,
}

/// An upstream, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    pub name: String,
    /// Never empty.
    pub targets: Vec<Target>,
    pub protocol: Protocol,
    pub balance: Balance,
    pub timeouts: Timeouts,
    /// Requests in flight at one target at most; 0 is no limit.
    pub connections_max: u32,
    /// Zero is at once.
    pub slow_start: Duration,
    pub tls: UpstreamTls,
    pub health: Option<Health>,
    pub outliers: Option<Outliers>,
    pub breaker: Option<Breaker>,
    pub retries: Retries,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To be connected, TLS included.
    pub connect: Duration,
    /// Between two reads of the answer, and to its first byte.
    pub read: Duration,
    /// Between two writes of the request.
    pub write: Duration,
    /// From the first attempt to the end of the answer.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: CONNECT_TIMEOUT, read: READ_TIMEOUT, write: WRITE_TIMEOUT, total: None }
    }
}

impl UpstreamSpec {
    pub fn resolve(&self) -> Result<Upstream, Fault> {
        check_name(&self.name)?;
        let targets = address::resolve(&self.targets, &self.addresses)?;
        Ok(Upstream {
            name: self.name.clone(),
            protocol: self.protocol,
            balance: balance::resolve(self.balance, self.hash_by.as_ref())?,
            timeouts: Timeouts {
                connect: bounds::duration("connect_timeout", self.connect_timeout, CONNECT_TIMEOUT)?,
                read: bounds::duration("read_timeout", self.read_timeout, READ_TIMEOUT)?,
                write: bounds::duration("write_timeout", self.write_timeout, WRITE_TIMEOUT)?,
                total: bounds::optional("total_timeout", self.total_timeout)?,
            },
            connections_max: self.connections_max,
            slow_start: bounds::optional("slow_start", self.slow_start)?.unwrap_or_default(),
            tls: self.tls.as_ref().map(|tls| tls.resolve(&targets)).transpose().within("tls")?.unwrap_or_default(),
            health: self.health.as_ref().map(HealthSpec::resolve).transpose().within("health")?,
            outliers: self.outliers.as_ref().map(OutliersSpec::resolve).transpose().within("outliers")?,
            breaker: self.breaker.as_ref().map(BreakerSpec::resolve).transpose().within("breaker")?,
            retries: self.retries.resolve().within("retries")?,
            targets,
        })
    }
}

impl Upstream {
    /// The upstream that is always there.
    pub(super) fn control(address: &UpstreamAddress) -> Self {
        let target = Target { address: address.clone(), weight: 1 };
        let retries = RetriesSpec::default().resolve().expect("defaults are within their bounds");
        Self {
            name: CONTROL_UPSTREAM.to_owned(),
            targets: vec![target],
            protocol: Protocol::default(),
            balance: Balance::default(),
            timeouts: Timeouts::default(),
            connections_max: 0,
            slow_start: Duration::ZERO,
            tls: UpstreamTls::default(),
            health: None,
            outliers: None,
            breaker: None,
            retries,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
