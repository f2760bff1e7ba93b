//! What policies do to requests and answers, both ways through the gateway.

use clearway_config::sync::v1;

use crate::{
    rig::{Rig, account, bearer, eventually, get, request},
    routing::{both, rig_with},
};

const ALLOWED: &str = "https://app.example.com";

fn rig() -> Rig {
    rig_with(
        r#"
[[policies]]
name = "browser"
cors = { origins = ["https://app.example.com"], methods = ["GET", "PUT"], headers = ["authorization"], exposed = ["x-request-id"], credentials = true, max_age = "10m" }
[[policies]]
name = "elsewhere"
addresses = { deny = ["127.0.0.0/8"] }
[[policies]]
name = "small"
body_max = "8B"
[[policies]]
name = "edits"
request_headers = { remove = ["X-Gone"], rename = { X-Old = "X-New" }, set = { X-Set = "1", Authorization = "Basic abc" }, add = { X-Added = "2" } }
response_headers = { remove = ["x-kept"], set = { Strict-Transport-Security = "max-age=1" } }
[[policies]]
name = "closed"
maintenance = { message = "Back at ten.", retry_after = "10m" }
[[policies]]
name = "closed-to-others"
maintenance = { allow = ["127.0.0.1"] }
[[policies]]
name = "ends"
deprecated = { since = "2026-01-01", sunset = "2026-12-31", link = "https://example.com/v1", version = "v1" }
[[policies]]
name = "mine"
request_headers = { set = { X-Set = "2" } }
response_headers = { set = { X-Mine = "1" } }

[[routes]]
name = "browser"
path = "/browser"
methods = ["GET", "PUT"]
upstream = "up"
auth = "key"
policies = ["browser"]
[[routes]]
name = "denied"
path = "/denied"
upstream = "up"
auth = "key"
policies = ["browser", "elsewhere"]
[[routes]]
name = "small"
path = "/small"
upstream = "up"
auth = "key"
policies = ["small"]
[[routes]]
name = "edits"
path = "/edits"
upstream = "up"
auth = "key"
policies = ["edits", "ends"]
[[routes]]
name = "closed"
path = "/closed"
auth = "key"
policies = ["closed"]
[[routes]]
name = "half-closed"
path = "/half-closed"
upstream = "up"
auth = "open"
policies = ["closed", "closed-to-others"]
"#,
        None,
    )
}

#[test]
fn a_preflight_is_answered_without_a_key_and_costs_nothing() {
    let rig = rig();
    let origin = format!("Origin: {ALLOWED}");
    let mut client = rig.client();
    for _ in 0..2 {
        client.send(request("OPTIONS", "/browser/x", &[&origin, "Access-Control-Request-Method: PUT"], ""));
        let answer = client.read();
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(ALLOWED)));
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, PUT"));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        assert_eq!(answer.header("content-length"), None, "RFC 9110, 8.6");
    }
    for answer in both(&rig, "OPTIONS", "/browser", &["Origin: https://evil.example", "Access-Control-Request-Method: PUT"]) {
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None));
    }
    for answer in both(&rig, "OPTIONS", "/browser", &[&origin]) {
        assert_eq!(answer.error(), "method_not_allowed", "not a preflight");
    }
    assert_eq!((rig.counted(), rig.upstream.received().len()), (0, 0));
}

#[test]
fn a_page_reads_answers_and_refusals_alike() {
    let rig = rig();
    let origin = format!("Origin: {ALLOWED}");
    for (headers, status) in [(vec![origin.as_str(), &bearer(1)], 200), (vec![origin.as_str()], 401)] {
        for answer in both(&rig, "GET", "/browser", &headers) {
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(ALLOWED)));
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            assert_eq!(
                (answer.header("vary"), answer.header("access-control-expose-headers")),
                (Some("origin"), Some("x-request-id"))
            );
        }
    }
    for answer in both(&rig, "GET", "/browser", &["Origin: https://evil.example", &bearer(1)]) {
        assert_eq!(
            (answer.status, answer.header("access-control-allow-origin"), answer.header("vary")),
            (200, None, Some("origin"))
        );
    }
}

#[test]
fn an_address_that_is_denied_is_refused_before_its_key_is_looked_at() {
    let rig = rig();
    for answer in both(&rig, "GET", "/denied", &[&bearer(1)]) {
        assert_eq!((answer.status, answer.error().as_str()), (403, "address_not_allowed"));
    }
    let preflight = ["Origin: https://app.example.com", "Access-Control-Request-Method: GET"];
    assert!(both(&rig, "OPTIONS", "/denied", &preflight).iter().all(|answer| answer.status == 403));
    assert_eq!((rig.counted(), rig.upstream.received().len()), (0, 0));
}

#[test]
fn a_body_is_cut_off_where_it_gets_too_long() {
    let rig = rig();
    let post = |length: &str, body: &str| rig.ask(request("POST", "/small", &[&bearer(1), length], body));
    assert_eq!(post("Content-Length: 8", "12345678").status, 200);
    assert_eq!(post("Content-Length: 9", "123456789").error(), "body_too_large");
    assert_eq!((rig.counted(), rig.upstream.received().len()), (1, 1));
    assert_eq!(post("Transfer-Encoding: chunked", "8\r\n12345678\r\n0\r\n\r\n").status, 200);
    assert_eq!(post("Transfer-Encoding: chunked", "8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n").error(), "body_too_large");
}

#[test]
fn headers_are_changed_on_both_ways_and_in_both_directions() {
    let rig = rig();
    let sent = [&bearer(1), "X-Gone: 1", "X-Old: a", "X-New: b", "X-Added: 1", "X-Same: c", "X-Clearway-Plan: forged"];
    for answer in both(&rig, "GET", "/edits/hops", &sent) {
        let sent = rig.upstream.last();
        assert_eq!((sent.header("x-gone").len(), sent.header("x-old").len(), sent.header("x-new")), (0, 0, vec!["a"]));
        assert_eq!((sent.header("x-set"), sent.header("x-added"), sent.header("x-same")), (vec!["1"], vec!["1", "2"], vec!["c"]));
        assert_eq!((sent.header("authorization"), sent.header("x-clearway-plan")), (vec!["Basic abc"], vec!["test"]));
        assert_eq!(sent.header("host"), ["api.example.com"]);
        assert_eq!((answer.header("x-kept"), answer.header("strict-transport-security")), (None, Some("max-age=1")));
        assert_eq!(
            (answer.header("deprecation"), answer.header("sunset")),
            (Some("@1767225600"), Some("Thu, 31 Dec 2026 00:00:00 GMT"))
        );
        assert_eq!(answer.header("link"), Some("<https://example.com/v1>; rel=\"deprecation\"; type=\"text/html\""));
        assert_eq!((answer.header("x-api-version"), answer.body.as_slice()), (Some("v1"), &b"ok"[..]));
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
    }
    let refused = rig.ask(get("/edits", &[]));
    assert_eq!((refused.error().as_str(), refused.header("deprecation")), ("key_missing", Some("@1767225600")));
    assert_eq!(refused.header("strict-transport-security"), None, "the operator's words are about answers of upstreams");
}

#[test]
fn a_route_in_maintenance_says_when_to_come_back_and_lets_its_operators_in() {
    let rig = rig();
    for answer in both(&rig, "GET", "/closed", &[&bearer(1)]) {
        assert_eq!((answer.status, answer.error().as_str(), answer.header("retry-after")), (503, "maintenance", Some("600")));
        assert!(String::from_utf8_lossy(&answer.body).contains("Back at ten."));
    }
    assert!(both(&rig, "GET", "/half-closed", &[]).iter().all(|answer| answer.status == 200), "the later policy's section");
    assert_eq!(rig.counted(), 0);
    let text = std::fs::read_to_string(rig.routes_file())
        .unwrap()
        .replace("maintenance = { allow = [\"127.0.0.1\"] }", "maintenance = { allow = [\"10.0.0.0/8\"] }");
    std::fs::write(rig.routes_file(), text).unwrap();
    eventually("the changed policy", || (rig.ask(get("/half-closed", &[])).status == 503).then_some(()));
}

#[test]
fn an_accounts_own_policies_narrow_what_its_routes_allow_and_cost_nothing_where_they_refuse() {
    let mut rig = rig();
    let has = |rig: &mut Rig, names: &[&str]| {
        let policies = names.iter().map(|name| (*name).to_owned()).collect();
        rig.set(v1::Changes { accounts: vec![v1::Account { policies, ..account(false) }], ..v1::Changes::default() });
    };
    // Both must let a request pass, on every way.
    for (names, error) in [
        (&["elsewhere"][..], "address_not_allowed"),
        (&["closed"], "maintenance"),
        (&["edits", "not-here"], "account_policy_unknown"),
    ] {
        has(&mut rig, names);
        for answer in both(&rig, "GET", "/browser", &[&bearer(1)]) {
            assert_eq!(answer.error(), error);
        }
    }
    assert_eq!((rig.counted(), rig.upstream.received().len()), (0, 0));
    assert!(rig.metric("clearway_rejects_total{code=\"account_policy_unknown\"}") >= 2.0);
    has(&mut rig, &["closed", "closed-to-others"]);
    assert_eq!(rig.get("/browser").status, 200, "of each section the last counts");

    // Of two bounds the smaller one; a body that does not say its length is counted.
    has(&mut rig, &["small"]);
    for (headers, body) in [("Content-Length: 9", "123456789"), ("Transfer-Encoding: chunked", "9\r\n123456789\r\n0\r\n\r\n")] {
        let answer = rig.ask(request("PUT", "/browser", &[&bearer(1), headers], body));
        assert_eq!(answer.error(), "body_too_large", "{headers}");
    }

    // Headers: the route's changes and then the account's, in both directions.
    has(&mut rig, &["edits", "mine"]);
    for answer in both(&rig, "GET", "/edits/hops", &[&bearer(1), "X-Gone: 1", "X-Added: 1"]) {
        let sent = rig.upstream.last();
        assert_eq!((sent.header("x-set"), sent.header("x-gone").len()), (vec!["2"], 0));
        assert_eq!((answer.header("x-api-version"), answer.header("x-mine")), (Some("v1"), Some("1")));
    }
    for answer in both(&rig, "GET", "/browser", &[&bearer(1)]) {
        assert_eq!((answer.status, answer.header("x-mine"), answer.header("x-api-version")), (200, Some("1"), None));
    }
    has(&mut rig, &[]);
    for answer in both(&rig, "GET", "/browser", &[&bearer(1)]) {
        assert_eq!((answer.status, answer.header("x-mine")), (200, None));
    }
}
