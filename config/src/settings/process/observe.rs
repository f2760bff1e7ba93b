//! `[metrics]` and `[access_log]`: what the processes tell of themselves.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsSettings {
    /// Prometheus and health of the proxy.
    pub proxy_addr: SocketAddr,
    /// Prometheus and health of the control plane.
    pub control_addr: SocketAddr,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogSettings {
    pub enabled: bool,
    /// Relative to the data directory; `-` is standard output.
    pub file: PathBuf,
    /// The part of requests that is logged, from 0 to 1. Billing never depends on it.
    pub sample: f64,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { proxy_addr: ([127, 0, 0, 1], 9090).into(), control_addr: ([127, 0, 0, 1], 9091).into() }
    }
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self { enabled: true, file: "access.log".into(), sample: 1.0 }
    }
}
