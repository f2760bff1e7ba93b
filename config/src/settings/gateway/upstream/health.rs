//! Active health checks: what each target is asked, how often, and what counts.

use std::time::Duration;

use http::{HeaderValue, uri::PathAndQuery};
use serde::{Deserialize, Serialize};

use super::{bounds, statuses::Statuses};
use crate::settings::fault::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    /// A GET that must be answered with one of `expect`.
    Http,
    /// `grpc.health.v1.Health/Check` over HTTP/2, which must answer SERVING.
    Grpc,
    /// A connection that must be accepted.
    Tcp,
}

/// Active checks as they are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HealthSpec {
    pub kind: HealthKind,
    /// What is asked for by `http`; `/` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The host that is asked for; the target's unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The service that `grpc` asks about; the server as a whole unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The statuses that `http` takes for health; `200-299` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<String>>, example = json!(["200-299"])))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Statuses>,
    /// From one check to the next, give or take a tenth; `10s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "10s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// For a whole check; `2s` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "2s"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Checks in a row that make a target healthy again; 2 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<u32>,
    /// Failed checks in a row that make it unhealthy; 3 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<u32>,
}

/// Active checks, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub check: Check,
    /// The target's where it is `None`.
    pub host: Option<HeaderValue>,
    pub interval: Duration,
    pub timeout: Duration,
    pub healthy: u32,
    pub unhealthy: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    Http { path: PathAndQuery, expect: Statuses },
    Grpc { service: String },
    Tcp,
}

impl HealthSpec {
    pub(super) fn resolve(&self) -> Result<Health, Fault> {
        let only = |key: &str, there: bool, kind: HealthKind, word: &str| {
            if there && self.kind != kind { Err(Fault::at(key, format!("is for kind = \"{word}\""))) } else { Ok(()) }
        };
        only("path", self.path.is_some(), HealthKind::Http, "http")?;
        only("expect", self.expect.is_some(), HealthKind::Http, "http")?;
        only("service", self.service.is_some(), HealthKind::Grpc, "grpc")?;
        if self.kind == HealthKind::Tcp && self.host.is_some() {
            return Err(Fault::at("host", "is not asked for with kind = \"tcp\""));
        }
        let host = self.host.as_deref().map(|host| {
            let authority: Option<http::uri::Authority> = host.parse().ok().filter(|_| !host.contains('@'));
            authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        });
        if host == Some(None) {
            return Err(Fault::at("host", "must be a host, with or without a port"));
        }
        Ok(Health {
            check: self.check()?,
            host: host.flatten(),
            interval: bounds::duration("interval", self.interval, Duration::from_secs(10))?,
            timeout: bounds::duration("timeout", self.timeout, Duration::from_secs(2))?,
            healthy: bounds::count("healthy", self.healthy, 2)?,
            unhealthy: bounds::count("unhealthy", self.unhealthy, 3)?,
        })
    }

    fn check(&self) -> Result<Check, Fault> {
        match self.kind {
            HealthKind::Tcp => Ok(Check::Tcp),
            HealthKind::Grpc => {
                let service = self.service.clone().unwrap_or_default();
                if service.len() > 255 {
                    return Err(Fault::at("service", "is longer than 255 bytes"));
                }
                Ok(Check::Grpc { service })
            }
            HealthKind::Http => {
                let path = self.path.as_deref().unwrap_or("/");
                let path = path.starts_with('/').then(|| path.parse().ok()).flatten();
                let path = path.ok_or_else(|| Fault::at("path", "must be a path that starts with /"))?;
                let expect = self.expect.unwrap_or_else(|| Statuses::of(200..=299));
                if expect.is_empty() {
                    return Err(Fault::at("expect", "nothing would ever be healthy"));
                }
                Ok(Check::Http { path, expect })
            }
        }
    }
}
