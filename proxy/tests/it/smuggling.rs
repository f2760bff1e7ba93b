//! Requests that two servers could read differently: 400 from here, and nothing upstream.

use crate::rig::{Rig, bearer, get};

/// Each with a valid key, so that nothing but the ambiguity can be the reason.
fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let key = bearer(1);
    let text = |what, head: &str| (what, head.replace("KEY", &key).into_bytes());
    vec![
        text(
            "length and chunks",
            "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        text(
            "chunks and length",
            "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 4\r\n\r\n0\r\n\r\n",
        ),
        text("two lengths", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        text("two lengths alike", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
        text("a list of lengths", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nContent-Length: 1, 1\r\n\r\na"),
        text("a signed length", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nContent-Length: +1\r\n\r\na"),
        text("another coding", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        text("an unknown coding", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        text(
            "two codings",
            "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        text("chunks in HTTP/1.0", "POST /svc/a HTTP/1.0\r\nHost: x\r\nKEY\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        text("an alias of a length", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nContent_Length: 4\r\n\r\n"),
        text("space before the colon", "POST /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        text("two hosts", "GET /svc/a HTTP/1.1\r\nHost: x\r\nHost: y\r\nKEY\r\n\r\n"),
        text("no host", "GET /svc/a HTTP/1.1\r\nKEY\r\n\r\n"),
        text("host beside the target", "GET http://y/svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("a user in the host", "GET /svc/a HTTP/1.1\r\nHost: a@x\r\nKEY\r\n\r\n"),
        text("a continued line", "GET /svc/a HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nKEY\r\n\r\n"),
        text("a bare line feed", "GET /svc/a HTTP/1.1\r\nHost: x\nKEY\r\n\r\n"),
        text("dots", "GET /svc/../open HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("encoded dots", "GET /svc/%2e%2E/open HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("an encoded slash", "GET /svc/a%2fb HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("an encoded backslash", "GET /svc/a%5Cb HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("a backslash", "GET /svc\\..\\open HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("two slashes", "GET //svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("an encoded zero", "GET /svc/a%00 HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("a broken escape", "GET /svc/a%2 HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("a fragment", "GET /svc/a#/../open HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("bytes that are not ASCII", "GET /svc/ä HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("not a path", "GET svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("the server itself", "OPTIONS * HTTP/1.1\r\nHost: x\r\nKEY\r\n\r\n"),
        text("two Authorization headers", "GET /svc/a HTTP/1.1\r\nHost: x\r\nKEY\r\nKEY\r\n\r\n"),
        text("a nominated Host", "GET /svc/a HTTP/1.1\r\nHost: x\r\nConnection: host\r\nKEY\r\n\r\n"),
        text("not HTTP", "hello\r\n\r\n"),
        text("half of another protocol's preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
        ("bytes that are not UTF-8", [b"GET /svc/\xff HTTP/1.1\r\nHost: x\r\n", key.as_bytes(), b"\r\n\r\n"].concat()),
        ("a zero in a header", [b"GET /svc/a HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n", key.as_bytes(), b"\r\n\r\n"].concat()),
    ]
}

#[test]
fn what_can_be_read_in_two_ways_gets_400_and_nothing_goes_upstream() {
    let rig = Rig::start();
    for (what, bytes) in corpus() {
        let mut client = rig.client();
        client.try_send(&bytes);
        let answer = client.try_read().unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!((answer.status, answer.error().as_str()), (400, "ambiguous_request"), "{what}");
        assert_eq!(answer.header("connection"), Some("close"), "{what}");
        client.try_send(get("/open/after", &[]).as_bytes());
        assert!(client.try_read().is_none(), "{what}: nothing more is read from such a connection");
    }
    assert!(rig.upstream.received().is_empty(), "{:?}", rig.upstream.received());
}

#[test]
fn connect_is_not_proxied() {
    let rig = Rig::start();
    let answer = rig.ask("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    assert_eq!((answer.status, answer.error().as_str()), (405, "method_not_allowed"));
}

#[test]
fn a_refused_requests_body_is_never_taken_for_a_request() {
    let rig = Rig::start();
    let smuggled = get("/open/smuggled", &[]);
    let mut client = rig.client();
    client.send(format!("POST /svc/a HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()));
    assert_eq!(client.read().error(), "key_missing");
    client.send(get("/open/next", &[]));
    assert_eq!(client.read().status, 200);
    assert_eq!(rig.upstream.received().len(), 1);
    assert_eq!(rig.upstream.last().target(), "/open/next");
}

#[test]
fn a_refused_request_with_a_long_body_gets_its_answer_and_the_connection_ends() {
    let rig = Rig::start();
    let body = vec![b'x'; 300_000];
    let mut client = rig.client();
    client.send(format!("POST /svc/a HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.try_send(&body);
    let answer = client.read();
    assert_eq!((answer.error().as_str(), answer.header("connection")), ("key_missing", Some("close")));
    assert!(rig.upstream.received().is_empty());
}

#[test]
fn pipelined_requests_are_each_decided_and_answered_in_order() {
    let rig = Rig::start();
    let mut client = rig.client();
    client.send([get("/svc/a", &[&bearer(1)]), get("/svc/b", &[]), get("/open/c", &[])].concat());
    assert_eq!(client.read().status, 200);
    assert_eq!(client.read().error(), "key_missing");
    assert_eq!(client.read().status, 200);
    let targets: Vec<_> = rig.upstream.received().iter().map(|r| r.target().to_owned()).collect();
    assert_eq!(targets, ["/svc/a", "/open/c"]);
}
