//! The two ways through the gateway, by bytes and by Pingora: nobody can tell which one was taken, and
//! one connection takes both in turn.

use clearway_config::Limits;

use crate::{
    client::Answer,
    rig::{Rig, bearer, eventually, get, request, routes},
    upstream::{Received, Upstream},
};

/// A header that an ordinary request may carry, that is dropped, and that only Pingora's way takes.
const BY_PINGORA: &str = "Upgrade: none";
const CHUNKED: &str = "Transfer-Encoding: chunked";

/// Without what differs from request to request.
fn told(request: &Received) -> Vec<(String, String)> {
    let lines = request.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut told: Vec<_> = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    for (name, value) in &mut told {
        if ["x-request-id", "traceparent", "x-clearway-ratelimit"].contains(&name.as_str()) {
            value.clear();
        }
    }
    told.sort();
    told
}

fn said(answer: &Answer) -> (u16, Vec<(String, String)>) {
    let mut headers = answer.headers.clone();
    for (name, value) in &mut headers {
        if ["x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "retry-after", "date"]
            .contains(&name.as_str())
        {
            value.clear();
        }
    }
    headers.sort();
    (answer.status, headers)
}

/// Both ways' answers to a request, the short way's first.
fn both(rig: &Rig, method: &str, path: &str, headers: &[&str], body: &str) -> [Answer; 2] {
    let ask = |headers: &[&str]| {
        let mut client = rig.client();
        client.send(request(method, path, headers, body));
        if method == "HEAD" { client.read_head_only() } else { client.read() }
    };
    [ask(headers), ask(&[headers, &[BY_PINGORA]].concat())]
}

#[test]
fn upstream_and_client_are_told_the_same_on_both_ways() {
    let mut rig = Rig::start_with_one_worker();
    rig.set_limits(Limits { per_day: Some(1_000), per_second: Some(1_000), concurrent: Some(9), ..Limits::UNLIMITED });
    let key = bearer(1);
    let odd = ["X-Clearway-Plan: forged", "x_request_id: forged", "Connection: keep-alive, X-Gone", "X-Gone: 1", "X-KEPT: a  b"];
    for (method, path, headers, body) in [
        ("GET", "/svc/a?q=%41", vec![key.as_str()], ""),
        ("GET", "/svc/%7Ea", [&[key.as_str()], &odd[..]].concat(), ""),
        ("GET", "http://api.example.com/stripped/a", vec![&key], ""),
        ("GET", "/kept/a", vec![&key, "Cookie: a=b", "Accept: a", "Accept: b"], ""),
        ("GET", "/api/v1/keys", vec![&key], ""),
        ("GET", "/svc/hops", vec![&key], ""),
        ("GET", "/svc/chunked", vec![&key], ""),
        ("HEAD", "/svc/a", vec![&key], ""),
        ("POST", "/svc/a", vec![&key, "Content-Length: 5"], "12345"),
        ("DELETE", "/svc/missing", vec![&key, "Connection: close"], ""),
    ] {
        let answers = both(&rig, method, path, &headers, body);
        let received = rig.upstream.received();
        let [.., short, long] = &received[..] else { panic!("two requests") };
        assert_eq!((told(short), short.target(), &short.body), (told(long), long.target(), &long.body), "{method} {path}");
        assert_eq!(said(&answers[0]), said(&answers[1]), "{method} {path}");
        assert_eq!(answers[0].body, answers[1].body, "{method} {path}");
    }
    assert_eq!(rig.upstream.connections(), 2, "each way keeps its own");
}

#[test]
fn refusals_and_failures_are_the_same_on_both_ways() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { per_day: Some(2), ..Limits::UNLIMITED });
    for path in ["/svc/hangup", "/svc/a", "/svc/.."] {
        for (method, body) in [("POST", "12345"), ("HEAD", "")] {
            let length = format!("Content-Length: {}", body.len());
            for headers in [vec![length.as_str()], vec![&length, &bearer(1)]] {
                let [short, long] = both(&rig, method, path, &headers, body);
                let without_connection = |answer: &Answer| {
                    let (status, headers) = said(answer);
                    (status, headers.into_iter().filter(|(name, _)| name != "connection").collect::<Vec<_>>())
                };
                assert_eq!(without_connection(&short), without_connection(&long), "{method} {path}");
                if method != "HEAD" {
                    assert_eq!(short.error(), long.error(), "{method} {path}");
                }
            }
        }
    }
    let [short, long] = both(&rig, "GET", "/posts/a", &[&bearer(1)], "");
    assert_eq!((short.header("allow"), said(&short)), (Some("POST"), said(&long)));
}

#[test]
fn one_connection_takes_both_ways_in_turn_and_loses_no_byte_between_them() {
    let rig = Rig::start();
    let key = bearer(1);
    let requests = [
        get("/svc/1", &[&key]),
        request("POST", "/svc/2", &[&key, CHUNKED], "3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"),
        request("POST", "/svc/3", &[&key, "Content-Length: 3"], "def"),
        request("POST", "/svc/4", &[&key, BY_PINGORA, "Content-Length: 3"], "ghi"),
        get("/svc/5", &[]),
        request("POST", "/svc/6", &[CHUNKED], "3\r\njkl\r\n0\r\n\r\n"),
        get("/svc/7", &[&key, BY_PINGORA]),
        get("/svc/8", &[&key]),
    ];
    let all = requests.concat();
    // In one piece, and in pieces that end anywhere.
    for step in [all.len(), 37, 1] {
        let before = rig.upstream.received().len();
        let mut client = rig.client();
        for piece in all.as_bytes().chunks(step) {
            client.send(piece);
        }
        for (request, status) in requests.iter().zip([200, 200, 200, 200, 401, 401, 200, 200]) {
            let answer = client.try_read().unwrap_or_else(|| panic!("no answer in steps of {step} to {request}"));
            assert_eq!(answer.status, status, "{step}: {request}");
        }
        let received = rig.upstream.received();
        let targets: Vec<_> = received[before..].iter().map(Received::target).collect();
        assert_eq!(targets, ["/svc/1", "/svc/2", "/svc/3", "/svc/4", "/svc/7", "/svc/8"], "{step}");
        assert_eq!((&received[before + 2].body[..], &received[before + 3].body[..]), (&b"def"[..], &b"ghi"[..]), "{step}");
    }
}

#[test]
fn a_route_that_is_not_plain_is_decided_once() {
    let upstream = Upstream::start();
    // The second address is never reached, and makes the upstream one that Pingora serves.
    let addresses = format!("\"http://{}\", \"https://127.0.0.1:1\"", upstream.address);
    let rig = Rig::start_with(upstream, &routes(&addresses), |_| {});
    let mut client = rig.client();
    client.send([get("/svc/a", &[&bearer(1)]), get("/svc/b", &[&bearer(1)])].concat());
    let first = client.read();
    assert_eq!(first.status, 200);
    let sent = rig.upstream.received()[0].clone();
    assert_eq!(sent.header("x-request-id"), [first.header("x-request-id").unwrap()]);
    // The other address is tried first for this one, and nothing listens there.
    assert_eq!(client.read().status, 200);
    assert_eq!(rig.counted(), 2);
    let lines = rig.log_until(|lines| lines.len() == 2);
    assert!(lines.iter().all(|line| line["admitted"] == true), "{lines:?}");
    eventually("nothing in flight", || (rig.metric("clearway_requests_in_flight") == 0.0).then_some(()));
}
