//! Who may pass: each refusal has its code, its status and its headers.

use clearway_config::sync::v1;

use crate::rig::{Rig, bearer, credential, get, key, request};

#[test]
fn a_key_passes_in_either_header() {
    let rig = Rig::start();
    assert_eq!(rig.get("/svc/a").status, 200);
    assert_eq!(rig.ask(get("/svc/a", &[&format!("X-API-Key: {}", key(1))])).status, 200);
    assert_eq!(rig.ask(get("/svc/a", &[&bearer(1), &format!("x-api-key: {}", key(1))])).status, 200);
    assert_eq!(rig.upstream.received().len(), 3);
}

#[test]
fn every_refusal_has_its_code_status_and_headers_and_nothing_goes_upstream() {
    let mut rig = Rig::start();
    let cut = &key(1)[..40];
    rig.set_credential(v1::Credential { revoked: true, ..credential(2) });
    rig.set_credential(v1::Credential { expires_at: Some(1), ..credential(3) });
    rig.set_credential(v1::Credential { allowed_addresses: vec!["192.0.2.0/24".into()], ..credential(4) });
    for (bytes, status, code) in [
        (get("/svc/a", &[]), 401, "key_missing"),
        (get("/svc/a", &["Authorization: Basic eDp5"]), 401, "key_missing"),
        (get("/svc/a", &[&format!("Authorization: Bearer {cut}")]), 401, "key_malformed"),
        (get("/svc/a", &["X-API-Key: x"]), 401, "key_malformed"),
        (get("/svc/a", &[&bearer(9)]), 401, "key_unknown"),
        (get("/svc/a", &[&bearer(2)]), 401, "key_revoked"),
        (get("/svc/a", &[&bearer(3)]), 401, "key_expired"),
        (get("/svc/a", &[&bearer(4)]), 403, "address_not_allowed"),
        (get("/scoped/a", &[&bearer(1)]), 403, "scope_missing"),
        (get("/nowhere", &[&bearer(1)]), 404, "route_not_found"),
        (get("/posts", &[&bearer(1)]), 405, "method_not_allowed"),
        (get("/svc/../a", &[&bearer(1)]), 400, "ambiguous_request"),
        (get("/svc/a", &[&bearer(1), &format!("X-API-Key: {}", key(9))]), 400, "ambiguous_request"),
    ] {
        let answer = rig.ask(&bytes);
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "{bytes}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let challenge = answer.header("www-authenticate");
        match code {
            "key_missing" => assert_eq!(challenge, Some("Bearer realm=\"clearway\"")),
            "scope_missing" => assert!(challenge.unwrap().contains("error=\"insufficient_scope\", scope=\"read:orders\"")),
            _ if status == 401 => assert!(challenge.unwrap().contains("error=\"invalid_token\""), "{code}"),
            _ => assert_eq!(challenge, None),
        }
        assert_eq!(answer.header("allow"), (status == 405).then_some("POST"));
        assert_eq!(answer.header("ratelimit"), None, "nothing was counted");
    }
    assert!(rig.upstream.received().is_empty(), "{:?}", rig.upstream.received());
    assert_eq!(rig.counted(), 0, "a refused request costs nothing");
    assert_eq!(rig.metric("clearway_rejects_total{code=\"key_missing\"}") as u64, 2);
}

#[test]
fn a_suspended_account_is_refused_before_address_and_scope() {
    let mut rig = Rig::start();
    rig.set(v1::Changes { accounts: vec![crate::rig::account(true)], ..Default::default() });
    let answer = rig.get("/scoped/a");
    assert_eq!((answer.status, answer.error().as_str()), (403, "account_suspended"));
}

#[test]
fn a_scope_opens_its_route() {
    let mut rig = Rig::start();
    rig.set_credential(v1::Credential { scopes: vec!["read:orders".into()], ..credential(5) });
    assert_eq!(rig.ask(get("/scoped/a", &[&bearer(5)])).status, 200);
}

#[test]
fn a_change_holds_from_the_next_request_on_an_open_connection() {
    let mut rig = Rig::start();
    let mut client = rig.client();
    client.send(get("/svc/a", &[&bearer(1)]));
    assert_eq!(client.read().status, 200);
    rig.set_credential(v1::Credential { revoked: true, ..credential(1) });
    client.send(get("/svc/a", &[&bearer(1)]));
    assert_eq!(client.read().error(), "key_revoked");
}

#[test]
fn an_open_route_needs_no_key_and_counts_nothing() {
    let rig = Rig::start();
    let answer = rig.ask(get("/open/a", &[]));
    assert_eq!((answer.status, answer.header("ratelimit")), (200, None));
    assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
    assert_eq!(rig.ask(get("/open/a", &["Authorization: Bearer not-ours"])).status, 200);
    assert_eq!(rig.upstream.last().header("authorization"), [""; 0], "a credential is not for the upstream");
    assert_eq!(rig.counted(), 0);
}

#[test]
fn without_a_lease_a_strict_proxy_refuses_keys_and_says_that_it_is_not_ready() {
    let rig = Rig::start();
    assert_eq!(rig.admin("/health/ready").status, 200);
    rig.snapshot.lease().set_mode(clearway_proxy::snapshot::Mode::Strict);
    let answer = rig.get("/svc/a");
    assert_eq!((answer.status, answer.error().as_str()), (503, "auth_lease_expired"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(rig.ask(get("/open/a", &[])).status, 200, "an open route asks for no key");
    assert_eq!(rig.admin("/health/ready").status, 503);
    assert_eq!(rig.admin("/health/live").status, 200);
}

#[test]
fn an_answer_to_head_has_no_body() {
    let rig = Rig::start();
    let mut client = rig.client();
    client.send(request("HEAD", "/svc/a", &[], ""));
    let answer = client.read_head_only();
    assert_eq!(answer.status, 401);
    assert_ne!(answer.header("content-length"), Some("0"));
    client.send(get("/open/a", &[]));
    assert_eq!(client.read().body, b"hello", "the connection goes on where the answer ended");
}
