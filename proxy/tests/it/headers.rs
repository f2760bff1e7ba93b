//! What the upstream is sent, and what it is never sent; what comes back.

use clearway_config::Limits;

use crate::rig::{ACCOUNT, Rig, bearer, get, key, key_id, request};

#[test]
fn the_upstream_is_told_who_asks_and_under_which_id() {
    let rig = Rig::start();
    let answer = rig.ask(get("/svc/a?q=1", &[&bearer(1)]));
    let sent = rig.upstream.last();
    assert_eq!(sent.target(), "/svc/a?q=1");
    assert_eq!(sent.header("host"), ["api.example.com"]);
    assert_eq!(sent.header("x-clearway-account-id"), [ACCOUNT.to_string()]);
    assert_eq!(sent.header("x-clearway-key-id"), [key_id(1).to_string()]);
    assert_eq!(sent.header("x-clearway-plan"), ["test"]);
    assert_eq!(sent.header("x-request-id"), [answer.header("x-request-id").unwrap()]);
    assert_eq!(sent.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(sent.header("x-forwarded-proto"), ["http"]);
    assert_eq!(sent.header("x-forwarded-host"), ["api.example.com"]);
    assert_eq!(sent.header("traceparent")[0].len(), 55);
    assert_eq!(sent.header("x-clearway-ratelimit"), [""; 0]);
}

#[test]
fn a_valid_trace_is_continued_with_another_span() {
    let rig = Rig::start();
    rig.ask(get("/svc/a", &[&bearer(1), "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]));
    let sent = rig.upstream.last();
    let [trace] = sent.header("traceparent")[..] else { panic!("one traceparent in {}", sent.head) };
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.ends_with("-01"), "{trace}");
    assert!(!trace.contains("00f067aa0ba902b7"), "{trace}");
    rig.ask(get("/svc/a", &[&bearer(1), "traceparent: nonsense"]));
    assert!(!rig.upstream.last().header("traceparent")[0].contains("4bf92f3577b34da6"));
}

#[test]
fn credentials_are_removed_unless_the_route_keeps_them() {
    let rig = Rig::start();
    let both = [bearer(1), format!("X-API-Key: {}", key(1))];
    let both: Vec<_> = both.iter().map(String::as_str).collect();
    rig.ask(get("/svc/a", &both));
    assert!(!rig.upstream.last().head.contains(&key(1)), "{}", rig.upstream.last().head);
    rig.ask(get("/kept/a", &both));
    let sent = rig.upstream.last();
    assert_eq!((sent.header("authorization").len(), sent.header("x-api-key")), (1, vec![key(1).as_str()]));
    rig.ask(get("/kept/a", &[&bearer(1), &format!("X_API_Key: {}", key(1))]));
    assert_eq!(rig.upstream.last().head.matches(&key(1)).count(), 1, "only in the spelling that was checked");
}

#[test]
fn identity_that_a_client_sends_never_arrives_in_any_spelling() {
    let rig = Rig::start();
    for name in ["X-Clearway-Account-Id", "X-Clearway-Key-Id", "X-Clearway-Plan", "X-Clearway-Anything", "X-Request-Id"] {
        for spelled in
            [name.to_owned(), name.to_uppercase(), name.replace('-', "_"), name.replace('-', "."), name.replacen('-', "_", 1)]
        {
            for path in ["/svc/a", "/open/a", "/kept/a"] {
                let answer = rig.ask(get(path, &[&bearer(1), &format!("{spelled}: forged")]));
                assert_eq!(answer.status, 200, "{spelled}");
                let sent = rig.upstream.last();
                assert!(!sent.head.contains("forged"), "{spelled} on {path}: {}", sent.head);
            }
        }
    }
    rig.ask(get(
        "/open/a",
        &["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Real-IP: 192.0.2.1", "Forwarded: for=192.0.2.1"],
    ));
    let sent = rig.upstream.last();
    assert!(!sent.head.contains("192.0.2.1") && sent.header("x-forwarded-proto") == ["http"], "{}", sent.head);
}

#[test]
fn connection_cannot_nominate_the_gateways_own_words_away() {
    let rig = Rig::start();
    let nominated = "Connection: keep-alive, x-clearway-account-id, X-Clearway-Key-Id, x-request-id, x-forwarded-for, x-secret";
    rig.ask(get("/svc/a", &[&bearer(1), nominated, "X-Secret: 1", "X-Kept: 2", "TE: trailers", "Keep-Alive: 5"]));
    let sent = rig.upstream.last();
    assert_eq!(sent.header("x-clearway-account-id"), [ACCOUNT.to_string()]);
    assert_eq!(sent.header("x-clearway-key-id"), [key_id(1).to_string()]);
    assert_eq!((sent.header("x-request-id").len(), sent.header("x-forwarded-for")), (1, vec!["127.0.0.1"]));
    assert_eq!((sent.header("x-secret").len(), sent.header("x-kept").len()), (0, 1));
    assert_eq!((sent.header("te").len(), sent.header("keep-alive").len(), sent.header("connection").len()), (0, 0, 0));
}

#[test]
fn exactly_the_normalised_path_is_forwarded() {
    let rig = Rig::start();
    for (asked, forwarded) in [
        ("/svc/%7euser/%41?x=%41", "/svc/~user/A?x=%41"),
        ("/svc/caf%c3%a9", "/svc/caf%C3%A9"),
        ("http://api.example.com/svc/a", "/svc/a"),
        ("/stripped/a/b?c", "/a/b?c"),
        ("/stripped", "/"),
        ("/svc/a?", "/svc/a?"),
    ] {
        assert_eq!(rig.get(asked).status, 200, "{asked}");
        assert_eq!(rig.upstream.last().target(), forwarded, "{asked}");
    }
}

#[test]
fn a_body_arrives_as_it_was_sent_by_length_and_by_chunks() {
    let rig = Rig::start();
    rig.ask(request("POST", "/svc/a", &[&bearer(1), "Content-Length: 5"], "12345"));
    assert_eq!(rig.upstream.last().body, b"12345");
    rig.ask(request("POST", "/svc/a", &[&bearer(1), "Transfer-Encoding: chunked"], "5\r\n12345\r\n0\r\n\r\n"));
    assert_eq!(rig.upstream.last().body, b"5\r\n12345\r\n0\r\n\r\n");
}

#[test]
fn what_is_of_the_upstreams_hop_does_not_reach_the_client() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { per_day: Some(100), ..Limits::UNLIMITED });
    let answer = rig.get("/svc/hops");
    assert_eq!((answer.header("x-hop"), answer.header("keep-alive")), (None, None));
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert!(answer.header("x-request-id").unwrap().starts_with("req_"), "not the upstream's");
    assert_eq!(answer.header("x-ratelimit-limit"), Some("100"), "not the upstream's");
}

#[test]
fn control_is_told_what_is_left() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { per_day: Some(100), ..Limits::UNLIMITED });
    let answer = rig.ask(get("/api/v1/keys", &[&bearer(1), "X-Clearway-RateLimit: 9;9;9"]));
    let reset = answer.header("x-ratelimit-reset").unwrap();
    assert_eq!(rig.upstream.last().header("x-clearway-ratelimit"), [format!("100;99;{reset}")]);
    assert_eq!(rig.upstream.last().header("authorization").len(), 1, "control checks the key itself");
}

#[test]
fn a_client_of_http_1_0_gets_a_body_without_chunks() {
    let rig = Rig::start();
    let mut client = rig.client();
    client.send("GET /open/chunked HTTP/1.0\r\nHost: x\r\n\r\n");
    let answer = client.read();
    assert_eq!((answer.status, answer.header("transfer-encoding"), answer.body.as_slice()), (200, None, &b"abc"[..]));
}
