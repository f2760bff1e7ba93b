//! Certificates from an authority, with Pebble for one.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use clearway_config::settings::process::{AcmeSettings, Settings};
use clearway_testkit::acme::{self, free_port};

use crate::{
    authority::{Authority, files},
    curl::curl,
    rig::{Rig, eventually, routes},
    upstream::Upstream,
};

fn settings(settings: &mut Settings, port: u16, directory_url: &str, ca_file: PathBuf, domains: &[&str]) {
    settings.gateway.addr = ([127, 0, 0, 1], port).into();
    settings.gateway.tls_addr = Some(([127, 0, 0, 1], 0).into());
    settings.gateway.tls.https_redirect = true;
    settings.gateway.acme = Some(AcmeSettings {
        directory_url: directory_url.to_owned(),
        contact: vec!["mailto:ops@a.test".to_owned()],
        domains: domains.iter().map(ToString::to_string).collect(),
        ca_file: Some(ca_file),
        terms_of_service_agreed: true,
    });
}

#[test]
fn a_certificate_is_obtained_served_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let own = Authority::new(dir.path(), "directory");
    let pebbles = files(dir.path(), "pebble");
    own.certify(&pebbles, &["127.0.0.1"]);
    let port = free_port().unwrap();
    let authority = acme::Authority::start(dir.path(), port, &pebbles.cert_file, &pebbles.key_file);
    let own_ca = own.file.display().to_string();
    let fetch = |url: &str| {
        let to = url.split('/').nth(2).unwrap().parse().unwrap();
        let got = curl(to, url, &["--cacert", &own_ca]);
        (got.status == 200).then_some(got.body)
    };
    eventually("the authority", || fetch(&authority.directory_url));
    let root = dir.path().join("root.pem");
    fs::write(&root, eventually("its root", || fetch(&authority.root_url))).unwrap();
    let root = root.display().to_string();

    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    let names = ["a.test", "b.test"];
    let apply = |to: &mut Settings, names: &[&str]| settings(to, port, &authority.directory_url, own.file.clone(), names);
    let mut rig = Rig::start_with(upstream, &routes(&address), |to| apply(to, &names));
    let serves = |rig: &Rig, name: &str| {
        let to = rig.proxy().gateway_tls().unwrap();
        curl(to, &format!("https://{name}/open/x"), &["--cacert", &root]).status == 200
    };
    eventually("the certificate", || names.iter().all(|name| serves(&rig, name)).then_some(()));
    assert_eq!(rig.metric("clearway_acme_orders_total{result=\"ok\"}"), 1.0);
    for kept in ["account.json", "certificate.pem"] {
        let file = rig.dir.path().join("data/proxy/acme").join(kept);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{kept}");
    }

    let account = fs::read(rig.dir.path().join("data/proxy/acme/account.json")).unwrap();
    rig.restart_with(|to| apply(to, &names));
    assert!(serves(&rig, "a.test"), "from the first moment");
    assert_eq!(rig.metric("clearway_acme_orders_total{result=\"ok\"}"), 0.0, "it is not ordered again");

    rig.restart_with(|to| apply(to, &["a.test", "c.test"]));
    eventually("another name", || serves(&rig, "c.test").then_some(()));
    assert_eq!(fs::read(rig.dir.path().join("data/proxy/acme/account.json")).unwrap(), account, "by the same account");
}

#[test]
fn an_authority_that_is_away_is_noticed_and_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let own = Authority::new(dir.path(), "directory");
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    let nowhere = format!("https://127.0.0.1:{}/dir", free_port().unwrap());
    let rig = Rig::start_with(upstream, &routes(&address), |to| settings(to, 0, &nowhere, own.file.clone(), &["a.test"]));
    let failed = || (rig.metric("clearway_acme_orders_total{result=\"failed\"}") > 0.0).then_some(());
    eventually("a failure that is counted", failed);
    let got = curl(rig.proxy().gateway(), "http://a.test/open/x", &[]);
    assert_eq!(got.status, 308, "plain requests are answered");
    let encrypted = curl(rig.proxy().gateway_tls().unwrap(), "https://a.test/open/x", &["-k"]);
    assert_eq!(encrypted.status, 0, "there is no certificate to be shown");
}
