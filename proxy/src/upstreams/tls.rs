//! The files of an upstream's TLS: read when settings are loaded, and again when they change on disk.
//!
//! What they hold is checked here, whole: Pingora panics on a key or certificate that it cannot read,
//! and does so on a request.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use clearway_config::settings::{SettingsError, gateway::upstream::UpstreamTls};
use pingora::{
    protocols::tls::CaType,
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// Bytes of a file of certificates at most.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What an upstream's connections are made with.
#[derive(Debug, Clone, Default)]
pub(super) struct Material {
    pub(super) ca: Option<Arc<CaType>>,
    pub(super) identity: Option<Arc<CertKey>>,
    /// Different for different material: connections made with other material are not used.
    pub(super) group: u64,
}

/// Reads the files that `tls` names.
pub(super) fn read(upstream: &str, tls: &UpstreamTls) -> Result<Material, SettingsError> {
    let fault = |file: &Path, key: &str, message: String| SettingsError {
        file: file.to_owned(),
        line: None,
        key: Some(format!("upstreams.tls.{key}")),
        message: format!("{message} (upstream `{upstream}`)"),
    };
    let mut hasher = DefaultHasher::new();
    let mut load = |file: &PathBuf, key: &str| -> Result<Vec<u8>, SettingsError> {
        let bytes = read_file(file).map_err(|why| fault(file, key, why))?;
        bytes.hash(&mut hasher);
        Ok(bytes)
    };
    let mut roots = RootCertStore::empty();
    let mut ca = None;
    if let Some(file) = &tls.ca_file {
        let found = certificates(&load(file, "ca_file")?).map_err(|why| fault(file, "ca_file", why))?;
        for certificate in &found {
            roots.add(certificate.clone()).map_err(|e| fault(file, "ca_file", e.to_string()))?;
        }
        ca = Some(found.into_iter().map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect());
    }
    let mut identity = None;
    if let Some((cert_file, key_file)) = &tls.identity {
        let chain = certificates(&load(cert_file, "cert_file")?).map_err(|why| fault(cert_file, "cert_file", why))?;
        let key = PrivateKeyDer::from_pem_slice(&load(key_file, "key_file")?)
            .map_err(|e| fault(key_file, "key_file", format!("holds no private key in PEM: {e}")))?;
        let unusable = |e: rustls::Error| fault(key_file, "key_file", e.to_string());
        ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        // Pingora is given bytes and finds out what they are.
        let bytes = key.secret_der().to_vec();
        if PrivateKeyDer::try_from(bytes.as_slice()).is_err() {
            return Err(fault(key_file, "key_file", "holds a key of an unknown form".to_owned()));
        }
        identity = Some(Arc::new(CertKey::new(chain.iter().map(|der| der.to_vec()).collect(), bytes)));
    }
    tls.server_name.hash(&mut hasher);
    Ok(Material { ca, identity, group: if ca_or_identity(tls) { hasher.finish() } else { 0 } })
}

fn ca_or_identity(tls: &UpstreamTls) -> bool {
    tls.ca_file.is_some() || tls.identity.is_some()
}

fn read_file(file: &Path) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(file).map_err(|e| format!("cannot be read: {e}"))?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read(file).map_err(|e| format!("cannot be read: {e}"))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    if found.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(found) }
}
