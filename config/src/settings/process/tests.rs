use super::*;

fn load(text: &str) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clearway.toml");
    std::fs::write(&file, text).unwrap();
    Settings::load(Some(&file)).map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

#[test]
fn the_file_that_ships_says_the_defaults() {
    let shipped = Settings::load(Some(&Path::new(env!("CARGO_MANIFEST_DIR")).join("clearway.toml"))).unwrap();
    let defaults = Settings::default();
    assert_eq!(format!("{:?}", shipped.sync), format!("{:?}", defaults.sync));
    assert_eq!(format!("{:?}", shipped.metrics), format!("{:?}", defaults.metrics));
    assert_eq!(format!("{:?}", shipped.access_log), format!("{:?}", defaults.access_log));
    assert_eq!(format!("{:?}", shipped.tracing), format!("{:?}", defaults.tracing));
    assert_eq!(shipped.gateway.addr, defaults.gateway.addr);
    assert_eq!(shipped.gateway.tls_addr, defaults.gateway.tls_addr);
    assert_eq!(format!("{:?}", shipped.gateway.tls), format!("{:?}", defaults.gateway.tls));
    assert_eq!(format!("{:?}", shipped.gateway.limits), format!("{:?}", defaults.gateway.limits));
    assert_eq!(format!("{:?}", shipped.control.registration), format!("{:?}", defaults.control.registration));
    assert_eq!(shipped.control.public_url, defaults.control.public_url);
    assert_eq!(shipped.control.addr, defaults.control.addr);
    assert_eq!(format!("{:?}", shipped.mail), format!("{:?}", defaults.mail));
    assert_eq!(format!("{:?}", shipped.oauth), format!("{:?}", defaults.oauth));
    assert_eq!(shipped.redis, defaults.redis);
}

#[test]
fn an_unknown_word_is_an_error_with_its_line() {
    assert_eq!(
        load("data_dir = \"x\"\n\n[sync]\nlease = \"1s\"\n").unwrap_err(),
        "clearway.toml:4: lease: unknown field `lease`, expected one of `addr`, `connect`, `mode`, `auth_lease`, `token_file`, `snapshot_key_file`, `tls`"
    );
}

#[test]
fn a_value_out_of_bounds_is_named_with_its_line() {
    assert_eq!(load("[sync]\nauth_lease = \"10ms\"\n").unwrap_err(), "clearway.toml:2: sync.auth_lease: must be from 1s to 1h");
    assert_eq!(load("[access_log]\nsample = 2.0\n").unwrap_err(), "clearway.toml:2: access_log.sample: must be from 0 to 1");
    assert_eq!(
        load("[sync]\nauth_lease = \"28s\"\n").unwrap_err(),
        "clearway.toml: control.request_timeout: must be at least 5s longer than sync.auth_lease: a revoke waits that long"
    );
    assert_eq!(
        load("[control]\ndatabase_url = \"sqlite:x\"\ndatabase_url_file = \"y\"\n").unwrap_err(),
        "clearway.toml:3: control.database_url_file: cannot stand beside database_url"
    );
    assert!(load("[sync]\nmode = \"best-effort\"\n").unwrap_err().starts_with("clearway.toml:2: mode: unknown variant"));
}

#[test]
fn limits_that_would_let_nobody_in_or_everything_are_refused() {
    for (line, why) in [
        ("head_bytes = \"1KiB\"", "head_bytes: must be from 4KiB to 1MiB"),
        ("headers = 1000", "headers: must be from 1 to 256"),
        ("uri_bytes = \"128KiB\"", "uri_bytes: must be from 256B to head_bytes"),
        ("head_timeout = \"0s\"", "head_timeout: must be from 10ms to 1h"),
        ("handshakes = 0", "handshakes: must be from 1 to 65536"),
    ] {
        let said = load(&format!("[gateway.limits]\n{line}\n")).unwrap_err();
        assert_eq!(said, format!("clearway.toml:2: gateway.limits.{why}"));
    }
    let limits = load("[gateway.limits]\nconnections_per_address = 5\nrate_min = \"0B\"\n").unwrap().gateway.limits;
    assert_eq!((limits.connections_per_address, limits.rate_min.as_u64(), limits.connections), (5, 0, 0));
}

#[test]
fn certificates_are_found_beside_the_settings_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clearway.toml");
    let text = "[gateway]\ntls_addr = \"127.0.0.1:0\"\n[gateway.tls]\nhsts = \"180d\"\nmin_version = \"1.3\"\n\
                client_certificates = \"required\"\nclient_ca_file = \"ca.pem\"\n\
                [[gateway.tls.certificates]]\ncert_file = \"a.pem\"\nkey_file = \"/keys/a.key\"\n";
    std::fs::write(&file, text).unwrap();
    let tls = Settings::load(Some(&file)).unwrap().gateway.tls;
    assert_eq!(tls.certificates, [CertificateFiles { cert_file: dir.path().join("a.pem"), key_file: "/keys/a.key".into() }]);
    assert_eq!((tls.client_ca_file, tls.min_version), (Some(dir.path().join("ca.pem")), TlsVersion::V1_3));
    assert_eq!(tls.hsts, Some(Duration::from_secs(180 * 86_400)));
}

#[test]
fn encryption_that_could_not_work_is_refused() {
    let acme = |more: &str| {
        format!(
            "[gateway]\ntls_addr = \"127.0.0.1:0\"\n[gateway.acme]\ndirectory_url = \"https://ca.test/dir\"\n\
             domains = [\"a.test\"]\n{more}"
        )
    };
    for (text, why) in [
        ("[gateway.tls]\nhttps_redirect = true\n".to_owned(), "clearway.toml: gateway.tls_addr: must be set"),
        ("[gateway.tls]\nclient_certificates = \"required\"\n".to_owned(), "clearway.toml: gateway.tls.client_ca_file: belongs"),
        ("[gateway.tls]\nhsts = \"900d\"\n".to_owned(), "clearway.toml:2: gateway.tls.hsts: must be at most"),
        ("[gateway.tls]\nmin_version = \"1.1\"\n".to_owned(), "clearway.toml:2: min_version: unknown variant"),
        (acme(""), "clearway.toml: gateway.acme.terms_of_service_agreed: must be true"),
        (acme("").replace("a.test\"]", "*.a.test\"]"), "clearway.toml:5: gateway.acme.domains: must be DNS names"),
        (acme("").replace("https:", "http:"), "clearway.toml:4: gateway.acme.directory_url: must begin"),
    ] {
        let said = load(&text).unwrap_err();
        assert!(said.starts_with(why), "{said}");
    }
    assert!(load(&acme("terms_of_service_agreed = true\n")).is_ok());
}

#[test]
fn redis_is_one_server_or_sentinels_or_a_cluster_and_never_with_a_password() {
    for (text, why) in [
        ("url = \"http://a\"\n", "clearway.toml:2: redis.url: must be redis://host:port"),
        ("url = \"redis://:secret@a:6379\"\n", "clearway.toml:2: redis.url: must be redis://host:port"),
        ("url = \"rediss://a:6379#insecure\"\n", "clearway.toml:2: redis.url: must be redis://host:port"),
        ("url = \"redis://a\"\ncluster = [\"redis://b\"]\n", "clearway.toml:2: redis.url: only one of"),
        ("cluster = [\"redis://a\", \"rediss://b\"]\n", "clearway.toml:2: redis.cluster: must all be"),
        ("sentinels = [\"redis://a:26379\"]\n", "clearway.toml: redis.master: belongs to redis.sentinels"),
        ("name_prefix = \"a{b}\"\n", "clearway.toml:2: redis.name_prefix: must be 1 to 64"),
        ("call_timeout = \"0s\"\n", "clearway.toml:2: redis.call_timeout: must be from 10ms to 30s"),
        ("forget_after = \"1s\"\n", "clearway.toml:2: redis.forget_after: must be from 15s to 1h"),
    ] {
        let said = load(&format!("[redis]\n{text}")).unwrap_err();
        assert!(said.starts_with(why), "{said}");
    }
    let redis = load("[redis]\nsentinels = [\"rediss://a:26379\"]\nmaster = \"clearway\"\n").unwrap().redis;
    assert!(redis.is_set() && !Settings::default().redis.is_set());
}

#[test]
fn control_is_found_at_one_address_or_at_one_of_several() {
    let connect = |value: &str| load(&format!("[sync]\nconnect = {value}\n")).map(|settings| settings.sync.connect);
    assert_eq!(connect("\"\"").unwrap(), Vec::<String>::new());
    assert_eq!(connect("\"http://a:9001\"").unwrap(), ["http://a:9001"]);
    assert_eq!(connect("[\"http://a:9001\", \"https://b:9001\"]").unwrap(), ["http://a:9001", "https://b:9001"]);
    for (value, why) in [
        ("\"a:9001\"", "sync.connect: must begin with http:// or https://"),
        ("[\"http://a:9001\", \"\"]", "sync.connect: must begin with http:// or https://"),
        ("[\"http://a:9001\", \"http://a:9001\"]", "sync.connect: must name each address once"),
        ("7", "connect: must be an address or a list of them"),
    ] {
        assert_eq!(connect(value).unwrap_err(), format!("clearway.toml:2: {why}"));
    }
}
