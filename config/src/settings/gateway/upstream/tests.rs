use super::*;

const EVERYTHING: &str = r#"
name = "orders"
targets = [{ address = "https://10.0.0.1", weight = 3 }, { address = "https://orders.internal:8443" }]
protocol = "auto"
balance = "hash"
hash_by = "header:X-Tenant"
connect_timeout = "1s"
read_timeout = "2s"
write_timeout = "3s"
total_timeout = "20s"
connections_max = 64
slow_start = "30s"

[tls]
ca_file = "ca.pem"
cert_file = "gateway.pem"
key_file = "gateway.key"
server_name = "Orders.Internal"

[health]
kind = "http"
path = "/ready?full=1"
host = "orders.internal:8443"
expect = ["200-299", 304]
interval = "5s"
timeout = "1s"
healthy = 1
unhealthy = 2

[outliers]
failures = 3
statuses = [500, "502-504"]
eject_for = "10s"
ejected_max_percent = 34

[breaker]
failures_percent = 40
window = "20s"
requests_min = 10
open_for = "3s"
probes = 2

[retries]
attempts = 1
budget_percent = 10
statuses = [502, 503, 504]
per_try_timeout = "500ms"
"#;

fn read(text: &str) -> UpstreamSpec {
    toml::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

fn fault(from: &str, to: &str) -> String {
    assert!(EVERYTHING.contains(from), "{from}");
    read(&EVERYTHING.replace(from, to)).resolve().unwrap_err().to_string()
}

#[test]
fn every_word_resolves() {
    let upstream = read(EVERYTHING).resolve().unwrap();
    assert_eq!(upstream.targets.iter().map(|t| (t.address.port, t.weight)).collect::<Vec<_>>(), [(443, 3), (8443, 1)]);
    assert_eq!(upstream.balance, Balance::Hash(HashBy::Header(http::HeaderName::from_static("x-tenant"))));
    assert_eq!(upstream.timeouts.total, Some(Duration::from_secs(20)));
    assert_eq!((upstream.connections_max, upstream.slow_start), (64, Duration::from_secs(30)));
    assert_eq!(upstream.tls.server_name.as_deref(), Some("orders.internal"));
    assert!(upstream.tls.verify && upstream.tls.identity.is_some());
    let Some(Health { check: Check::Http { path, expect }, .. }) = &upstream.health else { panic!("{:?}", upstream.health) };
    assert_eq!((path.as_str(), expect.contains(304), expect.contains(300)), ("/ready?full=1", true, false));
    assert!(upstream.outliers.is_some_and(|o| o.statuses.contains(503) && !o.statuses.contains(501)));
    assert!(upstream.breaker.is_some_and(|b| b.statuses.contains(501)));
    assert_eq!((upstream.retries.attempts, upstream.retries.statuses), (1, Statuses::of(502..=504)));
}

#[test]
fn what_is_not_written_does_nothing_but_turns_and_careful_retries() {
    let upstream = read("name = \"a\"\naddresses = [\"http://a\", \"http://b\"]").resolve().unwrap();
    assert_eq!((upstream.targets.len(), upstream.targets[1].weight), (2, 1));
    assert_eq!((upstream.protocol, upstream.balance), (Protocol::Http1, Balance::RoundRobin));
    assert_eq!(upstream.timeouts, Timeouts::default());
    assert!(upstream.health.is_none() && upstream.outliers.is_none() && upstream.breaker.is_none());
    assert_eq!((upstream.retries.attempts, upstream.retries.budget_percent), (2, 20));
    assert!(upstream.retries.statuses.is_empty());
}

#[test]
fn a_spec_is_written_back_as_it_was_read() {
    let spec = read(EVERYTHING);
    assert_eq!(read(&toml::to_string(&spec).unwrap()), spec);
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<UpstreamSpec>(&json).unwrap(), spec);
    let short = "name = \"a\"\naddresses = [\"http://a\"]\n";
    assert_eq!(toml::to_string(&read(short)).unwrap(), short);
}

#[test]
fn every_mistake_is_named_by_its_place() {
    for (from, to, wanted) in [
        ("weight = 3", "weight = 0", "targets[0].weight: must be from 1 to 100"),
        ("https://orders.internal:8443", "orders.internal", "targets[1].address: must begin with http:// or https://"),
        ("hash_by = \"header:X-Tenant\"", "", "hash_by: balance = \"hash\" needs it"),
        ("balance = \"hash\"", "balance = \"round_robin\"", "hash_by: is for balance = \"hash\""),
        ("read_timeout = \"2s\"", "read_timeout = \"0s\"", "read_timeout: must be from 1ms to 24h"),
        ("key_file = \"gateway.key\"", "", "tls.cert_file: needs key_file"),
        (
            "ca_file = \"ca.pem\"",
            "ca_file = \"ca.pem\"\nverify = false",
            "tls.ca_file: has nothing to verify with verify = false",
        ),
        ("Orders.Internal", "a/b", "tls.server_name: must be a host name or an address, without a port"),
        ("kind = \"http\"", "kind = \"grpc\"", "health.path: is for kind = \"http\""),
        ("/ready?full=1", "ready", "health.path: must be a path that starts with /"),
        ("orders.internal:8443\"\nexpect", "a@b\"\nexpect", "health.host: must be a host, with or without a port"),
        ("healthy = 1", "healthy = 0", "health.healthy: must be from 1 to 1000000"),
        ("ejected_max_percent = 34", "ejected_max_percent = 101", "outliers.ejected_max_percent: must be from 1 to 100"),
        ("window = \"20s\"", "window = \"10ms\"", "breaker.window: must be a second at least"),
        ("attempts = 1", "attempts = 6", "retries.attempts: must be 5 at most"),
        ("statuses = [502, 503, 504]", "statuses = [200]", "retries.statuses: must be errors: 400 and above"),
    ] {
        assert_eq!(fault(from, to), wanted);
    }
    let plain = read("name = \"a\"\naddresses = [\"http://a\"]\n[tls]\n").resolve().unwrap_err();
    assert_eq!(plain.to_string(), "tls: no target begins with https://");
    let both = read("name = \"a\"\naddresses = [\"http://a\"]\ntargets = [{ address = \"http://b\" }]").resolve().unwrap_err();
    assert_eq!(both.to_string(), "addresses: is the short form of `targets`: write one of both");
}

#[test]
fn every_example_in_the_documentation_is_right() {
    let page = include_str!("../../../../../docs/upstreams.md");
    let examples: Vec<_> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 8);
    let control = UpstreamAddress::parse("http://127.0.0.1:9000").unwrap();
    for example in examples {
        let source = crate::settings::Source::new("upstreams.md", example);
        crate::settings::Gateway::resolve(&[source], &control).unwrap_or_else(|e| panic!("{e} in {example}"));
    }
}
