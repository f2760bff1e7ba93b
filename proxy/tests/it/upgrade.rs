//! Upgrades pass the same phases as every request.

use std::time::Duration;

use clearway_config::Limits;

use crate::{
    rig::{Rig, bearer, eventually, get, routes},
    upstream::Upstream,
};

const UPGRADE: [&str; 4] =
    ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"];

fn upgrade(path: &str, key: Option<&str>) -> String {
    let headers: Vec<_> = UPGRADE.into_iter().chain(key).collect();
    get(path, &headers)
}

#[test]
fn an_upgrade_without_a_key_is_401_whatever_it_asks_for() {
    let rig = Rig::start();
    assert_eq!(rig.ask(upgrade("/svc/ws", None)).error(), "key_missing");
    for protocol in ["x", "h2c", "websocket", "TLS/1.0"] {
        for connection in ["Connection: Upgrade", "Connection: close", "X: x"] {
            let answer = rig.ask(get("/svc/ws", &[connection, &format!("Upgrade: {protocol}")]));
            assert_eq!((answer.status, answer.error().as_str()), (401, "key_missing"), "{protocol}, {connection}");
        }
    }
    assert!(rig.upstream.received().is_empty());
}

#[test]
fn a_websocket_is_tunnelled_and_holds_its_place_until_it_is_closed() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { concurrent: Some(1), ..Limits::UNLIMITED });
    rig.upstream.release();
    let mut client = rig.client();
    client.send(upgrade("/svc/ws", Some(&bearer(1))));
    let answer = client.read_head_only();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert!(answer.header("x-request-id").is_some());
    let sent = rig.upstream.last();
    assert_eq!((sent.header("connection"), sent.header("upgrade")), (vec!["Upgrade"], vec!["websocket"]));
    assert_eq!((sent.header("sec-websocket-version"), sent.header("authorization").len()), (vec!["13"], 0));
    client.send("ping");
    assert_eq!(client.read_bytes(4), b"ping");
    rig.upstream.wait_for_tunnelled(b"ping");
    assert_eq!(rig.get("/svc/a").error(), "concurrency_exceeded");
    client.leave();
    eventually("its place", || (rig.get("/svc/a").status == 200).then_some(()));
    let lines = rig.log_until(|lines| lines.iter().any(|l| l["status"] == 101));
    assert!(lines.iter().any(|l| l["status"] == 101 && l["admitted"] == true), "{lines:?}");
}

#[test]
fn a_websocket_ends_when_it_is_silent_for_too_long_or_has_lasted_long_enough() {
    for (idle, lifetime, talks) in [(50, 0, false), (3_600_000, 200, true)] {
        let upstream = Upstream::start();
        let routes = routes(&format!("\"http://{}\"", upstream.address));
        let rig = Rig::start_with(upstream, &routes, |settings| {
            settings.gateway.limits.websocket_idle_timeout = Duration::from_millis(idle);
            settings.gateway.limits.websocket_lifetime = Duration::from_millis(lifetime);
        });
        rig.upstream.release();
        let mut client = rig.client();
        client.send(upgrade("/svc/ws", Some(&bearer(1))));
        assert_eq!(client.read_head_only().status, 101);
        while talks && client.echoes(b"ping") {}
        assert!(client.ends(), "idle {idle}, lifetime {lifetime}");
        rig.log_until(|lines| lines.iter().any(|line| line["status"] == 101));
    }
}

#[test]
fn nothing_that_the_client_sends_is_forwarded_before_the_upstream_agreed() {
    let rig = Rig::start();
    let mut client = rig.client();
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send([upgrade("/svc/ws", Some(&bearer(1))), smuggled.to_owned()].concat());
    rig.upstream.wait_for_requests(1);
    // A whole other request has gone through: had the bytes been on their way, they would be there.
    assert_eq!(rig.ask(get("/open/a", &[])).status, 200);
    assert_eq!(rig.upstream.tunnelled(), b"");
    assert!(rig.upstream.received().iter().all(|r| r.target() != "/open/smuggled"));
}

#[test]
fn another_upgrade_than_a_websocket_is_forwarded_as_an_ordinary_request() {
    let rig = Rig::start();
    let answer =
        rig.ask(get("/svc/a", &[&bearer(1), "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]));
    assert_eq!(answer.status, 200);
    let sent = rig.upstream.last();
    assert_eq!((sent.header("upgrade").len(), sent.header("connection").len(), sent.header("http2-settings").len()), (0, 0, 0));
}
