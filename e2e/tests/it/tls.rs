//! Mutual TLS between the planes, beside the token: certificates of one authority on both sides.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use reqwest::Method;
use serde_json::json;

use crate::{eventually, fleet::Fleet, upstream::Upstream};

/// Makes an authority and one certificate for both planes in `dir`; the settings that use them.
fn settings(dir: &Path) -> String {
    let authority_key = KeyPair::generate().expect("a key pair");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, &authority_key);

    let key = KeyPair::generate().expect("a key pair");
    let mut plane = CertificateParams::new(vec!["control.test".to_owned()]).expect("a name");
    plane.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let plane = plane.signed_by(&key, &issuer).expect("a certificate");

    let write = |name: &str, text: String| {
        let file = dir.join(name);
        std::fs::write(&file, text).expect("a writable directory");
        file.display().to_string()
    };
    let (ca, cert, key) =
        (write("ca.pem", certificate.pem()), write("cert.pem", plane.pem()), write("key.pem", key.serialize_pem()));
    format!(
        "[sync]\nmode = \"strict\"\n[sync.tls]\nca_file = \"{ca}\"\ncert_file = \"{cert}\"\nkey_file = \"{key}\"\nserver_name = \"control.test\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planes_with_certificates_of_one_authority_meet_and_a_stranger_with_the_token_does_not() {
    let (ours, theirs) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (fleet, strangers) = (Fleet::new(&settings(ours.path())), Fleet::new(&settings(theirs.path())));
    let upstream = Upstream::start().await;
    let control = fleet.control();
    assert!(control.sync.starts_with("https://"), "{}", control.sync);
    let proxy = fleet.proxy("ours", &upstream.routes(), &control, &control.sync);
    let stranger = strangers.proxy("stranger", &upstream.routes(), &control, &control.sync);
    let unencrypted = Fleet::new("[sync]\nmode = \"strict\"\n");
    let plain = unencrypted.proxy("plain", &upstream.routes(), &control, &control.sync.replace("https", "http"));
    control.attached(1).await;

    let account = control.account("tls", "enterprise").await;
    let (id, secret) = control.key(&account, json!({})).await;
    let ask = async |url: &str| {
        let request = crate::client().get(format!("{url}/svc/x")).bearer_auth(&secret);
        request.send().await.expect("the gateway answers").status().as_u16()
    };
    eventually("the key to be accepted", async || (ask(&proxy.url).await == 200).then_some(())).await;
    let gone = control.admin(Method::DELETE, &format!("/api/v1/keys/{id}"), None).await;
    assert_eq!((&gone["propagation"]["proxies"], &gone["propagation"]["acknowledged"]), (&json!(1), &json!(1)), "{gone}");
    assert_eq!(ask(&proxy.url).await, 401);
    for outside in [&stranger, &plain] {
        assert_eq!(ask(&outside.url).await, 503, "{} has received nothing", outside.name);
    }
}
