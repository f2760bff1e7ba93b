//! Requests that come by HTTP/2 and go on as bytes: the upstream and the client are told what they are told by
//! HTTP/1.1, and answers end where they end.

use clearway_config::Limits;
use h2::{Reason, client::SendRequest};
use http::{HeaderMap, Method};

use crate::{
    h2::{ask, connect, request, runtime},
    rig::{Rig, bearer, eventually, key, request as by_http_1, routes},
    upstream::{DEADLINE, Received, Upstream},
};

/// Without what differs from request to request.
fn told(request: &Received) -> Vec<(String, String)> {
    let lines = request.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let lines = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut told: Vec<_> = lines.filter(|(name, _)| !["x-request-id", "traceparent"].contains(&name.as_str())).collect();
    told.sort();
    told
}

/// Without what differs from request to request, and what belongs to a connection of HTTP/1.1.
fn said<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Vec<(String, String)> {
    const OTHERS: [&str; 7] =
        ["x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "date", "connection", "transfer-encoding"];
    let fields =
        headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned()));
    let mut said: Vec<_> = fields.filter(|(name, _)| !OTHERS.contains(&name.as_str())).collect();
    said.sort();
    said
}

fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

#[test]
fn upstream_and_client_are_told_the_same_by_either_protocol() {
    let mut rig = Rig::start_with_one_worker();
    rig.set_limits(Limits { per_day: Some(1_000), per_second: Some(1_000), concurrent: Some(9), ..Limits::UNLIMITED });
    let key = bearer(1);
    let bearer = key.split_once(": ").unwrap().1.to_owned();
    for (method, path, headers) in [
        ("GET", "/svc/a?q=%41", vec![]),
        ("GET", "/svc/%7Ea", vec![("x-clearway-plan", "forged"), ("x_request_id", "forged"), ("x-kept", "a  b")]),
        ("GET", "/stripped/a", vec![]),
        ("GET", "/kept/a", vec![("cookie", "a=b"), ("accept", "a"), ("accept", "b")]),
        ("GET", "/svc/hops", vec![]),
        ("GET", "/svc/chunked", vec![]),
        ("GET", "/svc/missing", vec![]),
        ("HEAD", "/svc/a", vec![]),
        ("POST", "/svc/a", vec![]),
        ("GET", "/nowhere", vec![]),
        ("PUT", "/posts/a", vec![]),
    ] {
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let length = (method == "POST").then_some("Content-Length: 0");
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain([key.as_str()]).chain(length).collect();
        let mut client = rig.client();
        client.send(by_http_1(method, path, &lines, ""));
        let by_1 = if method == "HEAD" { client.read_head_only() } else { client.read() };
        let upstream_saw = rig.upstream.received().len();
        let (status, by_2, body, trailers) = runtime().block_on(async {
            let (send, _connection) = connect(rig.proxy().gateway()).await;
            let headers: Vec<_> = headers.iter().copied().chain([("authorization", bearer.as_str())]).collect();
            let mut request = request(path, &headers);
            *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
            ask(&send, request).await
        });
        let body_1 = if path.ends_with("chunked") { b"abc".to_vec() } else { by_1.body.clone() };
        assert_eq!((status, trailers), (by_1.status, None), "{method} {path}");
        let headers_1 = by_1.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        assert_eq!(said(fields(&by_2)), said(headers_1), "{method} {path}");
        if by_1.status < 400 || path.ends_with("missing") {
            assert_eq!(body, body_1, "{method} {path}");
            let received = rig.upstream.received();
            let [.., first, second] = &received[..] else { panic!("two requests") };
            assert_eq!((told(first), first.target()), (told(second), second.target()), "{method} {path}");
        } else {
            assert_eq!(rig.upstream.received().len(), upstream_saw, "{method} {path}");
        }
    }
    assert_eq!(rig.upstream.connections(), 1, "both protocols share what waits for its next request");
}

#[test]
fn an_answer_is_whole_or_the_stream_is_reset() {
    let rig = Rig::start();
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let key = key(1);
        let get = async |send: &SendRequest<bytes::Bytes>| ask(send, request("/svc/scripted", &[("x-api-key", &key)])).await;
        for (answer, close, body) in [
            ("HTTP/1.1 200 OK\r\n\r\nto the end", true, "to the end"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, ""),
            ("HTTP/1.1 204 No Content\r\n\r\n", false, ""),
            ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "ok"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n", false, "abc"),
        ] {
            rig.upstream.script(answer, close);
            let (status, headers, got, trailers) = get(&send).await;
            assert_eq!((String::from_utf8(got).unwrap().as_str(), trailers), (body, None), "{answer}");
            assert!(matches!(status, 200 | 204) && !headers.contains_key("transfer-encoding"), "{answer}");
        }
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        ] {
            rig.upstream.script(answer, true);
            let mut ready = send.clone().ready().await.unwrap();
            let (sent, _) = ready.send_request(request("/svc/scripted", &[("x-api-key", &key)]), true).unwrap();
            // What came before the end may be taken back with it.
            let reason = match sent.await {
                Err(e) => e.reason(),
                Ok(head) => {
                    let mut body = head.into_body();
                    loop {
                        match body.data().await {
                            Some(Ok(_)) => {}
                            Some(Err(e)) => break e.reason(),
                            None => panic!("{answer} was taken for a whole answer"),
                        }
                    }
                }
            };
            assert_eq!(reason, Some(Reason::INTERNAL_ERROR), "{answer}");
        }
        for answer in ["nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Len"] {
            rig.upstream.script(answer, true);
            assert_eq!(get(&send).await.0, 502, "{answer}");
        }
    });
    eventually("every place to be given back", || (rig.metric("clearway_requests_in_flight") == 0.0).then_some(()));
    assert_eq!(rig.counted(), 11);
}

#[test]
fn a_client_that_resets_its_stream_gives_its_place_back() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { concurrent: Some(1), ..Limits::UNLIMITED });
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let key = key(1);
        let headers = [("x-api-key", key.as_str())];
        let mut ready = send.clone().ready().await.unwrap();
        let (answer, mut stream) = ready.send_request(request("/svc/never", &headers), true).unwrap();
        let upstream = rig.upstream.clone();
        tokio::task::spawn_blocking(move || upstream.wait_for_requests(1)).await.unwrap();
        assert_eq!(ask(&send, request("/svc/x", &headers)).await.0, 429);
        stream.send_reset(Reason::CANCEL);
        drop(answer);
        let deadline = std::time::Instant::now() + DEADLINE;
        while ask(&send, request("/svc/x", &headers)).await.0 == 429 {
            assert!(std::time::Instant::now() < deadline, "the place is never given back");
        }
    });
    let lines = rig.log_until(|lines| lines.iter().any(|line| line["status"] == 499));
    assert!(lines.iter().any(|line| line["status"] == 499 && line["path"] == "/svc/never"), "{lines:?}");
}

#[test]
fn a_stream_whose_route_is_not_plain_is_decided_once() {
    let upstream = Upstream::start();
    // The second address is never reached, and makes the upstream one that Pingora serves.
    let addresses = format!("\"http://{}\", \"https://127.0.0.1:1\"", upstream.address);
    let mut rig = Rig::start_with(upstream, &routes(&addresses), |_| {});
    rig.set_limits(Limits { per_day: Some(1), ..Limits::UNLIMITED });
    runtime().block_on(async {
        let (send, _connection) = connect(rig.proxy().gateway()).await;
        let key = key(1);
        assert_eq!(ask(&send, request("/svc/a", &[("x-api-key", &key)])).await.0, 200);
        assert_eq!(ask(&send, request("/svc/a", &[("x-api-key", &key)])).await.0, 429);
    });
    assert_eq!((rig.counted(), rig.log_until(|lines| lines.len() == 2).len()), (1, 2));
}
