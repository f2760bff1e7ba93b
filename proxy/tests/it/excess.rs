//! More than a client may take: of connections, of bytes, of time.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use clearway_config::settings::process::LimitSettings;

use crate::{
    curl::curl,
    rig::{Rig, bearer, eventually, get, request, routes},
    upstream::Upstream,
};

fn rig(change: impl FnOnce(&mut LimitSettings)) -> Rig {
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    Rig::start_with(upstream, &routes(&address), |settings| change(&mut settings.gateway.limits))
}

fn short() -> Duration {
    Duration::from_millis(60)
}

#[test]
fn an_address_has_so_many_connections_and_is_told_so() {
    let rig = rig(|limits| limits.connections_per_address = 2);
    let (mut one, mut two) = (rig.client(), rig.client());
    for client in [&mut one, &mut two] {
        client.send(get("/svc/a", &[&bearer(1)]));
        assert_eq!(client.read().status, 200);
    }
    let refused = rig.client().read();
    assert_eq!(
        (refused.status, refused.error().as_str(), refused.header("connection")),
        (429, "connections_exceeded", Some("close"))
    );
    one.send(get("/svc/b", &[&bearer(1)]));
    assert_eq!(one.read().status, 200, "who is there is served on");
    two.leave();
    eventually("a place to be free", || {
        let mut client = rig.client();
        client.try_send(get("/svc/c", &[&bearer(1)]).as_bytes());
        (client.try_read()?.status == 200).then_some(())
    });
    assert!(rig.metric("clearway_connections_refused_total{reason=\"address\"}") >= 1.0);
}

#[test]
fn a_full_gateway_says_so_and_a_trusted_proxy_may_fill_it() {
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    let rig = Rig::start_with(upstream, &routes(&address), |settings| {
        settings.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        settings.gateway.limits.connections = 3;
        settings.gateway.limits.connections_per_address = 1;
    });
    let mut held: Vec<_> = (0..3).map(|_| rig.client()).collect();
    for client in &mut held {
        client.send(get("/svc/a", &[&bearer(1)]));
        assert_eq!(client.read().status, 200);
    }
    let refused = rig.client().read();
    assert_eq!((refused.status, refused.error().as_str()), (503, "gateway_overloaded"));
    assert_eq!(rig.metric("clearway_connections_refused_total{reason=\"connections\"}"), 1.0);
}

#[test]
fn a_target_or_a_head_that_is_too_long_is_refused_by_its_name() {
    let rig = rig(|limits| {
        limits.uri_bytes = "256B".parse().unwrap();
        limits.headers = 8;
        limits.head_bytes = "4KiB".parse().unwrap();
    });
    let many: Vec<_> = (0..9).map(|n| format!("X-{n}: y")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    for (asked, status, code) in [
        (get(&format!("/svc/{}", "a".repeat(300)), &[&bearer(1)]), 414, "uri_too_long"),
        (get(&format!("/{}", "a".repeat(8000)), &[]), 414, "uri_too_long"),
        (get("/svc/a", &many), 431, "head_too_large"),
        (get("/svc/a", &[&format!("X-Long: {}", "a".repeat(5000))]), 431, "head_too_large"),
    ] {
        let refused = rig.ask(asked);
        assert_eq!((refused.status, refused.error().as_str()), (status, code));
    }
    let (auth, to) = (bearer(1), rig.proxy().gateway());
    let h2 = |path: &str, more: &[&str]| {
        let args = [&["--http2-prior-knowledge", "-H", &auth][..], more].concat();
        curl(to, &format!("http://api.example.com/{path}"), &args).status
    };
    assert_eq!(h2(&format!("svc/{}", "a".repeat(300)), &[]), 414);
    let lines: Vec<_> = many.iter().flat_map(|line| ["-H", line]).collect();
    assert_eq!(h2("svc/a", &lines), 431);
    assert_eq!(h2("svc/a", &[]), 200);
    assert_eq!(rig.upstream.received().len(), 1);
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_answered_in_time() {
    let rig = rig(|limits| limits.head_timeout = short());
    let mut client = rig.client();
    client.send("GET /svc/a HTTP/1.1\r\nHost: a");
    let refused = client.read();
    assert_eq!((refused.status, refused.error().as_str(), refused.header("connection")), (408, "request_timeout", Some("close")));
}

#[test]
fn a_body_that_stops_or_dribbles_is_given_up_and_its_upstream_is_not_blamed() {
    let rig = rig(|limits| {
        (limits.body_timeout, limits.rate_grace) = (Duration::from_millis(300), short());
        limits.rate_min = "10KiB".parse().unwrap();
    });
    // By bytes, and by Pingora; nothing at all, or a byte now and then.
    for (framing, bytes) in [("Content-Length: 100", "x"), ("Transfer-Encoding: chunked", "1\r\nx\r\n")] {
        for dribbles in [false, true] {
            let mut client = rig.client();
            client.send(request("POST", "/svc/a", &[&bearer(1), framing], bytes));
            let mut answered = || {
                client.try_send(if dribbles { bytes.as_bytes() } else { b"" });
                client.peek().then_some(())
            };
            eventually("an answer", &mut answered);
            let refused = client.read();
            assert_eq!((refused.status, refused.error().as_str()), (408, "request_timeout"), "{framing} {dribbles}");
        }
    }
    let text = String::from_utf8(rig.admin("/metrics").body).unwrap();
    assert!(!text.contains("clearway_upstream_failures_total{"), "{text}");
    assert_eq!(rig.log_until(|lines| lines.len() == 4)[0]["reject"], "request_timeout");
}

#[test]
fn a_client_that_does_not_take_its_answer_is_let_go_of() {
    let rig = rig(|limits| limits.write_timeout = short());
    let body = vec![b'x'; 32 * 1024 * 1024];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    rig.upstream.script([head.into_bytes(), body].concat(), false);
    // By bytes, and by Pingora.
    for more in ["X-A: b", "Expect: 100-continue"] {
        let mut client = TcpStream::connect(rig.proxy().gateway()).unwrap();
        client.write_all(get("/svc/scripted", &[&bearer(1), more]).as_bytes()).unwrap();
        let mut begun = [0; 12];
        client.read_exact(&mut begun).unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
        eventually("the connection to be let go of", || (rig.metric("clearway_connections ") == 0.0).then_some(()));
    }
}

#[test]
fn a_body_that_stops_over_http_2_is_given_up_and_its_upstream_is_not_blamed() {
    let rig = rig(|_| {});
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(rig.proxy().gateway()).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request =
            http::Request::post("http://api.example.com/svc/a").header("authorization", bearer(1).replace("Authorization: ", ""));
        let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(bytes::Bytes::from_static(b"x"), false).unwrap();
        // As long as the upstream would be waited for.
        assert_eq!(answer.await.unwrap().status(), 408);
    });
    let text = String::from_utf8(rig.admin("/metrics").body).unwrap();
    assert!(!text.contains("clearway_upstream_failures_total{"), "{text}");
}
