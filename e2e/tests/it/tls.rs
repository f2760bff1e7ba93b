//! Mutual TLS between the planes, beside the token: certificates of one authority on both sides. And the certificates
//! that control gives its gateways to show.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use reqwest::{Client, Method, tls::TlsInfo};
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Fleet, Proxy},
    upstream::Upstream,
};

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

/// A certificate for `host` as the API takes it, and its DER.
fn certificate(host: &str) -> (Value, Vec<u8>) {
    let key = KeyPair::generate().expect("a key pair");
    let made = CertificateParams::new(vec![host.to_owned()]).expect("a name").self_signed(&key).expect("a certificate");
    (json!({ "chain": made.pem(), "key": key.serialize_pem() }), made.der().to_vec())
}

/// A client that makes a connection for every request, and says what it was shown. A session that it takes up again
/// shows nothing anew: whoever wants to know what is shown now asks with a new client.
fn curious(proxy: &Proxy) -> Client {
    let address: SocketAddr =
        proxy.encrypted.as_deref().and_then(|url| url.strip_prefix("https://")).expect("encrypted").parse().expect("an address");
    Client::builder()
        .timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(0)
        .danger_accept_invalid_certs(true)
        .tls_info(true)
        .resolve("shop.test", SocketAddr::new(address.ip(), 0))
        .build()
        .expect("a client")
}

async fn shown(proxy: &Proxy) -> Option<(u16, Vec<u8>)> {
    let client = curious(proxy);
    let port = proxy.encrypted.as_deref()?.rsplit(':').next()?.to_owned();
    let answer = client.get(format!("https://shop.test:{port}/open/x")).send().await.ok()?;
    let der = answer.extensions().get::<TlsInfo>()?.peer_certificate()?.to_vec();
    Some((answer.status().as_u16(), der))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_put_by_the_api_is_shown_from_then_on_without_a_failed_request_and_is_sealed_on_disk() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n\n[gateway.tls]\nfrom_control = true\n");
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let open = "\n[[routes]]\nname = \"open\"\npath = \"/open\"\nupstream = \"svc\"\nauth = \"open\"\n";
    let mut proxy = fleet.encrypted_proxy("gateway", &format!("{}{open}", upstream.routes()), &control);
    control.attached(1).await;
    assert!(shown(&proxy).await.is_none(), "there is nothing to show yet");

    let certificates = "/api/v1/admin/certificates";
    let (first, der) = certificate("shop.test");
    let made = control.admin(Method::PUT, &format!("{certificates}/shop"), Some(first)).await;
    assert_eq!(made["propagation"]["acknowledged"], 1, "{made}");
    assert_eq!(shown(&proxy).await, Some((200, der)));

    let (stop, failed, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (url, client) = (proxy.encrypted.clone(), curious(&proxy));
    let load: Vec<_> = (0..2)
        .map(|_| {
            let (client, stop, failed, served) = (client.clone(), stop.clone(), failed.clone(), served.clone());
            let port = url.as_deref().and_then(|url| url.rsplit(':').next()).expect("a port").to_owned();
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    let answer = client.get(format!("https://shop.test:{port}/open/x")).send().await;
                    let ok = answer.is_ok_and(|answer| answer.status() == 200);
                    if ok { &served } else { &failed }.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    let mut last = Vec::new();
    for _ in 0..10 {
        let before = served.load(Ordering::Acquire);
        let (next, der) = certificate("shop.test");
        let changed = control.admin(Method::PUT, &format!("{certificates}/shop"), Some(next)).await;
        assert_eq!(changed["propagation"]["acknowledged"], 1, "{changed}");
        assert_eq!(shown(&proxy).await, Some((200, der.clone())), "in force when the call has returned");
        eventually("requests meanwhile", async || (served.load(Ordering::Acquire) > before).then_some(())).await;
        last = der;
    }
    stop.store(true, Ordering::Release);
    for task in load {
        task.await.expect("the load ends");
    }
    assert_eq!(failed.load(Ordering::Acquire), 0, "of {} requests", served.load(Ordering::Acquire));

    // One that a file names, too, is shown where it is more specific; here there is none. It outlives control.
    control.process.kill();
    proxy.restart();
    assert_eq!(shown(&proxy).await, Some((200, last)), "from the disk snapshot");
    for entry in ["snapshot.bin", "deltas.log"] {
        let bytes = std::fs::read(proxy.dir.join("proxy").join(entry)).or_else(|_| std::fs::read(proxy.dir.join(entry)));
        let bytes = bytes.expect("the proxy's files");
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"), "{entry} holds a key in clear");
    }
}
