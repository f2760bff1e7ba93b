//! Answers that are kept: who gets them again, and who never does.

use std::io::Read as _;

use http::Request;

use crate::{
    client::Answer,
    h2::{ask, connect, runtime},
    rig::{Rig, bearer, credential, eventually, get, key, key_id, request},
    routing::rig_with,
};

const ROUTES: &str = r#"
[[policies]]
name = "mine"
cache = {}
[[policies]]
name = "shared"
cache = { shared = true, headers = ["accept", "x-tenant"] }
[[policies]]
name = "small"
cache = { size_max = "64B" }
[[policies]]
name = "default"
cache = { default_ttl = "60s" }
compression = { codings = ["gzip"], size_min = "1B", types = ["text/plain"] }
[[policies]]
name = "told"
response_json = { set = { "/key" = "{key_id}" } }
[[routes]]
name = "told"
path = "/told"
upstream = "up"
auth = "key"
policies = ["shared", "told"]
[[routes]]
name = "mine"
path = "/mine"
upstream = "up"
auth = "key"
policies = ["mine"]
[[routes]]
name = "changes"
path = "/mine"
methods = ["POST", "DELETE"]
upstream = "up"
auth = "key"
[[routes]]
name = "shared"
path = "/shared"
upstream = "up"
auth = "key"
policies = ["shared"]
[[routes]]
name = "open"
path = "/open"
upstream = "up"
auth = "open"
policies = ["mine"]
[[routes]]
name = "small"
path = "/small"
upstream = "up"
auth = "open"
policies = ["small"]
[[routes]]
name = "default"
path = "/default"
upstream = "up"
auth = "open"
policies = ["default"]
"#;

fn rig() -> Rig {
    let mut rig = rig_with(ROUTES, None);
    rig.set_credential(credential(2));
    rig
}

fn script(rig: &Rig, head: &str, body: &str) {
    rig.upstream.script(format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()), false);
}

fn by(rig: &Rig, n: u8, path: &str, headers: &[&str]) -> Answer {
    let auth = bearer(n);
    let headers: Vec<&str> = headers.iter().copied().chain([auth.as_str()]).collect();
    rig.ask(get(path, &headers))
}

/// How often the upstream has been asked.
fn asked(rig: &Rig) -> usize {
    rig.upstream.received().len()
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or_default().strip_prefix("clearway; ").unwrap_or_default()
}

#[test]
fn a_hit_is_counted_logged_and_told_its_own_limits_and_id() {
    let rig = rig();
    let head = "Cache-Control: public, max-age=60\r\nX-Request-Id: forged\r\nX-RateLimit-Remaining: 1\r\nX-Kept: 1";
    script(&rig, head, "kept");
    let first = by(&rig, 1, "/mine/scripted", &[]);
    let second = by(&rig, 1, "/mine/scripted", &[]);
    assert_eq!((asked(&rig), rig.counted()), (1, 2));
    assert_eq!((status(&first), first.header("age")), ("fwd=uri-miss; stored", None));
    assert!(status(&second).starts_with("hit; ttl=") && second.header("age").is_some(), "{second:?}");
    for answer in [&first, &second] {
        assert_eq!(
            (answer.body.as_slice(), answer.header("x-kept"), answer.header("content-length")),
            (&b"kept"[..], Some("1"), Some("4"))
        );
    }
    assert_eq!(second.header("x-ratelimit-remaining"), None, "what one request was told is not kept");
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let lines = rig.log_until(|lines| lines.len() == 2);
    // Each worker writes its own.
    let line = |came: &str| lines.iter().find(|line| line["cache"] == came).unwrap_or_else(|| panic!("{came}"));
    assert!(line("miss").get("upstream").is_some());
    assert!(line("hit").get("upstream").is_none() && line("hit")["admitted"] == true);
    assert_eq!(rig.metric("clearway_cache_answers_total{result=\"hit\",route=\"mine\"}"), 1.0);
    assert!(rig.metric("clearway_cache_bytes") > 4.0 && rig.metric("clearway_cache_entries") > 0.0);
    assert_eq!(rig.ask(get("/mine/scripted", &[])).status, 401, "nobody gets it without a key");
}

#[test]
fn no_caller_gets_what_another_was_answered() {
    let rig = rig();
    script(&rig, "Cache-Control: public, max-age=60", "for one");
    by(&rig, 1, "/mine/scripted", &[]);
    script(&rig, "Cache-Control: public, max-age=60", "for two");
    assert_eq!(by(&rig, 2, "/mine/scripted", &[]).body, b"for two");
    assert_eq!(by(&rig, 1, "/mine/scripted", &[]).body, b"for one");
    assert_eq!(asked(&rig), 2);
}

#[test]
fn what_is_shared_must_say_so_itself() {
    let rig = rig();
    script(&rig, "Cache-Control: must-revalidate, max-age=60", "mine");
    for _ in 0..2 {
        assert_eq!(status(&by(&rig, 1, "/shared/scripted", &[])), "fwd=miss");
    }
    script(&rig, "Cache-Control: s-maxage=60", "everybody's");
    by(&rig, 1, "/shared/scripted", &[]);
    script(&rig, "Cache-Control: private", "two's");
    assert_eq!(by(&rig, 2, "/shared/scripted", &[]).body, b"everybody's");
    assert_eq!(asked(&rig), 3);
}

#[test]
fn what_is_kept_for_all_is_changed_for_each() {
    let rig = rig();
    script(&rig, "Cache-Control: public, max-age=60\r\nContent-Type: application/json", r#"{"a":1.10}"#);
    for n in [1, 2, 1] {
        let answer = by(&rig, n, "/told/scripted", &[]);
        assert_eq!(answer.body, format!(r#"{{"a":1.10,"key":"{}"}}"#, key_id(n)).as_bytes());
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    }
    assert_eq!(asked(&rig), 1);
}

#[test]
fn an_upstream_sees_nothing_by_which_answers_are_not_told_apart() {
    let rig = rig();
    script(&rig, "Cache-Control: public, max-age=60", "x");
    let poison =
        ["X-Forwarded-Host: evil.example", "X-Original-URL: /admin", "Cookie: a=b", "X-Forwarded-Proto: https", "X-Evil: 1"];
    by(&rig, 1, "/shared/scripted", &poison);
    let sent = rig.upstream.last();
    assert_eq!((sent.header("x-forwarded-host"), sent.header("accept-encoding")), (vec!["api.example.com"], vec!["identity"]));
    for name in ["x-original-url", "cookie", "x-evil"] {
        assert!(sent.header(name).is_empty(), "{name}");
    }
    assert_eq!(status(&by(&rig, 1, "/shared/scripted", &["Cookie: other"])).split(';').next(), Some("hit"));
    // What it does see is in the key: listed headers, the host as it is spelled, the query as it is written.
    let auth = bearer(1);
    let others = [
        get("/shared/scripted", &[&auth, "X-Tenant: a"]),
        get("/shared/scripted", &[&auth, "Accept: text/html"]),
        get("/shared/scripted?a=1", &[&auth]),
        get("/shared/scripted?%61=1", &[&auth]),
        get("/shared/scripted", &[&auth]).replace("Host: api.example.com", "Host: api.example.com:1337"),
    ];
    for (n, other) in others.iter().enumerate() {
        assert_eq!(status(&rig.ask(other)), "fwd=uri-miss; stored", "{other}");
        assert_eq!(asked(&rig), n + 2);
    }
    assert!(status(&rig.ask(get("/shared/%73cripted", &[&auth]))).starts_with("hit"), "one path, however it is spelled");
}

#[test]
fn a_body_that_does_not_say_how_long_it_is_makes_no_answer_for_others() {
    let rig = rig();
    script(&rig, "Cache-Control: public, max-age=60", "x");
    runtime().block_on(async {
        let (send, _) = connect(rig.proxy().gateway()).await;
        let request = || Request::builder().uri("http://api.example.com/open/scripted").body(()).unwrap();
        let (answer, mut body) = send.clone().ready().await.unwrap().send_request(request(), false).unwrap();
        body.send_data("what others do not send".into(), true).unwrap();
        let mut answer = answer.await.unwrap().into_body();
        while let Some(part) = answer.data().await {
            assert_eq!(part.unwrap(), "x");
        }
        assert_eq!(ask(&send, request()).await.1["cache-status"], "clearway; fwd=uri-miss; stored");
    });
    assert_eq!(asked(&rig), 2);
}

#[test]
fn what_may_not_be_kept_is_asked_for_each_time() {
    let rig = rig();
    for head in [
        "X-A: 1",
        "Cache-Control: max-age=60",
        "Cache-Control: public, max-age=60, no-store",
        "Cache-Control: private, max-age=60",
        "Cache-Control: public, max-age=60\r\nSet-Cookie: a=b",
        "Cache-Control: public, max-age=60\r\nVary: *",
        "Cache-Control: public, max-age=60\r\nContent-Encoding: gzip",
        "Cache-Control: public, max-age=99999999999999999999, max-age=0",
    ] {
        script(&rig, head, "x");
        let before = asked(&rig);
        for _ in 0..2 {
            assert_eq!(
                (by(&rig, 1, "/mine/scripted", &[]).status, status(&by(&rig, 1, "/mine/scripted", &[]))),
                (200, "fwd=miss"),
                "{head}"
            );
        }
        assert_eq!(asked(&rig), before + 4, "{head}");
    }
    rig.upstream.script("HTTP/1.1 500 Oops\r\nCache-Control: public, max-age=60\r\nContent-Length: 2\r\n\r\nno", false);
    assert_eq!((by(&rig, 1, "/mine/scripted", &[]).status, by(&rig, 1, "/mine/scripted", &[]).status), (500, 500));
    script(&rig, "Cache-Control: max-age=60", "x");
    assert_eq!(status(&rig.ask(get("/open/scripted", &[]))), "fwd=uri-miss; stored", "nobody known, nobody to keep it from");
    script(&rig, "Cache-Control: public, max-age=60", &"x".repeat(65));
    assert_eq!((rig.ask(get("/small/scripted", &[])).body.len(), asked(&rig)), (65, 36));
    assert_eq!((rig.ask(get("/small/scripted", &[])).body.len(), asked(&rig)), (65, 37), "too long to be kept");
}

#[test]
fn half_an_answer_is_never_given_out_as_the_whole() {
    let rig = rig();
    for answer in [
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\n\r\nhalf",
    ] {
        rig.upstream.script(answer, true);
        let mut client = rig.client();
        client.send(get("/open/scripted", &[]));
        client.try_read();
        script(&rig, "Cache-Control: no-store", "whole");
        assert_eq!(rig.ask(get("/open/scripted", &[])).body, b"whole", "{answer}");
    }
}

#[test]
fn conditions_are_answered_from_the_cache_and_while_it_is_filled() {
    let rig = rig();
    let head = "Cache-Control: public, max-age=60\r\nETag: \"v1\"";
    let condition = "If-None-Match: W/\"v1\"";
    script(&rig, head, "body");
    let mut client = rig.client();
    for path in ["/open/scripted?1", "/open/scripted?1"] {
        client.send(get(path, &[condition]));
        let answer = client.read();
        assert_eq!((answer.status, answer.header("etag"), answer.body.len()), (304, Some("\"v1\""), 0));
    }
    client.send(get("/open/scripted?1", &[]));
    assert_eq!(client.read().body, b"body", "the connection goes on, and the whole was kept");
    assert_eq!(asked(&rig), 1);
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        for (target, condition, expected) in [("2", true, 304), ("2", false, 200), ("1", true, 304), ("1", false, 200)] {
            let mut request = Request::get(format!("http://api.example.com/open/scripted?{target}"));
            if condition {
                request = request.header("if-none-match", "\"v1\"");
            }
            let (status, _, body, _) = ask(&send, request.body(()).unwrap()).await;
            assert_eq!((status, body.as_slice()), (expected, if expected == 304 { &b""[..] } else { b"body" }));
        }
    });
}

#[test]
fn a_request_may_ask_for_a_confirmed_answer_or_for_none_but_a_kept_one() {
    let rig = rig();
    let answer = rig.ask(get("/open/scripted", &["Cache-Control: only-if-cached"]));
    assert_eq!((answer.status, answer.error().as_str(), asked(&rig)), (504, "not_cached", 0));
    script(&rig, "Cache-Control: public, max-age=60\r\nETag: \"v1\"", "body");
    rig.ask(get("/open/scripted", &[]));
    assert_eq!(rig.ask(get("/open/scripted", &["Cache-Control: only-if-cached"])).body, b"body");
    rig.upstream.script("HTTP/1.1 304 Not Modified\r\nCache-Control: public, max-age=60\r\nETag: \"v1\"\r\n\r\n", false);
    let confirmed = rig.ask(get("/open/scripted", &["Cache-Control: no-cache"]));
    assert_eq!((status(&confirmed), confirmed.body.as_slice()), ("fwd=stale; fwd-status=304", &b"body"[..]));
    assert_eq!(rig.upstream.last().header("if-none-match"), ["\"v1\""]);
    assert!(status(&rig.ask(get("/open/scripted", &[]))).starts_with("hit"));
    assert_eq!(asked(&rig), 2);
    assert_eq!(rig.ask(get("/open/scripted", &["Range: bytes=0-0"])).header("cache-status"), None, "parts are asked for");
}

#[test]
fn a_head_is_answered_by_what_a_get_has_brought_and_brings_nothing() {
    let rig = rig();
    rig.upstream.script("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 4\r\n\r\n", false);
    let mut client = rig.client();
    let mut head = || {
        client.send(request("HEAD", "/open/scripted", &[], ""));
        client.read_head_only()
    };
    assert_eq!(head().header("content-length"), Some("4"));
    assert!(rig.upstream.last().head.starts_with("HEAD "));
    script(&rig, "Cache-Control: public, max-age=60\r\nX-Of: get", "body");
    rig.ask(get("/open/scripted", &[]));
    let answer = head();
    assert_eq!((answer.header("x-of"), answer.header("content-length")), (Some("get"), Some("4")));
    assert_eq!(asked(&rig), 2);
}

#[test]
fn what_a_request_may_have_changed_is_asked_for_again() {
    let rig = rig();
    script(&rig, "Cache-Control: public, max-age=60", "old");
    by(&rig, 1, "/mine/scripted?page=2", &[]);
    by(&rig, 2, "/mine/scripted", &[]);
    let refused = "HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n";
    for (answer, hit) in [(refused, true), ("HTTP/1.1 204 Done\r\n\r\n", false)] {
        rig.upstream.script(answer, false);
        rig.ask(request("DELETE", "/mine/scripted", &[&bearer(1)], ""));
        script(&rig, "Cache-Control: public, max-age=60", "new");
        for (n, path) in [(1, "/mine/scripted?page=2"), (2, "/mine/scripted")] {
            assert_eq!(by(&rig, n, path, &[]).body, if hit { b"old" } else { b"new" }, "{answer}");
        }
    }
}

#[test]
fn a_route_is_emptied_when_asked_and_when_it_changes() {
    let rig = rig();
    script(&rig, "Cache-Control: public, max-age=60", "x");
    let is_hit = || status(&rig.ask(get("/open/scripted", &[]))).starts_with("hit");
    assert!(!is_hit() && is_hit());
    let mut admin = crate::client::Client::connect(rig.proxy().metrics());
    admin.send("POST /cache/purge?route=open HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(admin.read().body, b"1\n");
    assert!(!is_hit() && is_hit());
    let routes = std::fs::read_to_string(rig.routes_file()).unwrap();
    let changed = routes.replace("cache = {}", "cache = {}\nresponse_headers = { set = { X-New = \"1\" } }");
    std::fs::write(rig.routes_file(), changed).unwrap();
    eventually("the changed route", || rig.ask(get("/open/other", &[])).header("x-new").map(|_| ()));
    assert!(!is_hit() && is_hit());
}

#[test]
fn many_who_ask_for_the_same_are_answered_by_one_fetch() {
    let rig = rig();
    let clients: Vec<_> = (0..5)
        .map(|_| {
            let mut client = rig.client();
            client.send(get("/default/slow", &["Accept-Encoding: gzip"]));
            client
        })
        .collect();
    rig.upstream.wait_for_requests(1);
    rig.upstream.release();
    for mut client in clients {
        let answer = client.read();
        let mut text = String::new();
        flate2::read::GzDecoder::new(answer.chunks().as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "slow");
    }
    assert_eq!(asked(&rig), 1);
    assert_eq!(rig.ask(get("/default/slow", &[])).body, b"slow", "it was kept as it is, and compressed for those who want it");
}

#[test]
fn what_is_out_of_date_is_given_out_while_it_is_asked_for_again_and_while_that_fails() {
    let rig = rig();
    let stale = "Cache-Control: max-age=1, stale-while-revalidate=3600, stale-if-error=3600";
    script(&rig, stale, "old");
    rig.ask(get("/open/scripted", &[]));
    script(&rig, "Cache-Control: max-age=3600, stale-if-error=3600", "new");
    let auth = format!("X-Api-Key: {}", key(1));
    let first = eventually("an answer out of date", || {
        Some(rig.ask(get("/open/scripted", &[&auth])))
            .filter(|answer| status(answer).starts_with("hit; ttl=-") || answer.body == b"new")
    });
    assert_eq!(first.body, b"old", "nobody waits");
    eventually("the new one", || Some(()).filter(|()| rig.ask(get("/open/scripted", &[])).body == b"new"));
    assert_eq!(asked(&rig), 2, "asked for again once, in the background");
    script(&rig, "Cache-Control: max-age=1, stale-if-error=3600", "kept");
    rig.ask(get("/open/scripted?2", &[]));
    rig.upstream.script("HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown", false);
    let late = eventually("it to be out of date", || {
        Some(rig.ask(get("/open/scripted?2", &[]))).filter(|a| status(a).starts_with("hit; ttl=-"))
    });
    assert_eq!((late.status, late.body.as_slice()), (200, &b"kept"[..]));
    let lines = rig.log_until(|lines| lines.iter().any(|line| line["cache"] == "stale"));
    assert!(lines.iter().all(|line| line["status"] == 200), "what asks in the background is nobody's request");
}
