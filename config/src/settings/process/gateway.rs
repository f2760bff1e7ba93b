//! `[gateway]`: where clients connect, and how their connections are served.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;

use super::{AcmeSettings, CacheSettings, ClientCertificates, HSTS_MAX, LimitSettings, SignatureSettings, TlsSettings};
use crate::settings::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// Where clients connect. Port 0 picks a free one.
    pub addr: SocketAddr,
    /// Where clients connect encrypted; none where it is absent. Port 0 picks a free one.
    pub tls_addr: Option<SocketAddr>,
    pub tls: TlsSettings,
    /// Absent: certificates come from files only.
    pub acme: Option<AcmeSettings>,
    pub limits: LimitSettings,
    pub cache: CacheSettings,
    /// Routes and upstreams; relative to this settings file.
    pub routes_file: PathBuf,
    pub signatures: SignatureSettings,
    /// Threads that serve requests; 0 is one a core.
    pub threads: usize,
    /// How long requests in flight may take to finish after SIGTERM.
    #[serde(deserialize_with = "duration::deserialize")]
    pub drain_timeout: Duration,
    /// Peers whose `X-Forwarded-For` is believed: load balancers in front of the gateway.
    pub trusted_proxies: Vec<IpNet>,
    /// Idle connections kept to upstreams. Fewer than the requests in flight costs a connect each.
    pub upstream_idle_max: usize,
    /// What this proxy is called in the list of proxies; empty is the host's name.
    pub name: String,
    /// Where the control API is, for routes whose upstream is `control`.
    pub control_url: String,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            addr: ([0, 0, 0, 0], 8080).into(),
            tls_addr: None,
            tls: TlsSettings::default(),
            acme: None,
            limits: LimitSettings::default(),
            cache: CacheSettings::default(),
            routes_file: "gateway.toml".into(),
            signatures: SignatureSettings::default(),
            threads: 0,
            drain_timeout: Duration::from_secs(30),
            trusted_proxies: Vec::new(),
            upstream_idle_max: 1024,
            name: String::new(),
            control_url: "http://127.0.0.1:9000".into(),
        }
    }
}

impl GatewaySettings {
    /// What does not go together: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let tls = &self.tls;
        let faults = [
            (
                self.tls_addr.is_none() && (tls.https_redirect || self.acme.is_some() || !tls.certificates.is_empty()),
                "gateway.tls_addr",
                "must be set for https_redirect, certificates and ACME to be of use",
            ),
            (
                (tls.client_certificates == ClientCertificates::Off) != tls.client_ca_file.is_none(),
                "gateway.tls.client_ca_file",
                "belongs together with client_certificates = \"optional\" or \"required\"",
            ),
            (tls.hsts.is_some_and(|hsts| hsts > HSTS_MAX), "gateway.tls.hsts", "must be at most 730d"),
        ];
        let found = faults.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, why)| (key, why));
        let found = found.or_else(|| self.limits.fault()).or_else(|| self.cache.fault()).or_else(|| self.signatures.fault());
        found.or_else(|| self.acme.as_ref().and_then(AcmeSettings::fault))
    }
}
