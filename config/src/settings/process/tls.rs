//! `[gateway.tls]`: certificates and the rules of encrypted connections with clients.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::settings::duration;

/// The longest time a browser can be told to come back encrypted only: two years, as preload lists ask for.
pub const HSTS_MAX: Duration = Duration::from_secs(2 * 365 * 86_400);

/// How connections to `gateway.tls_addr` are encrypted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// Older versions are refused.
    pub min_version: TlsVersion,
    /// Chosen by the name a client asks for; one that asks for none, or for another, gets the first.
    /// Files are followed: a changed certificate is served without a restart.
    pub certificates: Vec<CertificateFiles>,
    /// A certificate for localhost, made in the data directory, where there is none for any name: for
    /// trying out, and refused by every client that is not told to trust it.
    pub self_signed: bool,
    /// The control plane's certificates are enough: none of this machine's own is needed to start.
    pub from_control: bool,
    pub client_certificates: ClientCertificates,
    /// PEM of the authorities that sign clients' certificates; relative to this settings file.
    pub client_ca_file: Option<PathBuf>,
    /// The plain listener answers 308 to `https` for everything but ACME challenges.
    pub https_redirect: bool,
    /// The port that redirects name, where clients reach `gateway.tls_addr` at another one than its own.
    pub https_port: Option<u16>,
    /// How long browsers shall use `https` only (RFC 6797); absent says nothing about it. Once said it
    /// cannot be taken back before it has run out.
    #[serde(deserialize_with = "duration::deserialize")]
    pub hsts: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// What is asked of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    #[default]
    Off,
    /// One that is presented must be right; none is right too.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// PEM files, relative to this settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate, and the ones between it and its authority.
    pub cert_file: PathBuf,
    /// PKCS #8, PKCS #1 or SEC1, without a password.
    pub key_file: PathBuf,
}
