//! File descriptors used up, by clients and by upstreams.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::Siege;
use crate::{
    client::Client,
    rig::{eventually, get},
};

fn is_ok(client: &mut Client, path: &str) -> bool {
    client.try_send(get(path, &[]).as_bytes());
    client.try_read().is_some_and(|answer| answer.status == 200)
}

#[test]
fn when_clients_use_up_the_descriptors_who_is_there_is_served_and_the_operator_is_answered() {
    let siege = Siege::begin("connections = 100000\nconnections_per_address = 0", Some(128));
    let mut kept: Vec<_> = (0..4).map(|_| Client::connect(siege.gateway)).collect();
    assert!(kept.iter_mut().all(|client| is_ok(client, "/open/a")));
    let mut flood: Vec<_> = (0..400).map(|_| siege.connect()).collect();

    let refused = Client::connect(siege.gateway).read();
    assert_eq!((refused.status, refused.error().as_str()), (503, "gateway_overloaded"));
    assert!(kept.iter_mut().all(|client| is_ok(client, "/open/b")));
    assert_eq!(siege.admin("/health/live").status, 200);
    assert!(siege.metric("clearway_connections_refused_total{reason=\"descriptors\"}") >= 300.0);

    flood.clear();
    eventually("new clients to be served", || siege.ask("/open/c").filter(|answer| answer.status == 200));
    assert!(kept.iter_mut().all(|client| is_ok(client, "/open/d")));
}

#[test]
fn when_upstreams_use_up_the_descriptors_requests_say_so_and_no_target_is_blamed() {
    let siege = Siege::begin("connections = 100000\nconnections_per_address = 0", Some(128));
    // Each waits at the upstream, over a connection of its own.
    let mut waiting: Vec<TcpStream> = (0..90).map(|_| siege.connect()).collect();
    for client in &mut waiting {
        let _ = client.write_all(get("/open/slow", &[]).as_bytes());
    }
    let overloaded = eventually("a request for which there is no upstream connection", || {
        siege.ask("/open/a").filter(|answer| answer.status == 503)
    });
    assert_eq!(overloaded.error(), "gateway_overloaded");
    assert_eq!(siege.admin("/health/live").status, 200);
    siege.upstream.release();
    let mut served = 0;
    for client in &mut waiting {
        let mut head = [0; 12];
        served += u32::from(client.read_exact(&mut head).is_ok() && &head == b"HTTP/1.1 200");
    }
    assert!(served > 8, "{served}");
    drop(waiting);
    eventually("requests to be served", || siege.ask("/open/b").filter(|answer| answer.status == 200));
    for kind in ["connect", "broken", "timeout"] {
        assert_eq!(siege.metric(&format!("clearway_upstream_failures_total{{kind=\"{kind}\"")), 0.0, "{kind}");
    }
}
