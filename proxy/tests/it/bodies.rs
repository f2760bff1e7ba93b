//! Where messages end, in both directions, and what becomes of those that do not say so, or lie.

use clearway_config::Limits;

use crate::rig::{Rig, bearer, eventually, get, request};

/// An answer to key 1 from an upstream that says exactly this.
fn scripted(rig: &Rig, answer: &str, close: bool) -> crate::client::Answer {
    rig.upstream.script(answer, close);
    rig.get("/svc/scripted")
}

#[test]
fn an_answer_without_an_end_of_its_own_gets_one_and_the_connection_goes_on() {
    let rig = Rig::start();
    let mut client = rig.client();
    for head in ["HTTP/1.1 200 OK\r\nX-A: 1\r\n", "HTTP/1.0 200 OK\r\nX-A: 1\r\n"] {
        rig.upstream.script(format!("{head}\r\nto the end"), true);
        client.send(get("/svc/scripted", &[&bearer(1)]));
        let answer = client.read();
        assert_eq!((answer.status, answer.header("transfer-encoding"), answer.header("x-a")), (200, Some("chunked"), Some("1")));
        assert_eq!(answer.body, b"a\r\nto the end\r\n0\r\n\r\n");
    }
    client.send(get("/svc/a", &[&bearer(1)]));
    assert_eq!(client.read().status, 200);
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_502() {
    let rig = Rig::start();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n folded\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        let answer_of_ours = scripted(&rig, answer, true);
        assert_eq!((answer_of_ours.status, answer_of_ours.error().as_str()), (502, "upstream_unreachable"), "{answer}");
    }
}

#[test]
fn chunks_that_are_framed_wrongly_end_the_connection_and_are_not_made_whole() {
    let rig = Rig::start();
    rig.upstream.script("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd0\r\n\r\n", false);
    let mut client = rig.client();
    client.send(get("/svc/scripted", &[&bearer(1)]));
    let all = String::from_utf8(client.read_to_end()).unwrap();
    assert!(!all.contains("0\r\n\r\n"), "{all}");
}

#[test]
fn an_upstream_that_sends_more_than_its_answer_is_not_used_again() {
    let rig = Rig::start_with_one_worker();
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    for answer in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{forged}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{forged}"),
        format!("HTTP/1.1 204 No Content\r\n\r\n{forged}"),
    ] {
        let connections = rig.upstream.connections();
        assert!(matches!(scripted(&rig, &answer, false).status, 200 | 204));
        for _ in 0..3 {
            assert_eq!(rig.get("/svc/a").body, b"hello");
        }
        assert!(rig.upstream.connections() > connections, "another connection");
    }
}

#[test]
fn connections_to_the_upstream_are_used_again() {
    let rig = Rig::start();
    let mut client = rig.client();
    for path in ["/svc/a", "/svc/missing", "/svc/chunked", "/svc/hops", "/svc/a"] {
        client.send(get(path, &[&bearer(1)]));
        client.read();
    }
    assert_eq!(rig.upstream.connections(), 1);
}

#[test]
fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let rig = Rig::start();
    let mut client = rig.client();
    rig.upstream.script("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: x\r\n\r\n", false);
    client.send(get("/svc/scripted", &[&bearer(1)]));
    assert_eq!(client.read().header("etag"), Some("x"));
    rig.upstream.script("HTTP/1.1 204 No Content\r\n\r\n", false);
    client.send(get("/svc/scripted", &[&bearer(1)]));
    assert_eq!(client.read().status, 204);
    rig.upstream.script("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", false);
    client.send(request("HEAD", "/svc/scripted", &[&bearer(1)], ""));
    assert_eq!(client.read_head_only().header("content-length"), Some("10"));
    client.send(get("/svc/a", &[&bearer(1)]));
    assert_eq!(client.read().body, b"hello");
    assert_eq!(rig.upstream.connections(), 1);
}

#[test]
fn interim_answers_come_before_the_answer_and_trailers_do_not_come_behind_it() {
    let rig = Rig::start();
    rig.upstream.script(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Request-Id\r\n\r\n2\r\nok\r\n0\r\nX-Request-Id: forged\r\n\r\n",
        false,
    );
    let mut client = rig.client();
    client.send(get("/svc/scripted", &[&bearer(1)]));
    let hint = client.read_head_only();
    assert_eq!((hint.status, hint.header("link"), hint.header("x-hop")), (103, Some("</a>"), None));
    assert_eq!(client.read_head_only().status, 100);
    let answer = client.read();
    assert_eq!((answer.status, answer.header("trailer"), answer.body.as_slice()), (200, None, &b"2\r\nok\r\n0\r\n\r\n"[..]));
}

#[test]
fn large_bodies_arrive_whole_in_both_directions() {
    let rig = Rig::start();
    let large: String = (0..3_000_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let length = format!("Content-Length: {}", large.len());
    let mut client = rig.client();
    client.send(request("POST", "/svc/a", &[&bearer(1), &length], &large));
    assert_eq!(client.read().status, 200);
    assert!(rig.upstream.last().body == large.as_bytes());
    let lines = rig.log_until(|lines| lines.len() == 1);
    assert_eq!(lines[0]["bytes_in"], large.len());

    rig.upstream.script(format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n{large}"), false);
    client.send(get("/svc/scripted", &[&bearer(1)]));
    assert!(client.read().body == large.as_bytes());
    let part = &large[..300_000];
    let chunks: String =
        part.as_bytes().chunks(70_000).map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c))).collect();
    rig.upstream.script(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"), false);
    client.send(get("/svc/scripted", &[&bearer(1)]));
    assert!(client.read().body == format!("{chunks}0\r\n\r\n").as_bytes());
    let lines = rig.log_until(|lines| lines.len() == 3);
    assert_eq!((&lines[1]["bytes_out"], &lines[2]["bytes_out"]), (&large.len().into(), &part.len().into()));
}

#[test]
fn an_answer_that_comes_before_the_request_is_over_arrives_and_the_connection_ends() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { concurrent: Some(1), ..Limits::UNLIMITED });
    let mut client = rig.client();
    client.send(request("POST", "/svc/early", &[&bearer(1), "Content-Length: 100000"], "only the beginning"));
    let answer = client.read();
    assert_eq!((answer.status, answer.header("connection"), answer.body.as_slice()), (413, Some("close"), &b"early"[..]));
    assert!(client.try_read().is_none());
    eventually("its place", || (rig.get("/svc/a").status == 200).then_some(()));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_gives_its_place_back() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { concurrent: Some(1), ..Limits::UNLIMITED });
    // More than both sockets hold: the gateway waits for the client, and the client goes.
    let large = "x".repeat(30_000_000);
    rig.upstream.script(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{large}", large.len()), true);
    let mut client = rig.client();
    client.send(get("/svc/scripted", &[&bearer(1)]));
    client.read_bytes(100_000);
    assert_eq!(rig.get("/svc/a").error(), "concurrency_exceeded");
    client.leave();
    eventually("its place", || (rig.get("/svc/a").status == 200).then_some(()));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_gives_its_place_back() {
    let mut rig = Rig::start();
    rig.set_limits(Limits { concurrent: Some(1), ..Limits::UNLIMITED });
    let mut client = rig.client();
    client.send(request("POST", "/svc/a", &[&bearer(1), "Content-Length: 100000"], "only the beginning"));
    eventually("the place to be taken", || (rig.proxy().ledger().in_flight() == 1).then_some(()));
    assert_eq!(rig.get("/svc/b").error(), "concurrency_exceeded");
    client.leave();
    eventually("its place", || (rig.get("/svc/b").status == 200).then_some(()));
}

#[test]
fn what_a_client_sends_ahead_of_time_is_kept_while_its_request_is_served() {
    let rig = Rig::start();
    let mut client = rig.client();
    client.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(1);
    client.send(get("/svc/b", &[&bearer(1)]));
    // A whole other request has gone through in the meantime.
    assert_eq!(rig.ask(get("/open/a", &[])).status, 200);
    rig.upstream.release();
    assert_eq!((client.read().body, client.read().body), (b"slow".to_vec(), b"hello".to_vec()));
}

#[test]
fn a_head_that_is_too_large_is_431() {
    let rig = Rig::start();
    let lines: String = (0..129).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "x".repeat(64 * 1024));
    for headers in [lines, long] {
        let mut client = rig.client();
        client.try_send(get("/open/a", &[headers.trim_end()]).as_bytes());
        let answer = client.read();
        assert_eq!((answer.status, answer.error().as_str(), answer.header("connection")), (431, "head_too_large", Some("close")));
    }
    let fits: String = (0..120).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(rig.ask(get("/open/a", &[fits.trim_end(), &format!("X-Long: {}", "x".repeat(60_000))])).status, 200);
}
