//! One certificate with its key: read from PEM, checked, and asked for its names.

use std::{fmt, net::IpAddr, sync::Arc};

use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Certificates in one chain at most: real ones have three or four.
const CHAIN_MAX: usize = 16;
/// Names that one certificate is served for at most.
const NAMES_MAX: usize = 1024;

/// A certificate chain and its key, ready to be shown.
#[derive(Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// In lower case; a wildcard begins with `*.`.
    names: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
    not_before_s: i64,
    not_after_s: i64,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("holds no certificate")]
    NoCertificate,
    #[error("holds more than {CHAIN_MAX} certificates")]
    LongChain,
    #[error("holds a certificate that cannot be read")]
    Malformed,
    #[error("names no host in its subject alternative names")]
    NoNames,
    #[error("names more than {NAMES_MAX} hosts")]
    ManyNames,
    #[error("the key file holds no private key that can be read")]
    NoKey,
    #[error("the key is not the certificate's")]
    KeyMismatch,
    #[error("the key is of a kind that is not supported")]
    UnsupportedKey,
    #[error("is valid from {0} only")]
    NotYetValid(Moment),
    #[error("expired at {0}")]
    Expired(Moment),
}

/// Seconds since 1970, written as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(moment) => moment.fmt(f),
            Err(_) => write!(f, "second {} of 1970", self.0),
        }
    }
}

impl Certificate {
    /// Reads a chain, leaf first, and the leaf's key. Says nothing about the time: see [`Certificate::check_time`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .take(CHAIN_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::Malformed)?;
        if chain.len() > CHAIN_MAX {
            return Err(CertificateError::LongChain);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        let (names, addresses, not_before_s, not_after_s) = {
            let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
            let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::Malformed)?;
            let (names, addresses) = names(&leaf)?;
            let validity = leaf.validity();
            (names, addresses, validity.not_before.timestamp(), validity.not_after.timestamp())
        };
        let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => CertificateError::KeyMismatch,
            _ => CertificateError::UnsupportedKey,
        })?;
        Ok(Self { key: Arc::new(key), names, addresses, not_before_s, not_after_s })
    }

    /// Whether clients would take it at `now_s`, seconds since 1970.
    pub fn check_time(&self, now_s: i64) -> Result<(), CertificateError> {
        if now_s < self.not_before_s {
            return Err(CertificateError::NotYetValid(Moment(self.not_before_s)));
        }
        if now_s > self.not_after_s {
            return Err(CertificateError::Expired(Moment(self.not_after_s)));
        }
        Ok(())
    }

    /// Whether the certificate speaks for `host`: a lower-case name without port, or an address.
    pub fn covers(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = address.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => **name == *host,
        })
    }

    /// The first of its names: what it is called in the log and in metrics.
    pub fn title(&self) -> &str {
        self.names.first().map_or("address", |name| name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub fn not_before_s(&self) -> i64 {
        self.not_before_s
    }

    pub fn not_after_s(&self) -> i64 {
        self.not_after_s
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }
}

fn names(leaf: &X509Certificate<'_>) -> Result<(Vec<Box<str>>, Vec<IpAddr>), CertificateError> {
    let alternative = leaf.subject_alternative_name().map_err(|_| CertificateError::Malformed)?;
    let general = alternative.as_ref().map_or(&[][..], |names| &names.value.general_names);
    if general.len() > NAMES_MAX {
        return Err(CertificateError::ManyNames);
    }
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    for name in general {
        match name {
            GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into_boxed_str()),
            GeneralName::IPAddress(octets) => addresses.extend(address(octets)),
            _ => {}
        }
    }
    // Clients have not read the common name for many years.
    if names.is_empty() && addresses.is_empty() { Err(CertificateError::NoNames) } else { Ok((names, addresses)) }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::pem;

    #[test]
    fn a_wildcard_speaks_for_one_label() {
        let (chain, key) = pem(&["a.test", "*.b.test", "127.0.0.1"]);
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        for (host, covered) in [
            ("a.test", true),
            ("x.a.test", false),
            ("x.b.test", true),
            ("b.test", false),
            ("x.y.b.test", false),
            (".b.test", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("[::1]", false),
        ] {
            assert_eq!(certificate.covers(host), covered, "{host}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let (chain, key) = pem(&["a.test"]);
        let (_, other) = pem(&["b.test"]);
        let why = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err().to_string();
        assert_eq!(why(&chain, &other), "the key is not the certificate's");
        assert_eq!(why(&chain, &chain), "the key file holds no private key that can be read");
        assert_eq!(why("", &key), "holds no certificate");
        assert_eq!(
            why("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key),
            "holds a certificate that cannot be read"
        );
        assert_eq!(why(&chain.repeat(17), &key), "holds more than 16 certificates");
    }

    #[test]
    fn a_certificate_is_right_from_its_first_to_its_last_second() {
        let (chain, key) = pem(&["a.test"]);
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let (from, to) = (certificate.not_before_s(), certificate.not_after_s());
        assert!(certificate.check_time(from).is_ok() && certificate.check_time(to).is_ok());
        assert!(matches!(certificate.check_time(from - 1), Err(CertificateError::NotYetValid(_))));
        assert!(certificate.check_time(to + 1).unwrap_err().to_string().starts_with("expired at "));
    }
}
