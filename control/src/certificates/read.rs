//! A certificate as it was sent: read, checked, and asked what it says. It is shown by proxies; here it is only
//! looked at.

use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, public_key::PublicKey};

/// Certificates in one chain at most: real ones have three or four.
const CHAIN_MAX: usize = 16;
/// Hosts that one certificate names at most.
const NAMES_MAX: usize = 1024;
const RSA_BITS_MIN: usize = 2048;

/// What a chain's first certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Hosts in lower case, and addresses.
    pub names: Vec<String>,
    pub issuer: String,
    /// In hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_before_s: i64,
    pub not_after_s: i64,
}

/// Why a certificate is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("holds no certificate in PEM that can be read")]
    Malformed,
    #[error("holds more than {CHAIN_MAX} certificates")]
    LongChain,
    #[error("names no host in its subject alternative names")]
    NoNames,
    #[error("names more than {NAMES_MAX} hosts")]
    ManyNames,
    #[error("has expired")]
    Expired,
    #[error("is not valid yet")]
    NotYetValid,
    #[error("holds no private key in PEM that can be read")]
    NoKey,
    #[error("is not the certificate's key")]
    KeyMismatch,
    #[error("must be RSA of at least {RSA_BITS_MIN} bits, ECDSA on P-256 or P-384, or Ed25519")]
    UnsupportedKey,
}

impl Fault {
    /// Whether the key is what is wrong.
    pub fn is_of_key(self) -> bool {
        matches!(self, Self::NoKey | Self::KeyMismatch | Self::UnsupportedKey)
    }
}

/// Checks a chain, leaf first, and the leaf's key, both PEM, at `now_s`.
pub(super) fn check(chain: &str, key: &str, now_s: i64) -> Result<Facts, Fault> {
    let facts = check_client(chain, key, now_s)?;
    // Clients have not read the common name for many years.
    if facts.names.is_empty() { Err(Fault::NoNames) } else { Ok(facts) }
}

/// [`check`] of what is shown to a server, which need not name a host.
pub fn check_client(chain: &str, key: &str, now_s: i64) -> Result<Facts, Fault> {
    let certificates = chain_of(chain)?;
    let (facts, rsa_bits) = leaf(&certificates)?;
    if rsa_bits.is_some_and(|bits| bits < RSA_BITS_MIN) {
        return Err(Fault::UnsupportedKey);
    }
    if now_s > facts.not_after_s {
        return Err(Fault::Expired);
    }
    if now_s < facts.not_before_s {
        return Err(Fault::NotYetValid);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| Fault::NoKey)?;
    match CertifiedKey::from_der(certificates, key, &default_provider()) {
        Ok(_) => Ok(facts),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Fault::KeyMismatch),
        Err(_) => Err(Fault::UnsupportedKey),
    }
}

/// What a stored chain says.
pub fn facts(chain: &str) -> Result<Facts, Fault> {
    Ok(leaf(&chain_of(chain)?)?.0)
}

fn chain_of(chain: &str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).take(CHAIN_MAX + 1).collect();
    let chain = chain.map_err(|_| Fault::Malformed)?;
    if chain.len() > CHAIN_MAX {
        return Err(Fault::LongChain);
    }
    // What stands between the leaf and its authority is shown to clients too.
    if chain.iter().any(|certificate| X509Certificate::from_der(certificate).is_err()) {
        return Err(Fault::Malformed);
    }
    Ok(chain)
}

/// What the leaf says, and the bits of its key where that is RSA.
fn leaf(chain: &[CertificateDer<'_>]) -> Result<(Facts, Option<usize>), Fault> {
    let der = chain.first().ok_or(Fault::Malformed)?;
    let (_, leaf) = X509Certificate::from_der(der).map_err(|_| Fault::Malformed)?;
    let rsa_bits = match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => Some(rsa.key_size()),
        _ => None,
    };
    let facts = Facts {
        names: names(&leaf)?,
        issuer: leaf.issuer().to_string(),
        serial: hex(leaf.raw_serial()),
        fingerprint: format!("sha256:{}", hex(&Sha256::digest(der))),
        not_before_s: leaf.validity().not_before.timestamp(),
        not_after_s: leaf.validity().not_after.timestamp(),
    };
    Ok((facts, rsa_bits))
}

fn names(leaf: &X509Certificate<'_>) -> Result<Vec<String>, Fault> {
    let alternative = leaf.subject_alternative_name().map_err(|_| Fault::Malformed)?;
    let general = alternative.as_ref().map_or(&[][..], |names| &names.value.general_names);
    if general.len() > NAMES_MAX {
        return Err(Fault::ManyNames);
    }
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    };
    Ok(general.iter().filter_map(name).collect())
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from));
    address.ok().map(|address| address.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
