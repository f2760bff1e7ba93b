//! TLS towards an upstream. Files are named here and read by the proxy.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::Target;
use crate::settings::fault::Fault;

/// TLS towards an upstream, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpstreamTlsSpec {
    /// PEM: who may sign the upstream's certificate; the system's authorities unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM: the certificate that the gateway shows, and what leads to its authority.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// PEM: the key of `cert_file`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name that is asked for and must be in the certificate; the address's host unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the certificate is verified at all; true unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
}

/// TLS towards an upstream, checked; the files are not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    pub ca_file: Option<PathBuf>,
    /// Certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// In lower case; the address's host where it is `None`.
    pub server_name: Option<String>,
    pub verify: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca_file: None, identity: None, server_name: None, verify: true }
    }
}

impl UpstreamTlsSpec {
    pub(super) fn resolve(&self, targets: &[Target]) -> Result<UpstreamTls, Fault> {
        if !targets.iter().any(|target| target.address.tls) {
            return Err(Fault::new("no target begins with https://"));
        }
        let identity = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(Fault::at("cert_file", "needs key_file")),
            (None, Some(_)) => return Err(Fault::at("key_file", "needs cert_file")),
        };
        let verify = self.verify.unwrap_or(true);
        if !verify && self.ca_file.is_some() {
            return Err(Fault::at("ca_file", "has nothing to verify with verify = false"));
        }
        let server_name = self.server_name.as_ref().map(|name| name.to_ascii_lowercase());
        if server_name.as_deref().is_some_and(|name| name.is_empty() || name.len() > 253 || !name.bytes().all(is_host)) {
            return Err(Fault::at("server_name", "must be a host name or an address, without a port"));
        }
        Ok(UpstreamTls { ca_file: self.ca_file.clone(), identity, server_name, verify })
    }
}

fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}
