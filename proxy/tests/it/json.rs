//! JSON bodies, changed on the way up and on the way back.

use bytes::Bytes;
use http::{Request, Version};

use crate::{
    client::Answer,
    h2::{connect, runtime},
    rig::{ACCOUNT, Rig, bearer, get, key, request},
    routing::rig_with,
};

fn rig() -> Rig {
    rig_with(
        r#"
[[policies]]
name = "up"
request_json = { remove = ["/internal"], rename = { "/customer/no" = "number" }, set = { "/tenant" = "{account_id}" }, add = { "/limit" = 100 } }
[[policies]]
name = "strict"
request_json = { set = { "/tenant" = "{account_id}" }, size_max = "256KiB", otherwise = "refuse" }
[[policies]]
name = "down"
response_json = { remove = ["/secret"], set = { "/for" = "{account_id}" }, size_max = "1KiB" }
[[policies]]
name = "down-or-pass"
response_json = { remove = ["/secret"], size_max = "1KiB", otherwise = "pass" }

[[routes]]
name = "up"
path = "/up"
upstream = "up"
auth = "key"
policies = ["up"]
[[routes]]
name = "strict"
path = "/strict"
upstream = "up"
auth = "key"
policies = ["strict"]
[[routes]]
name = "down"
path = "/down"
upstream = "up"
auth = "key"
policies = ["down"]
[[routes]]
name = "pass"
path = "/pass"
upstream = "up"
auth = "key"
policies = ["down-or-pass"]
"#,
        None,
    )
}

fn post(rig: &Rig, path: &str, headers: &[&str], body: &str) -> Answer {
    let length = format!("Content-Length: {}", body.len());
    let auth = bearer(1);
    let headers: Vec<&str> = headers.iter().copied().chain([auth.as_str(), &length]).collect();
    rig.ask(request("POST", path, &headers, body))
}

const JSON: &str = "Content-Type: application/json";

fn answered(rig: &Rig, path: &str, head: &str, body: &str) -> Answer {
    rig.upstream.script(format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()), false);
    rig.get(&format!("{path}/scripted"))
}

#[test]
fn an_upstream_is_sent_the_changed_body_with_its_length_and_no_digest_of_the_old_one() {
    let rig = rig();
    let body = r#"{"internal":1, "customer":{"no":12345678901234567890.10}, "tenant":"mine"}"#;
    let mut client = rig.client();
    let length = format!("Content-Length: {}", body.len());
    let headers = [JSON, "Content-Digest: sha-256=:AAAA:", "Expect: 100-continue", &bearer(1), &length];
    client.send(request("POST", "/up/x", &headers, ""));
    let asked = b"HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(client.read_bytes(asked.len()), asked);
    client.send(body);
    assert_eq!(client.read().status, 200);
    let got = rig.upstream.last();
    let sent = format!(r#"{{"customer":{{"number":12345678901234567890.10}},"tenant":"{ACCOUNT}","limit":100}}"#);
    assert_eq!(String::from_utf8(got.body.clone()).unwrap(), sent);
    assert_eq!(got.header("content-length"), [sent.len().to_string()]);
    assert!(
        got.header("content-digest").is_empty() && got.header("transfer-encoding").is_empty() && got.header("expect").is_empty()
    );
}

#[test]
fn a_connection_goes_on_behind_a_long_body_in_chunks() {
    let rig = rig();
    let mut client = rig.client();
    for size in [10, 70_000, 200_000] {
        let filler = "x".repeat(size);
        let body = format!(r#"{{"filler":"{filler}"}}"#);
        let (one, two) = body.split_at(body.len() / 2);
        let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
        client.send(request("POST", "/strict/x", &[JSON, &bearer(1), "Transfer-Encoding: chunked"], &chunks));
        let answer = client.read();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
        let got = rig.upstream.last();
        assert_eq!(got.body.len(), body.len() + format!(r#","tenant":"{ACCOUNT}""#).len());
    }
}

#[test]
fn what_cannot_be_changed_is_refused_before_an_upstream_hears_of_it() {
    let rig = rig();
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(256 * 1024));
    for (headers, body, status, code) in [
        (&[JSON][..], "{", 400, "malformed_body"),
        (&[JSON], r#"{"a":1,"a":2}"#, 400, "malformed_body"),
        (&[JSON], "[]", 400, "malformed_body"),
        (&[JSON], &long, 413, "body_too_large"),
        (&["Content-Type: text/plain"], "{}", 415, "unsupported_media_type"),
        (&[], "{}", 415, "unsupported_media_type"),
        (&[JSON, "Content-Encoding: gzip"], "{}", 415, "unsupported_encoding"),
    ] {
        let answer = post(&rig, "/strict/x", headers, body);
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "{headers:?} {}", &body[..body.len().min(20)]);
    }
    let chunks = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let answer = rig.ask(request("POST", "/strict/x", &[JSON, &bearer(1), "Transfer-Encoding: chunked"], &chunks));
    assert_eq!(answer.error(), "body_too_large", "counted, where no length is said");
    assert_eq!(
        post(&rig, "/strict/x", &[JSON], r#"{"a":1,"\u0061":2}"#).json()["error"]["details"]["reason"],
        "has a name twice in one object"
    );
    assert_eq!(rig.upstream.received().len(), 0);
    assert_eq!(post(&rig, "/up/x", &["Content-Type: text/plain"], "{").status, 200, "other types pass unless said");
    assert_eq!(rig.upstream.last().body, b"{");
    assert_eq!(rig.get("/strict/x").status, 200, "no body, nothing to change");
}

#[test]
fn a_client_is_sent_the_changed_answer_whole_and_with_its_length() {
    let rig = rig();
    let head = "Content-Type: application/problem+json; charset=utf-8\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\nContent-Digest: sha-256=:AAAA:";
    let answer = answered(&rig, "/down", head, r#"{"secret":"s","n":1.10}"#);
    let body = format!(r#"{{"n":1.10,"for":"{ACCOUNT}"}}"#);
    assert_eq!((answer.status, String::from_utf8(answer.body.clone()).unwrap()), (200, body.clone()));
    assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(
        (answer.header("etag"), answer.header("accept-ranges"), answer.header("content-digest")),
        (Some("W/\"v1\""), None, None)
    );
    let got = rig.upstream.last();
    assert_eq!(got.header("accept-encoding"), ["identity"]);

    rig.upstream.script(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n3\r\n12}\r\n0\r\n\r\n",
        false,
    );
    let answer = rig.get("/pass/scripted");
    assert_eq!((answer.header("content-length"), answer.body.as_slice()), (Some("8"), &b"{\"a\":12}"[..]));
}

#[test]
fn an_answer_that_cannot_be_changed_is_a_502_or_passes_as_its_route_says() {
    let rig = rig();
    let json = "Content-Type: application/json";
    let long = format!(r#"{{"secret":"{}"}}"#, "x".repeat(2000));
    for (head, body) in [
        (json.to_owned(), "{\"secret\":1,"),
        (json.to_owned(), r#"{"secret":1,"secret":2}"#),
        (json.to_owned(), long.as_str()),
        (format!("{json}\r\nContent-Encoding: gzip"), "zzzz"),
    ] {
        let answer = answered(&rig, "/down", &head, body);
        assert_eq!((answer.status, answer.error().as_str()), (502, "upstream_body_unusable"), "{body}");
        let answer = answered(&rig, "/pass", &head, body);
        assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_bytes()));
    }
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    rig.upstream.script(chunked, false);
    assert_eq!(rig.get("/down/scripted").error(), "upstream_body_unusable");
    assert_eq!(rig.get("/pass/scripted").chunks(), long.as_bytes());
    rig.upstream.script("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"secret\":", true);
    let broken = rig.get("/down/scripted");
    assert_eq!((broken.status, broken.error().as_str()), (502, "upstream_unreachable"), "half of it is nothing");
    assert_eq!(rig.get("/down/x").body, b"hello", "another type is not looked at");
}

#[test]
fn over_http_2_bodies_are_changed_alike() {
    let rig = rig();
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        for size in [10, 150_000] {
            let body = format!(r#"{{"filler":"{}"}}"#, "x".repeat(size));
            let request = Request::builder()
                .version(Version::HTTP_2)
                .method("POST")
                .uri("http://api.example.com/strict/x")
                .header("content-type", "application/json")
                .header("x-api-key", key(1))
                .body(())
                .unwrap();
            let mut send = send.clone().ready().await.unwrap();
            let (answer, mut stream) = send.send_request(request, false).unwrap();
            let mut rest = Bytes::from(body.clone());
            while !rest.is_empty() {
                stream.reserve_capacity(rest.len());
                let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
                stream.send_data(rest.split_to(room.min(rest.len())), false).unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
            assert!(rig.upstream.last().body.ends_with(format!(r#","tenant":"{ACCOUNT}"}}"#).as_bytes()));
        }
    });
    let get = get("/down/x", &[]);
    assert_eq!(rig.ask(get).status, 401);
}
