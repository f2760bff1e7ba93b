//! Many clients that send heads slowly, or long ones, or more requests than they read answers.

use std::io::{Read as _, Write as _};

use super::Siege;

#[test]
fn five_thousand_clients_that_dawdle_over_their_heads_cost_little() {
    let siege = Siege::begin("head_timeout = \"20s\"", None);
    let connections = siege.bounded(160, || {
        let mut all: Vec<_> = (0..5_000).map(|_| siege.connect()).collect();
        for round in 0..4 {
            for connection in &mut all {
                let part = if round == 0 { "GET /open/a HTTP/1.1\r\nHost: a\r\nX: " } else { "xxxxxxxxxxxxxxxx" };
                connection.write_all(part.as_bytes()).unwrap();
            }
        }
        siege.serves();
        all
    });
    assert!(siege.metric("clearway_connections ") >= 5_000.0);
    drop(connections);
    siege.wait_for_connections(0.0);
}

#[test]
fn long_heads_that_do_not_end_have_so_much_room_and_no_more() {
    let siege = Siege::begin("pending_heads_bytes = \"8MiB\"\nhead_timeout = \"20s\"", None);
    let long = [b"GET /open/a HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), vec![b'x'; 60_000]].concat();
    let mut connections = siege.bounded(64, || {
        let mut all: Vec<_> = (0..1_000).map(|_| siege.connect()).collect();
        for connection in &mut all {
            // Those for which there is no room are answered before they have sent all of it.
            let _ = connection.write_all(&long);
        }
        all
    });
    siege.wait_for_connections(8.0 * 16.0);
    assert!(siege.metric("clearway_connections_refused_total{reason=\"memory\"}") >= 1_000.0 - 8.0 * 16.0);
    connections.truncate(1);
    let mut status = [0; 12];
    connections[0].write_all(b"\r\n\r\n").unwrap();
    connections[0].read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200", "the first had room");
}

#[test]
fn requests_whose_answers_are_not_read_wait_in_the_kernel() {
    let siege = Siege::begin("write_timeout = \"2s\"", None);
    let one = "GET /open/scripted HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let body = "x".repeat(64 * 1024);
    siege.upstream.script(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()), false);
    siege.bounded(96, || {
        let mut all: Vec<_> = (0..100).map(|_| siege.connect()).collect();
        for connection in &mut all {
            connection.set_nonblocking(true).unwrap();
            while connection.write(one.as_bytes()).is_ok_and(|n| n == one.len()) {}
        }
        siege.serves();
        siege.wait_for_connections(0.0);
    });
}
