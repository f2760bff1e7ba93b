//! Whom a client certificate stands for.
//!
//! Whether it is genuine has been decided where the connection was made: here it is looked up, by its
//! fingerprint first and then by its names.

use std::{collections::HashMap, sync::Arc};

use clearway_config::settings::gateway::{CertificateMark, ClientCertificate as Mapping, SubjectName};
use clearway_filters::Reject;

use crate::tls::client::{AltName, ClientCertificate};

/// The operator's mappings, by what a certificate is recognised by.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    by: HashMap<CertificateMark, Arc<Mapping>>,
}

impl Certificates {
    pub(super) fn new(mappings: &[Mapping]) -> Self {
        Self { by: mappings.iter().map(|mapping| (mapping.by.clone(), Arc::new(mapping.clone()))).collect() }
    }

    /// Refused where it stands for nobody, and where its names stand for two.
    pub(super) fn find(&self, certificate: &ClientCertificate) -> Result<&Arc<Mapping>, Reject> {
        if let Some(mapping) = self.by.get(&CertificateMark::Fingerprint(certificate.fingerprint_sha256)) {
            return Ok(mapping);
        }
        let mut found =
            certificate.subject_alt_names.iter().filter_map(|name| self.by.get(&CertificateMark::San(subject_name(name))));
        let first = found.next().ok_or(Reject::CertificateUnknown)?;
        if found.any(|other| other.account != first.account || other.scopes != first.scopes) {
            return Err(Reject::CertificateUnknown);
        }
        Ok(first)
    }
}

fn subject_name(name: &AltName) -> SubjectName {
    match name {
        AltName::Dns(name) => SubjectName::Dns(name.clone()),
        AltName::Uri(uri) => SubjectName::Uri(uri.clone()),
        AltName::Email(address) => SubjectName::Email(address.clone()),
    }
}

#[cfg(test)]
mod tests {
    use clearway_config::AccountId;

    use super::*;

    fn mapping(name: &str, account: u8, by: CertificateMark) -> Mapping {
        Mapping { name: name.into(), account: AccountId::from_bytes([account; 16]), by, scopes: Vec::new().into() }
    }

    fn uri(text: &str) -> SubjectName {
        SubjectName::parse(text).unwrap()
    }

    #[test]
    fn a_certificate_stands_for_one_account_or_for_none() {
        let certificates = Certificates::new(&[
            mapping("pinned", 1, CertificateMark::Fingerprint([1; 32])),
            mapping("billing", 2, CertificateMark::San(uri("spiffe://acme/billing"))),
            mapping("device", 3, CertificateMark::San(uri("dns:device.acme.example"))),
        ]);
        let find = |fingerprint: u8, names: &[&str]| {
            let name = |text: &&str| match text.split_once("dns:") {
                Some((_, name)) => AltName::Dns(name.to_owned()),
                None => AltName::Uri((*text).to_owned()),
            };
            let subject_alt_names = names.iter().map(name).collect();
            let certificate = ClientCertificate { fingerprint_sha256: [fingerprint; 32], subject_alt_names, subject: None };
            certificates.find(&certificate).map(|mapping| mapping.account.as_bytes()[0])
        };
        assert_eq!(find(1, &["spiffe://acme/billing"]), Ok(1), "the certificate itself comes before its names");
        assert_eq!(find(9, &["dns:other.example", "spiffe://acme/billing"]), Ok(2));
        assert_eq!(find(9, &["dns:device.acme.example"]), Ok(3));
        assert_eq!(find(9, &["spiffe://acme/billing", "dns:device.acme.example"]), Err(Reject::CertificateUnknown));
        assert_eq!(find(9, &["spiffe://acme/billing/x"]), Err(Reject::CertificateUnknown));
        assert_eq!(find(9, &[]), Err(Reject::CertificateUnknown));
    }
}
