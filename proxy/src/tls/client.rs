//! Who a client is by its certificate. Reads what the handshake has verified; verifies nothing itself.

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// Names read of one certificate at most; an authority that signs more means something else by it.
const NAMES_MAX: usize = 64;

/// A client's own certificate, signed by an authority of the settings and valid now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// Of the whole certificate as DER.
    pub fingerprint_sha256: [u8; 32],
    pub subject_alt_names: Vec<AltName>,
    /// The distinguished name as RFC 4514 writes it; absent where it is empty.
    pub subject: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AltName {
    /// In lower case.
    Dns(String),
    Uri(String),
    Email(String),
}

impl ClientCertificate {
    /// `None` where it cannot be read or is not valid at `now_s`: a resumed session is not verified again,
    /// and may outlive the certificate it began with.
    pub(super) fn read(leaf: &CertificateDer<'_>, now_s: i64) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let validity = parsed.validity();
        if !(validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now_s) {
            return None;
        }
        let names = parsed.subject_alternative_name().ok()?;
        let general = names.as_ref().map_or(&[][..], |names| &names.value.general_names);
        if general.len() > NAMES_MAX {
            return None;
        }
        let subject = parsed.subject().to_string();
        Some(Self {
            fingerprint_sha256: Sha256::digest(leaf).into(),
            subject_alt_names: general.iter().filter_map(alt_name).collect(),
            subject: (!subject.is_empty()).then_some(subject),
        })
    }
}

fn alt_name(name: &GeneralName<'_>) -> Option<AltName> {
    match name {
        GeneralName::DNSName(name) => Some(AltName::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(uri) => Some(AltName::Uri((*uri).to_owned())),
        GeneralName::RFC822Name(address) => Some(AltName::Email((*address).to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::SanType;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::tls::testing::authority_and_client;

    #[test]
    fn a_client_is_known_by_fingerprint_and_names_while_its_certificate_is_valid() {
        let names = vec![
            SanType::DnsName("Billing.test".try_into().unwrap()),
            SanType::URI("spiffe://x/billing".try_into().unwrap()),
            SanType::Rfc822Name("ops@x.test".try_into().unwrap()),
        ];
        let (_, client, _) = authority_and_client(names);
        let leaf = CertificateDer::from_pem_slice(client.as_bytes()).unwrap();
        let now_s = i64::try_from(crate::gateway::now_ms() / 1000).unwrap();
        let read = ClientCertificate::read(&leaf, now_s).unwrap();
        let names =
            [AltName::Dns("billing.test".into()), AltName::Uri("spiffe://x/billing".into()), AltName::Email("ops@x.test".into())];
        assert_eq!(read.subject_alt_names, names);
        assert!(read.subject.unwrap().contains("CN=billing"));
        assert_eq!(read.fingerprint_sha256, <[u8; 32]>::from(Sha256::digest(&leaf)));
        assert_eq!(ClientCertificate::read(&leaf, i64::MAX), None);
        assert_eq!(ClientCertificate::read(&CertificateDer::from_slice(b"x"), now_s), None);
    }
}
