//! Whom a receiver's TLS is believed by, and what it is shown where it asks for a certificate.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};

use crate::egress::EgressError;

const HTTP_1_1: &[u8] = b"http/1.1";
/// Bytes of a file of certificates at most.
const CA_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of a client certificate with its chain at most.
const CHAIN_BYTES_MAX: usize = 64 * 1024;

/// The system's authorities, and one's own.
#[derive(Debug)]
pub(crate) struct Trust {
    roots: Arc<RootCertStore>,
    plain: Arc<ClientConfig>,
}

/// A client certificate and its key.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    print: [u8; 32],
    /// Made when it is first used, by the authorities of this process.
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MalformedIdentity {
    #[error("the client certificate cannot be read as PEM")]
    Certificate,
    #[error("the client certificate's key cannot be read as PEM")]
    Key,
}

impl Trust {
    /// `ca_file`: authorities in PEM that are believed beside the system's.
    pub(crate) fn load(ca_file: Option<&Path>) -> Result<Self, EgressError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!(
                "this system names no certificate authorities: no webhook can be posted by https but to those of egress.ca_file"
            );
        }
        if let Some(file) = ca_file {
            let fault = |why: String| EgressError::Authorities { file: file.to_owned(), why };
            let length = std::fs::metadata(file).map_err(|e| fault(format!("cannot be read: {e}")))?.len();
            if length > CA_FILE_BYTES_MAX {
                return Err(fault(format!("is larger than {CA_FILE_BYTES_MAX} bytes")));
            }
            let pem = std::fs::read(file).map_err(|e| fault(format!("cannot be read: {e}")))?;
            let mut own = 0;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|e| fault(format!("holds what is no certificate in PEM: {e}")))?;
                roots.add(certificate).map_err(|e| fault(format!("holds what is no authority: {e}")))?;
                own += 1;
            }
            if own == 0 {
                return Err(fault("holds no certificate in PEM".to_owned()));
            }
        }
        let roots = Arc::new(roots);
        let plain = Arc::new(config(&roots, None).map_err(EgressError::Tls)?);
        Ok(Self { roots, plain })
    }

    /// What a connection is made with. An error: the key is not the certificate's, or of a kind that is not known.
    pub(crate) fn config(&self, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, String> {
        let Some(identity) = identity else { return Ok(self.plain.clone()) };
        let made = identity.config.get_or_init(|| {
            let shown = (identity.chain.clone(), identity.key.clone_key());
            config(&self.roots, Some(shown)).map(Arc::new).map_err(|e| format!("client certificate: {e}"))
        });
        made.clone()
    }
}

type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn config(roots: &Arc<RootCertStore>, shown: Option<Shown>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        // Without any authority there is still a process: every handshake fails then, and says so.
        .with_root_certificates(roots.clone());
    let mut config = match shown {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

impl Identity {
    pub(crate) fn read(certificate: &[u8], key: &[u8]) -> Result<Self, MalformedIdentity> {
        if certificate.len() > CHAIN_BYTES_MAX {
            return Err(MalformedIdentity::Certificate);
        }
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or(MalformedIdentity::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| MalformedIdentity::Key)?;
        let mut print = Sha256::new();
        for certificate in &chain {
            print.update(certificate);
        }
        // Certificates are no secret: whoever named another's and had not its key must not come by its connections.
        print.update(key.secret_der());
        Ok(Self { chain, key, print: print.finalize().into(), config: OnceLock::new() })
    }

    /// Different for different certificates and keys: a connection is one identity's and no other's.
    pub(crate) fn print(&self) -> [u8; 32] {
        self.print
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}
