//! What is charged of requests whose bodies are read whole: nothing before they have passed.

use ::h2::Reason;
use bytes::Bytes;
use clearway_config::Limits;
use http::{Request, Version};

use crate::{
    client::Answer,
    h2::{self, connect, runtime},
    rig::{Rig, bearer, eventually, get, key, request},
    upstream::Upstream,
};

const JSON: &str = "Content-Type: application/json";
const ONE_AT_A_TIME: Limits = Limits { per_day: Some(3), concurrent: Some(1), ..Limits::UNLIMITED };

/// A body that stops coming is waited for no longer than this test can be.
fn rig() -> Rig {
    let upstream = Upstream::start();
    let routes = format!(
        r#"
[[upstreams]]
name = "up"
addresses = ["http://{}"]
[[policies]]
name = "strict"
request_json = {{ set = {{ "/by" = "{{account_id}}" }}, size_max = "1KiB", otherwise = "refuse" }}
[[policies]]
name = "small"
body_max = "100B"
[[routes]]
name = "strict"
path = "/strict"
upstream = "up"
auth = "key"
policies = ["strict"]
[[routes]]
name = "small"
path = "/small"
upstream = "up"
auth = "key"
policies = ["strict", "small"]
[[routes]]
name = "anonymous"
path = "/anonymous"
upstream = "up"
auth = ["anonymous"]
anonymous = {{ per_day = 3, concurrent = 1 }}
policies = ["strict"]
"#,
        upstream.address
    );
    let mut rig = Rig::start_with(upstream, &routes, |settings| {
        settings.gateway.limits.rate_min = "1GiB".parse().unwrap();
        settings.gateway.limits.rate_grace = std::time::Duration::from_millis(500);
    });
    rig.set_limits(ONE_AT_A_TIME);
    rig
}

/// Requests that are refused for their bodies, and how.
fn refused() -> Vec<(&'static str, Vec<&'static str>, String, u16, &'static str)> {
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024));
    let longer = format!(r#"{{"a":"{}"}}"#, "x".repeat(100));
    vec![
        ("/strict/x", vec![JSON], "{".into(), 400, "malformed_body"),
        ("/strict/x", vec![JSON], r#"{"a":1,"a":2}"#.into(), 400, "malformed_body"),
        ("/strict/x", vec![JSON], "[]".into(), 400, "malformed_body"),
        ("/strict/x", vec![JSON], long, 413, "body_too_large"),
        ("/small/x", vec![JSON], longer, 413, "body_too_large"),
        ("/strict/x", vec![], "{}".into(), 415, "unsupported_media_type"),
        ("/strict/x", vec!["Content-Type: text/plain"], "{}".into(), 415, "unsupported_media_type"),
        ("/strict/x", vec![JSON, "Content-Encoding: gzip"], "{}".into(), 415, "unsupported_encoding"),
    ]
}

/// All three of the day are left, and nobody has the one place.
fn nothing_was_charged(rig: &Rig) {
    assert_eq!((rig.counted(), rig.upstream.received().len()), (0, 0));
    let body = r#"{"a":1}"#;
    let length = format!("Content-Length: {}", body.len());
    for remaining in ["2", "1", "0"] {
        let answer = rig.ask(request("POST", "/strict/x", &[JSON, &bearer(1), &length], body));
        assert_eq!((answer.status, answer.header("x-ratelimit-remaining")), (200, Some(remaining)));
    }
    assert_eq!(rig.counted(), 3);
    assert!(rig.upstream.last().body.starts_with(br#"{"a":1,"by":"#));
}

fn chunked(path: &str, headers: &[&str], body: &str) -> String {
    let headers: Vec<&str> = headers.iter().copied().chain(["Transfer-Encoding: chunked"]).collect();
    request("POST", path, &headers, &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
}

#[test]
fn a_request_that_is_refused_for_its_body_costs_nothing() {
    let rig = rig();
    for (path, headers, body, status, code) in refused() {
        let (auth, length) = (bearer(1), format!("Content-Length: {}", body.len()));
        let with = |last| [headers.clone(), vec![auth.as_str()], last].concat();
        for sent in [request("POST", path, &with(vec![&length]), &body), chunked(path, &with(vec![]), &body)] {
            let answer = rig.ask(sent);
            assert_eq!((answer.status, answer.error().as_str()), (status, code), "{path} {headers:?}");
            assert_eq!(answer.header("x-ratelimit-remaining"), None, "nothing was looked at for good");
        }
    }
    nothing_was_charged(&rig);
    let lines = rig.log_until(|lines| lines.len() == 19);
    let refused = lines.iter().filter(|line| line["status"] != 200);
    assert!(refused.clone().all(|line| line["admitted"] == false) && refused.count() == 16);
}

#[test]
fn over_http_2_it_costs_nothing_either() {
    let rig = rig();
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let post = |path: &str, headers: &[&str]| {
            let mut request = Request::builder().version(Version::HTTP_2).method("POST").header("x-api-key", key(1));
            for (name, value) in headers.iter().filter_map(|line| line.split_once(": ")) {
                request = request.header(name.to_ascii_lowercase(), value);
            }
            request.uri(format!("http://api.example.com{path}")).body(()).unwrap()
        };
        for (path, headers, body, status, _) in refused() {
            let mut send = send.clone().ready().await.unwrap();
            let (answer, mut stream) = send.send_request(post(path, &headers), false).unwrap();
            stream.send_data(Bytes::from(body), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), status, "{path} {headers:?}");
        }
        let (answer, mut slow) = send.clone().ready().await.unwrap().send_request(post("/strict/x", &[JSON]), false).unwrap();
        slow.send_data(Bytes::from("{"), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), 408);
        let stranger = || h2::ask(&send, h2::request("/strict/x", &[]));
        let (_, mut gone) = send.clone().ready().await.unwrap().send_request(post("/strict/x", &[JSON]), false).unwrap();
        gone.send_data(Bytes::from("{"), false).unwrap();
        // What was sent before it has arrived once it is answered.
        assert_eq!(stranger().await.0, 401);
        gone.send_reset(Reason::CANCEL);
        assert_eq!(stranger().await.0, 401);
    });
    rig.log_until(|lines| lines.len() == refused().len() + 4);
    nothing_was_charged(&rig);
}

#[test]
fn a_body_that_stops_coming_costs_nothing_and_takes_no_place_meanwhile() {
    let rig = rig();
    let mut waiting = rig.client();
    waiting.send(request("POST", "/strict/x", &[JSON, &bearer(1), "Content-Length: 10"], "{"));
    let mut leaving = rig.client();
    leaving.send(request("POST", "/strict/x", &[JSON, &bearer(1), "Content-Length: 10"], "{"));
    leaving.leave();
    let answer = waiting.read();
    assert_eq!((answer.status, answer.error().as_str()), (408, "request_timeout"));
    rig.log_until(|lines| lines.len() == 2);
    nothing_was_charged(&rig);
}

#[test]
fn a_limit_that_is_met_already_is_said_before_the_body_is_asked_for() {
    let mut rig = rig();
    let ask = |rig: &Rig, path: &str, auth: &str| -> Answer {
        let headers = [JSON, "Content-Length: 1000000", "Expect: 100-continue", auth];
        rig.ask(request("POST", path, &headers[..if auth.is_empty() { 3 } else { 4 }], ""))
    };
    rig.set_limits(Limits { per_day: Some(1), ..Limits::UNLIMITED });
    assert_eq!(rig.ask(get("/strict/x", &[&bearer(1)])).status, 200);
    let met = ask(&rig, "/strict/x", &bearer(1));
    assert_eq!((met.status, met.error().as_str(), met.header("x-ratelimit-remaining")), (429, "quota_exceeded", Some("0")));
    assert_eq!(ask(&rig, "/strict/x", &bearer(9)).status, 401, "nor is a stranger's");
    rig.set_limits(ONE_AT_A_TIME);
    assert_eq!(ask(&rig, "/strict/x", &bearer(1)).error(), "body_too_large");
    for _ in 0..3 {
        assert_eq!(rig.ask(get("/anonymous/x", &[])).status, 200);
    }
    assert_eq!(ask(&rig, "/anonymous/x", "").error(), "quota_exceeded");
    assert_eq!(rig.counted(), 1);
}

#[test]
fn a_limit_that_is_met_while_the_body_comes_refuses_it_and_its_place_is_given_back() {
    let mut rig = rig();
    rig.set_limits(Limits { per_day: Some(1), concurrent: Some(1), ..Limits::UNLIMITED });
    let mut slow = rig.client();
    slow.send(request("POST", "/strict/x", &[JSON, &bearer(1), "Content-Length: 2", "Expect: 100-continue"], ""));
    slow.read_bytes(25);
    assert_eq!(rig.ask(get("/strict/x", &[&bearer(1)])).status, 200);
    slow.send("{}");
    let answer = slow.read();
    assert_eq!((answer.status, answer.error().as_str()), (429, "quota_exceeded"));
    assert_eq!((rig.counted(), rig.upstream.received().len()), (1, 1));
    eventually("all places", || (rig.proxy().ledger().in_flight() == 0).then_some(()));
}

#[test]
fn what_is_refused_of_an_anonymous_request_is_not_counted_for_its_address() {
    let rig = rig();
    for (_, headers, body, status, _) in refused().into_iter().filter(|(path, ..)| *path == "/strict/x") {
        assert_eq!(rig.ask(chunked("/anonymous/x", &headers, &body)).status, status);
    }
    for status in [200, 200, 200, 429] {
        assert_eq!(rig.ask(chunked("/anonymous/x", &[JSON], "{}")).status, status);
    }
}
