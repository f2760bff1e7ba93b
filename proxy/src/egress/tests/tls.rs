//! Receivers over TLS, and certificates that they ask for.

use std::path::PathBuf;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::testing;

/// A receiver over TLS whose certificate signs itself, and the settings that believe it.
async fn receiver(client_authorities: &[&str]) -> (Receiver, EgressSettings, TempDir) {
    let (certificate, key) = testing::pem(&["receiver.example"]);
    let builder =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions().unwrap();
    let builder = if client_authorities.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for pem in client_authorities {
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
        builder.with_client_cert_verifier(verifier.build().unwrap())
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let (receiver, listener) = Receiver::bind("127.0.0.1:0").await;
    let seen = receiver.seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), seen.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                    serve(stream, seen, Arc::new(|_, _: &Got| ok())).await;
                }
            });
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let ca_file: PathBuf = dir.path().join("ca.pem");
    std::fs::write(&ca_file, certificate).unwrap();
    (receiver, EgressSettings { ca_file: Some(ca_file), ..settings() }, dir)
}

fn url(receiver: &Receiver) -> String {
    format!("https://receiver.example:{}/", receiver.address.port())
}

fn leading_to(receiver: &Receiver, settings: &EgressSettings) -> Poster {
    resolving(settings, &[("receiver.example", &[receiver.address]), ("other.example", &[receiver.address])])
}

#[tokio::test]
async fn a_receiver_is_believed_by_its_certificate_and_nothing_else() {
    let (receiver, believing, _dir) = receiver(&[]).await;
    let poster = leading_to(&receiver, &believing);
    assert_eq!(post(&poster, &url(&receiver)).await.status, Some(200));
    let elsewhere = format!("https://other.example:{}/", receiver.address.port());
    assert_failed(&post(&poster, &elsewhere).await, Failure::Tls);
    let strange = leading_to(&receiver, &settings());
    assert_failed(&post(&strange, &url(&receiver)).await, Failure::Tls);
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn a_certificate_is_shown_and_its_connections_are_its_own() {
    let (authority, certificate, key) = testing::authority_and_client(Vec::new());
    let (other_authority, other_certificate, other_key) = testing::authority_and_client(Vec::new());
    let (receiver, believing, _dir) = receiver(&[&authority, &other_authority]).await;
    let poster = leading_to(&receiver, &believing);
    let with = |certificate: &str, key: &str| {
        let mut wire = wire(&url(&receiver));
        wire.client_certificate = certificate.as_bytes().to_vec();
        wire.secrets.as_mut().unwrap().client_key = key.as_bytes().to_vec();
        held(&wire)
    };
    let (one, other) = (with(&certificate, &key), with(&other_certificate, &other_key));
    for webhook in [&one, &other, &one, &other] {
        assert_eq!(poster.post(webhook, message()).await.status, Some(200));
    }
    assert_eq!(receiver.connections(), 2, "one for each certificate");

    let outcome = poster.post(&held(&wire(&url(&receiver))), message()).await;
    assert!(matches!(outcome.failure, Some(Failure::Tls | Failure::Broken)), "{outcome:?}");
    assert_eq!(receiver.got().len(), 4, "nothing goes out under another's certificate");
    let mixed = poster.post(&with(&certificate, &other_key), message()).await;
    assert_failed(&mixed, Failure::Tls);
}

#[test]
fn authorities_that_cannot_be_read_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, text).unwrap();
        let fault = Egress::new(&EgressSettings { ca_file: Some(file.clone()), ..settings() }).unwrap_err();
        assert!(fault.to_string().contains("ca.pem"), "{fault}");
    }
}
