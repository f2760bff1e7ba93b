//! A certificate authority of the test's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clearway_config::settings::process::CertificateFiles;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = dir.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Writes a server's certificate for these names; each time another one.
    pub(crate) fn certify(&self, files: &CertificateFiles, names: &[&str]) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.use_authority_key_identifier_extension = true;
        self.sign(files, &params);
    }

    /// A client's certificate.
    pub(crate) fn client(&self, dir: &Path, name: &str) -> CertificateFiles {
        let files = files(dir, name);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://test/{name}").try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&files, &params);
        files
    }

    fn sign(&self, files: &CertificateFiles, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        replace(&files.key_file, &key.serialize_pem());
        replace(&files.cert_file, &certificate.pem());
    }
}

pub(crate) fn files(dir: &Path, name: &str) -> CertificateFiles {
    CertificateFiles { cert_file: dir.join(format!("{name}.crt")), key_file: dir.join(format!("{name}.key")) }
}

/// Whole or not at all, as a careful operator does it.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}
