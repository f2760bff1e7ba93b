//! HTTP/2: what clients may do over it, and what they may not do to it.

use std::{io::Write as _, net::SocketAddr, time::Duration};

use bytes::Bytes;
use clearway_config::Limits;
use h2::{Reason, client};
use http::{HeaderMap, Method, Request, Version};
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream, runtime::Runtime};

use crate::{
    curl::curl,
    rig::{Rig, bearer, key, routes},
    upstream::{DEADLINE, Upstream},
};

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A connection, and what it ends with.
pub(crate) async fn connect(to: SocketAddr) -> (client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(to).await.unwrap();
    let (send, connection) = client::handshake(stream).await.unwrap();
    (send, tokio::spawn(connection))
}

pub(crate) fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().version(Version::HTTP_2).uri(format!("http://api.example.com{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Status, body and trailers.
pub(crate) async fn ask(send: &client::SendRequest<Bytes>, request: Request<()>) -> (u16, HeaderMap, Vec<u8>, Option<HeaderMap>) {
    let mut send = send.clone().ready().await.unwrap();
    let (answer, _) = send.send_request(request, true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        bytes.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    (head.status.as_u16(), head.headers, bytes, body.trailers().await.unwrap())
}

/// Ends when the connection has, and says by which code.
async fn end(connection: tokio::task::JoinHandle<Result<(), h2::Error>>) -> Option<Reason> {
    let ended = tokio::time::timeout(DEADLINE, connection).await.expect("the connection ends").unwrap();
    ended.err().and_then(|e| e.reason())
}

#[test]
fn http_2_is_served_in_clear_to_those_who_know_and_not_to_those_who_ask() {
    let rig = Rig::start();
    let auth = bearer(1);
    let got = curl(rig.proxy().gateway(), "http://api.example.com/svc/x", &["--http2-prior-knowledge", "-H", &auth]);
    assert_eq!((got.status, got.version.as_str(), got.body.as_str()), (200, "2", "hello"), "{got:?}");
    let upgrade = curl(rig.proxy().gateway(), "http://api.example.com/svc/x", &["--http2", "-H", &auth]);
    assert_eq!((upgrade.status, upgrade.version.as_str()), (200, "1.1"), "an Upgrade to it is a header like any other");
    assert_eq!(rig.upstream.last().header("upgrade"), [""; 0]);
    assert_eq!(rig.counted(), 2);
}

#[test]
fn many_requests_share_a_connection_and_each_is_decided_by_itself() {
    let rig = Rig::start();
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let key = key(1);
        for n in 0..50 {
            let headers: &[_] = if n % 2 == 0 { &[("x-api-key", key.as_str())] } else { &[] };
            let (status, headers, body, _) = ask(&send, request("/svc/x", headers)).await;
            assert_eq!(status, if n % 2 == 0 { 200 } else { 401 }, "{}", String::from_utf8_lossy(&body));
            assert!(headers.contains_key("x-request-id"));
        }
    });
    assert_eq!(rig.counted(), 25);
    rig.log_until(|lines| lines.len() == 50);
}

#[test]
fn cookies_that_came_one_by_one_reach_an_http_1_upstream_as_one() {
    let rig = Rig::start();
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let headers = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3"), ("te", "trailers")];
        assert_eq!(ask(&send, request("/open/x", &headers)).await.0, 200);
    });
    let received = rig.upstream.last();
    assert_eq!(received.header("cookie"), ["a=1; b=2; c=3"]);
    assert_eq!((received.header("te"), received.header("host")), (vec![], vec!["api.example.com"]));
}

#[test]
fn an_answer_that_its_upstream_breaks_off_is_not_taken_for_the_whole() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("\"http://{}\"", listener.local_addr().unwrap());
    let (seen, half_is_seen) = std::sync::mpsc::channel();
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").unwrap();
        // What it was sent is unread: the connection is reset, not closed.
        half_is_seen.recv().unwrap();
    });
    let rig = Rig::start_with(Upstream::start(), &routes(&address), |_| {});
    runtime().block_on(async {
        let (send, _) = connect(rig.proxy().gateway()).await;
        let request = request("/svc/a", &[("x-api-key", &key(1))]);
        let (answer, _) = send.ready().await.unwrap().send_request(request, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        seen.send(()).unwrap();
        let end = body.data().await.expect("more than an end").unwrap_err();
        assert!(end.is_reset(), "{end}");
    });
    upstream.join().unwrap();
}

#[test]
fn a_refused_call_gets_a_grpc_status() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { per_day: Some(1), ..Limits::UNLIMITED });
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let key = key(1);
        let call = |path: &str, key: Option<&str>| {
            let mut headers = vec![("content-type", "application/grpc+proto"), ("te", "trailers")];
            headers.extend(key.map(|key| ("x-api-key", key)));
            let mut request = request(path, &headers);
            *request.method_mut() = Method::POST;
            request
        };
        assert_eq!(ask(&send, request("/svc/x", &[("x-api-key", &key)])).await.0, 200, "the day's one request");
        for (path, key, expected) in [("/svc/x", None, "16"), ("/nowhere", None, "12"), ("/svc/x", Some(key.as_str()), "8")] {
            let (status, headers, body, trailers) = ask(&send, call(path, key)).await;
            let trailers = trailers.expect("trailers");
            assert_eq!((status, trailers["grpc-status"].to_str().unwrap()), (200, expected), "{trailers:?}");
            assert_eq!((headers["content-type"].as_bytes(), body.len()), (&b"application/grpc"[..], 0));
        }
    });
    let lines = rig.log_until(|lines| lines.len() == 4);
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 401, 404, 429], "the log says what it was");
}

#[test]
fn a_request_that_names_two_hosts_is_refused_and_its_neighbours_are_not() {
    let rig = Rig::start();
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let (status, ..) = ask(&send, request("/open/x", &[("host", "other.example.com")])).await;
        assert_eq!(status, 400);
        assert_eq!(ask(&send, request("/open/x", &[("host", "api.example.com")])).await.0, 200);
        assert_eq!(ask(&send, request("/open/%2e%2e/svc/x", &[])).await.0, 400);
    });
    assert_eq!(rig.upstream.received().len(), 1);
}

#[test]
fn headers_beyond_the_limit_are_refused_without_being_kept() {
    let rig = Rig::start();
    runtime().block_on(async {
        let (send, connection) = connect(rig.proxy().gateway()).await;
        let mut send = send.ready().await.unwrap();
        let large = "x".repeat(16_000);
        let headers: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| (*name, large.as_str())).collect();
        let refused = match send.send_request(request("/open/x", &headers), true) {
            Ok((answer, _)) => answer.await.map(|answer| answer.status().as_u16()),
            Err(e) => Err(e),
        };
        assert!(!matches!(refused, Ok(200)), "{refused:?}");
        drop(send);
        let _ = end(connection).await;
    });
    assert_eq!(rig.upstream.received().len(), 0);
}

#[test]
fn a_client_that_only_opens_and_resets_is_shown_the_door() {
    let rig = Rig::start();
    runtime().block_on(async {
        let (send, connection) = connect(rig.proxy().gateway()).await;
        let mut send = send.ready().await.unwrap();
        // Each is taken up, and given up before the upstream has answered.
        let mut ended = connection;
        let reason = loop {
            let Ok(ready) = send.clone().ready().await else { break end(ended).await };
            send = ready;
            if let Ok((_, mut stream)) = send.send_request(request("/open/never", &[]), false) {
                tokio::task::yield_now().await;
                stream.send_reset(Reason::CANCEL);
            }
            if let Ok(done) = tokio::time::timeout(Duration::from_millis(1), &mut ended).await {
                break done.unwrap().err().and_then(|e| e.reason());
            }
        };
        assert_eq!(reason, Some(Reason::ENHANCE_YOUR_CALM));
        // Others are served.
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        assert_eq!(ask(&send, request("/open/x", &[])).await.0, 200);
    });
}

#[test]
fn a_head_that_never_ends_is_not_read_for_ever() {
    let rig = Rig::start();
    runtime().block_on(async {
        let mut stream = TcpStream::connect(rig.proxy().gateway()).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
        // HEADERS on stream 1 without END_HEADERS, then CONTINUATION without end: a literal header each.
        let fragment = [&[0x00, 0x01, b'x', 0x7f, 0x80, 0x01][..], &[b'y'; 255]].concat();
        let mut sent = frame(1, 1, &fragment);
        let frames = 20_000;
        for _ in 0..frames {
            sent.extend_from_slice(&frame(9, 1, &fragment));
        }
        let (mut reader, mut writer) = stream.split();
        let write = writer.write_all(&sent);
        let read = async {
            let mut all = Vec::new();
            let _ = reader.read_to_end(&mut all).await;
            all
        };
        let both = async { tokio::join!(write, read) };
        let (_, answer) = tokio::time::timeout(DEADLINE, both).await.expect("the gateway ends it");
        assert!(has_goaway(&answer), "{answer:?}");
    });
}

fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, 0, 0, 0, 0, stream], payload].concat()
}

fn has_goaway(mut bytes: &[u8]) -> bool {
    while let [a, b, c, kind, rest @ ..] = bytes {
        if *kind == 7 {
            return true;
        }
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(5 + length..).unwrap_or_default();
    }
    false
}

#[test]
fn a_drain_says_farewell_and_lets_requests_end() {
    let mut rig = Rig::start();
    runtime().block_on(async {
        let (send, connection) = connect(rig.proxy().gateway()).await;
        let mut send = send.ready().await.unwrap();
        let (answer, _) = send.send_request(request("/open/slow", &[]), true).unwrap();
        let upstream = rig.upstream.clone();
        tokio::task::spawn_blocking(move || upstream.wait_for_requests(1)).await.unwrap();
        let proxy = rig.take();
        let stopped = tokio::task::spawn_blocking(move || proxy.stop());
        // No further request is taken once the farewell is here; the one that is being served goes on.
        let refused = async {
            loop {
                match send.clone().ready().await {
                    Ok(mut ready) => match ready.send_request(request("/open/x", &[]), true) {
                        Ok((answer, _)) => {
                            if answer.await.is_err() {
                                return;
                            }
                        }
                        Err(_) => return,
                    },
                    Err(_) => return,
                }
            }
        };
        tokio::time::timeout(DEADLINE, refused).await.expect("a farewell");
        rig.upstream.release();
        assert_eq!(answer.await.unwrap().status(), 200);
        assert_eq!(end(connection).await, None, "it ends without an error");
        assert_eq!(stopped.await.unwrap().connections_cut, 0);
    });
}
