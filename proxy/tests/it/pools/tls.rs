//! Upstreams over TLS: whom they are believed, and who is shown to them.

use std::{fs, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use super::{ask, fake::Fake, rig, served_by, settings};
use crate::rig::eventually;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A server named `name`, that asks for certificates of `clients` if there are any.
    fn server(&self, name: &str, clients: Option<&Self>) -> Arc<ServerConfig> {
        let (cert, key) = self.issue(name);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
        Arc::new(builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap())
    }
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    fs::write(&file, text).unwrap();
    format!("{:?}", file.display().to_string())
}

#[test]
fn an_upstream_is_believed_by_its_own_authority_and_name_only() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start_with("secure", Some(ours.server("orders.internal", None)));
    let (good, other) = (write(dir.path(), "ca.pem", &ours.pem), write(dir.path(), "other.pem", &theirs.pem));
    for (words, status) in [
        (format!("ca_file = {good}, server_name = \"orders.internal\""), 200),
        (format!("ca_file = {good}, server_name = \"other.internal\""), 502),
        (format!("ca_file = {good}"), 502),
        (format!("ca_file = {other}, server_name = \"orders.internal\""), 502),
        ("server_name = \"orders.internal\"".to_owned(), 502),
        ("verify = false".to_owned(), 200),
    ] {
        let rig = rig(&[&fake], &format!("tls = {{ {words} }}"));
        assert_eq!(ask(&rig, "GET", "/p/a", &[], "").status, status, "{words}");
    }
}

#[test]
fn two_upstreams_at_one_address_do_not_share_connections_that_only_one_of_them_believes() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start_with("secure", Some(ours.server("orders.internal", None)));
    let (good, other) = (write(dir.path(), "ca.pem", &ours.pem), write(dir.path(), "other.pem", &theirs.pem));
    let words = |ca: &str| format!("tls = {{ ca_file = {ca}, server_name = \"orders.internal\" }}");
    let doubted = settings(&[fake.target()], &words(&other))
        .replace("\"pool\"", "\"doubted\"")
        .replace("\"p\"", "\"q\"")
        .replace("\"/p\"", "\"/q\"");
    let routes = format!("{}{doubted}", settings(&[fake.target()], &words(&good)));
    let rig = crate::rig::Rig::start_with(crate::upstream::Upstream::start(), &routes, |s| s.gateway.threads = 1);
    for _ in 0..3 {
        assert_eq!(served_by(&rig, "/p/a", &[]), "secure");
        assert_eq!(ask(&rig, "GET", "/q/a", &[], "").status, 502);
    }
}

#[test]
fn the_gateway_shows_its_certificate_and_a_new_one_once_its_file_has_changed() {
    let (ours, clients) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start_with("strict", Some(ours.server("orders.internal", Some(&clients))));
    let ca = write(dir.path(), "ca.pem", &ours.pem);
    let words = format!("ca_file = {ca}, server_name = \"orders.internal\"");
    let rig_without = rig(&[&fake], &format!("tls = {{ {words} }}"));
    assert_eq!(ask(&rig_without, "GET", "/p/a", &[], "").status, 502);

    let (cert, key) = Authority::new().issue("stranger");
    let files = (write(dir.path(), "gateway.pem", &cert), write(dir.path(), "gateway.key", &key));
    let words = format!("{words}, cert_file = {}, key_file = {}", files.0, files.1);
    let rig = rig(&[&fake], &format!("tls = {{ {words} }}"));
    assert_eq!(ask(&rig, "GET", "/p/a", &[], "").status, 502, "a stranger's");
    let (cert, key) = clients.issue("gateway");
    write(dir.path(), "gateway.pem", &cert);
    write(dir.path(), "gateway.key", &key);
    rig.proxy().reload();
    eventually("the new certificate", || (ask(&rig, "GET", "/p/a", &[], "").status == 200).then_some(()));
}

#[test]
fn files_that_hold_nothing_useful_are_refused_before_they_are_served_by() {
    let fake = Fake::start("plain");
    let rig = rig(&[&fake], "");
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ((cert, _), (_, other_key)) = (authority.issue("a"), authority.issue("b"));
    let (cert, other_key) = (write(dir.path(), "cert.pem", &cert), write(dir.path(), "other.key", &other_key));
    let nonsense = write(dir.path(), "nonsense", "no pem");
    let target = format!("\"https://{}\"", fake.address);
    for words in [
        "ca_file = \"/does/not/exist\"".to_owned(),
        format!("ca_file = {nonsense}"),
        format!("cert_file = {cert}, key_file = {nonsense}"),
        format!("cert_file = {cert}, key_file = {other_key}"),
    ] {
        let before = rig.metric("clearway_routes_reloads_total{result=\"refused\"}");
        fs::write(rig.routes_file(), settings(std::slice::from_ref(&target), &format!("tls = {{ {words} }}"))).unwrap();
        rig.proxy().reload();
        // Once because it was asked to, and once more where it has looked at its files by itself in between.
        let refused = rig.metric("clearway_routes_reloads_total{result=\"refused\"}") - before;
        assert!((1.0..=2.0).contains(&refused), "{words}: {refused}");
        assert_eq!(served_by(&rig, "/p/a", &[]), "plain");
    }
}
