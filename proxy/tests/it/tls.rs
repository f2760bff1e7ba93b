//! Encrypted connections, with curl for a client.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use clearway_config::settings::process::{ClientCertificates, Settings, TlsVersion};

use crate::{
    authority::{Authority, files},
    curl::curl,
    rig::{Rig, bearer, eventually, key, routes},
    upstream::Upstream,
};

/// A gateway with certificates for `a.test` and `*.b.test`, and their authority.
struct Stand {
    rig: Rig,
    authority: Authority,
    dir: tempfile::TempDir,
}

impl Stand {
    fn start(change: impl FnOnce(&mut Settings, &Authority)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "ca");
        let (a, b) = (files(dir.path(), "a"), files(dir.path(), "b"));
        authority.certify(&a, &["a.test", "127.0.0.1"]);
        authority.certify(&b, &["*.b.test"]);
        let upstream = Upstream::start();
        let address = format!("\"http://{}\"", upstream.address);
        let rig = Rig::start_with(upstream, &routes(&address), |settings| {
            settings.gateway.tls_addr = Some(([127, 0, 0, 1], 0).into());
            settings.gateway.tls.certificates = vec![a, b];
            change(settings, &authority);
        });
        Self { rig, authority, dir }
    }

    fn encrypted(&self) -> SocketAddr {
        self.rig.proxy().gateway_tls().expect("it listens")
    }

    fn ca(&self) -> String {
        self.authority.file.display().to_string()
    }

    /// Whether a connection for `name` is given a certificate that speaks for it.
    fn serves(&self, name: &str) -> bool {
        curl(self.encrypted(), &format!("https://{name}/open/x"), &["--cacert", &self.ca()]).status == 200
    }
}

#[test]
fn http_1_and_http_2_are_served_encrypted_with_the_certificate_of_the_name_asked_for() {
    let stand = Stand::start(|settings, _| settings.gateway.tls.hsts = Some(std::time::Duration::from_secs(86_400)));
    let (ca, auth) = (stand.ca(), bearer(1));
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for (flags, host) in [(["--tlsv1.3", "--tls-max"], "a.test"), (["--tlsv1.2", "--tls-max"], "x.b.test")] {
            let max = if flags[0] == "--tlsv1.3" { "1.3" } else { "1.2" };
            let url = format!("https://{host}/svc/x?q=1");
            let got = curl(stand.encrypted(), &url, &["--cacert", &ca, flag, flags[0], flags[1], max, "-H", &auth]);
            assert_eq!((got.status, got.version.as_str(), got.body.as_str()), (200, version, "hello"), "{got:?}");
            assert_eq!(got.header("strict-transport-security"), Some("max-age=86400"));
            assert!(got.header("ratelimit-policy").is_none() && got.header("x-request-id").is_some(), "{got:?}");
            let received = stand.rig.upstream.last();
            assert_eq!(received.target(), "/svc/x?q=1");
            assert_eq!((received.header("x-forwarded-proto"), received.header("host")), (vec!["https"], vec![host]));
            assert_eq!(received.header("authorization"), [""; 0]);
        }
    }
    assert!(!stand.serves("c.test"), "no certificate speaks for it");
    assert!(stand.serves("127.0.0.1"), "the first one, for a client that asks for no name");
    let plain = curl(stand.rig.proxy().gateway(), "http://a.test/svc/x", &["-H", &auth]);
    assert_eq!((plain.status, plain.header("strict-transport-security")), (200, None), "only over encryption");
    assert!(stand.rig.metric("clearway_tls_handshakes_total{result=\"ok\"}") >= 4.0);
    assert!(stand.rig.metric("clearway_certificate_expiry_days{certificate=\"a.test\"}") > 1.0);
}

#[test]
fn a_refusal_says_the_same_over_http_2() {
    let stand = Stand::start(|_, _| {});
    let ca = stand.ca();
    let got = curl(stand.encrypted(), "https://a.test/svc/x", &["--cacert", &ca, "--http2"]);
    assert_eq!((got.status, got.header("www-authenticate").is_some()), (401, true), "{got:?}");
    assert!(got.body.contains("\"type\":\"key_missing\""), "{got:?}");
    let got = curl(stand.encrypted(), "https://a.test/svc/%2e%2e/x", &["--cacert", &ca, "--http2", "--path-as-is"]);
    assert_eq!(got.status, 400, "{got:?}");
    stand.rig.log_until(|lines| lines.len() == 2);
}

#[test]
fn a_large_body_passes_encrypted_both_ways() {
    let stand = Stand::start(|_, _| {});
    let (ca, auth) = (stand.ca(), bearer(1));
    let body = stand.dir.path().join("body");
    std::fs::write(&body, vec![b'x'; 3_000_000]).unwrap();
    let data = format!("@{}", body.display());
    for (n, flag) in ["--http1.1", "--http2"].into_iter().enumerate() {
        let args = ["--cacert", &ca, flag, "-H", &auth, "-H", "Expect:", "--data-binary", &data];
        let got = curl(stand.encrypted(), "https://a.test/svc/x", &args);
        assert_eq!(got.status, 200, "{got:?}");
        assert_eq!(stand.rig.upstream.received()[n].body.len(), 3_000_000);
    }
}

#[test]
fn older_versions_than_the_settings_allow_are_refused() {
    let stand = Stand::start(|settings, _| settings.gateway.tls.min_version = TlsVersion::V1_3);
    let ca = stand.ca();
    let got = |flags: &[&str]| curl(stand.encrypted(), "https://a.test/open/x", &[&["--cacert", &ca], flags].concat()).status;
    assert_eq!((got(&["--tls-max", "1.2"]), got(&["--tlsv1.3"])), (0, 200));
    assert_eq!(stand.rig.metric("clearway_tls_handshakes_total{result=\"failed\"}"), 1.0);
}

#[test]
fn without_a_certificate_of_the_right_authority_there_is_no_connection() {
    let stand = Stand::start(|settings, authority| {
        settings.gateway.tls.client_certificates = ClientCertificates::Required;
        settings.gateway.tls.client_ca_file = Some(authority.file.clone());
    });
    let ca = stand.ca();
    let stranger = Authority::new(stand.dir.path(), "stranger").client(stand.dir.path(), "theirs");
    let client = stand.authority.client(stand.dir.path(), "billing");
    let ask = |client: Option<&clearway_config::settings::process::CertificateFiles>, host: Option<&str>, http: &str| {
        let files = client.map(|files| [files.cert_file.display().to_string(), files.key_file.display().to_string()]);
        let mut args = vec!["--cacert".to_owned(), ca.clone(), http.to_owned()];
        args.extend(files.into_iter().flat_map(|[cert, key]| ["--cert".to_owned(), cert, "--key".to_owned(), key]));
        args.extend(host.into_iter().flat_map(|host| ["-H".to_owned(), format!("Host: {host}")]));
        curl(stand.encrypted(), "https://a.test/open/x", &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for http in ["--http1.1", "--http2"] {
        assert_eq!(ask(None, None, http).status, 0);
        assert_eq!(ask(Some(&stranger), None, http).status, 0);
        assert_eq!(ask(Some(&client), None, http).status, 200);
        // The client proved who it is to a.test, and to nobody else.
        let other = ask(Some(&client), Some("x.b.test"), http);
        assert_eq!(other.status, 421, "{other:?}");
        assert!(other.body.contains("misdirected_request"), "{other:?}");
    }
}

#[test]
fn optional_certificates_may_be_absent_but_not_wrong() {
    let stand = Stand::start(|settings, authority| {
        settings.gateway.tls.client_certificates = ClientCertificates::Optional;
        settings.gateway.tls.client_ca_file = Some(authority.file.clone());
    });
    let ca = stand.ca();
    let stranger = Authority::new(stand.dir.path(), "stranger").client(stand.dir.path(), "theirs");
    let [cert, key] = [stranger.cert_file.display().to_string(), stranger.key_file.display().to_string()];
    assert!(stand.serves("a.test"));
    let got = curl(stand.encrypted(), "https://a.test/open/x", &["--cacert", &ca, "--cert", &cert, "--key", &key]);
    assert_eq!(got.status, 0, "{got:?}");
}

#[test]
fn plain_requests_are_sent_to_the_encrypted_side() {
    let stand = Stand::start(|settings, _| {
        settings.gateway.tls.https_redirect = true;
        settings.gateway.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let (plain, port) = (stand.rig.proxy().gateway(), stand.encrypted().port());
    for http in ["--http1.1", "--http2-prior-knowledge"] {
        let got = curl(plain, "http://a.test/svc/x%41?q=%20", &[http, "-d", "body"]);
        assert_eq!(got.status, 308, "{got:?}");
        assert_eq!(got.header("location"), Some(format!("https://a.test:{port}/svc/xA?q=%20").as_str()));
        assert_eq!(curl(plain, "http://a.test/.well-known/acme-challenge/x", &[http]).status, 404, "nobody waits for it");
    }
    let behind = curl(plain, "http://a.test/open/x", &["-H", "X-Forwarded-Proto: https"]);
    assert_eq!(behind.status, 200, "it came encrypted to a proxy that is trusted");
    assert!(stand.serves("a.test"));
    let followed = curl(plain, "http://a.test/open/x", &[]);
    assert_eq!(followed.status, 308);
    assert_eq!(stand.rig.counted(), 0, "a redirect costs nothing");
}

#[test]
fn certificates_are_swapped_under_load_without_a_failed_request() {
    let stand = Arc::new(Stand::start(|_, _| {}));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = ["--http1.1", "--http2"]
        .into_iter()
        .map(|http| {
            let (stand, stop, served) = (stand.clone(), stop.clone(), served.clone());
            thread::spawn(move || {
                let (ca, auth) = (stand.ca(), format!("X-API-Key: {}", key(1)));
                while !stop.load(Ordering::Relaxed) {
                    let got = curl(stand.encrypted(), "https://a.test/svc/x", &["--cacert", &ca, http, "-H", &auth]);
                    assert_eq!(got.status, 200, "{got:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let a = files(stand.dir.path(), "a");
    for n in 0..20 {
        let name = format!("n{n}.test");
        stand.authority.certify(&a, &["a.test", &name]);
        if n % 2 == 0 {
            stand.rig.proxy().reload();
        }
        if n % 5 == 4 {
            eventually("the new certificate", || stand.serves(&name).then_some(()));
        }
    }
    eventually("requests between", || (served.load(Ordering::Relaxed) > 20).then_some(()));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request failed");
    }
    assert_eq!(stand.rig.counted(), served.load(Ordering::Relaxed) as u64);
}

#[test]
fn a_gateway_without_certificates_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings { data_dir: dir.path().into(), ..Settings::default() };
    settings.gateway.tls_addr = Some(([127, 0, 0, 1], 0).into());
    let why = clearway_proxy::start::check(&settings, &[]).unwrap_err().to_string();
    assert!(why.starts_with("gateway.tls_addr: no certificate"), "{why}");
    settings.gateway.tls.certificates = vec![files(dir.path(), "missing")];
    let why = clearway_proxy::start::check(&settings, &[]).unwrap_err().line();
    assert!(why.contains("missing.crt cannot be read: No such file"), "{why}");
}

#[test]
fn a_machine_can_be_tried_out_with_a_certificate_of_its_own() {
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    let rig = Rig::start_with(upstream, &routes(&address), |settings| {
        settings.gateway.tls_addr = Some(([127, 0, 0, 1], 0).into());
        settings.gateway.tls.self_signed = true;
    });
    let ca = rig.dir.path().join("data/proxy/tls/localhost.pem");
    let to = rig.proxy().gateway_tls().unwrap();
    let got = curl(to, "https://localhost/open/x", &["--cacert", &ca.display().to_string()]);
    assert_eq!((got.status, got.exit), (200, 0), "{got:?}");
}
