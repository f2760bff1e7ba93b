//! The rules of the handshake, made of the settings.

use std::{path::PathBuf, sync::Arc};

use clearway_config::settings::process::{ClientCertificates, TlsVersion};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::{Ticketer, default_provider},
    pki_types::{CertificateDer, pem::PemObject as _},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::{certificates::Certificates, files::TlsError};

pub(super) const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";
/// Tickets given to a TLS 1.3 client: one for each of two connections that it may open next.
const TICKETS: usize = 2;

/// What is asked of clients, and of which authorities.
#[derive(Debug, Clone)]
pub(super) struct ClientRule {
    pub(super) certificates: ClientCertificates,
    pub(super) authorities: Option<(PathBuf, Vec<u8>)>,
}

/// Tickets are encrypted under a key that changes every six hours and is never written down. A new
/// configuration has a new key: a client that was let in under other rules shakes hands anew.
pub(super) fn server(
    min_version: TlsVersion,
    clients: &ClientRule,
    certificates: Arc<Certificates>,
) -> Result<ServerConfig, TlsError> {
    let versions: &[_] = match min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier(clients)?)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = TICKETS;
    Ok(config)
}

/// `of`, and HTTP/2 is not offered.
pub(super) fn http1_alone(of: &ServerConfig) -> ServerConfig {
    let mut config = of.clone();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config
}

fn verifier(clients: &ClientRule) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some((file, pem)) = clients.authorities.as_ref().filter(|_| clients.certificates != ClientCertificates::Off) else {
        return Ok(Arc::new(NoClientAuth));
    };
    let fault = |why: &'static str| TlsError::ClientCa { file: file.clone(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| fault("holds a certificate that cannot be read"))?;
        roots.add(certificate).map_err(|_| fault("holds a certificate that is not an authority's"))?;
    }
    if roots.is_empty() {
        return Err(fault("holds no certificate"));
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    if clients.certificates == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|_| fault("cannot be used to verify clients"))
}
