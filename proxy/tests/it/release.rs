//! Concurrency is given back on every path, and what failed is answered for what it is.

use clearway_config::Limits;

use crate::{
    rig::{Rig, bearer, eventually, get, request, routes},
    upstream::Upstream,
};

fn one_at_a_time(rig: &mut Rig) {
    rig.set_limits(Limits { concurrent: Some(1), ..Limits::UNLIMITED });
}

#[test]
fn a_second_request_at_the_same_time_is_refused_and_a_later_one_is_not() {
    let mut rig = Rig::start();
    one_at_a_time(&mut rig);
    let mut first = rig.client();
    first.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(1);
    let refused = rig.get("/svc/a");
    assert_eq!((refused.status, refused.error().as_str()), (429, "concurrency_exceeded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    rig.upstream.release();
    assert_eq!(first.read().status, 200);
    eventually("the first to be over", || (rig.get("/svc/a").status == 200).then_some(()));
}

#[test]
fn a_client_that_leaves_while_it_waits_gives_its_place_back() {
    let mut rig = Rig::start();
    one_at_a_time(&mut rig);
    let mut gone = rig.client();
    gone.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(1);
    gone.leave();
    eventually("its place", || (rig.get("/svc/a").status == 200).then_some(()));
    let lines = rig.log_until(|lines| lines.iter().any(|l| l["path"] == "/svc/slow"));
    let line = lines.iter().find(|l| l["path"] == "/svc/slow").unwrap();
    assert_eq!((&line["status"], &line["admitted"]), (&499.into(), &true.into()));
}

#[test]
fn an_upstream_that_refuses_breaks_off_or_is_silent_gives_the_place_back() {
    let upstream = Upstream::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("\"http://{}\"", upstream.address);
    let more = format!(
        "[[upstreams]]\nname = \"nobody\"\naddresses = [\"http://{nobody}\"]\n\
         [[routes]]\nname = \"nobody\"\npath = \"/nobody\"\nupstream = \"nobody\"\nauth = \"key\"\n"
    );
    let mut rig = Rig::start_with(upstream, &format!("{}{more}", routes(&address)), |_| {});
    one_at_a_time(&mut rig);
    for (path, status, code) in [
        ("/nobody/a", 502, "upstream_unreachable"),
        ("/svc/hangup", 502, "upstream_unreachable"),
        ("/svc/never", 504, "upstream_timeout"),
    ] {
        let answer = rig.get(path);
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "{path}");
        assert_eq!(answer.header("x-ratelimit-limit"), None, "concurrency has no window that ends");
        eventually("its place", || (rig.get("/svc/a").status == 200).then_some(()));
    }
    assert_eq!(rig.metric("clearway_upstream_failures_total{kind=\"connect\",upstream=\"nobody\"}") as u64, 1);
}

#[test]
fn an_answer_that_breaks_off_is_not_made_whole_and_gives_the_place_back() {
    let mut rig = Rig::start();
    one_at_a_time(&mut rig);
    let mut client = rig.client();
    client.send(get("/svc/half", &[&bearer(1)]));
    let answer = client.read();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("10")));
    assert_eq!(answer.body, b"half", "the rest of the promised ten bytes never comes");
    eventually("its place", || (rig.get("/svc/a").status == 200).then_some(()));
}

#[test]
fn another_address_is_tried_only_when_connecting_failed() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = Upstream::start();
    let addresses = format!("\"http://{nobody}\", \"http://{}\"", upstream.address);
    let rig = Rig::start_with(upstream, &routes(&addresses), |_| {});
    for _ in 0..4 {
        let post = request("POST", "/svc/a", &[&bearer(1), "Content-Length: 2"], "hi");
        assert_eq!(rig.ask(post).status, 200, "nothing had been sent: even a POST may go elsewhere");
    }
    assert_eq!(rig.upstream.received().len(), 4);
    let before = rig.counted();
    let post = request("POST", "/svc/hangup", &[&bearer(1), "Content-Length: 2"], "hi");
    assert_eq!(rig.ask(post).status, 502);
    assert_eq!((rig.upstream.received().len(), rig.counted()), (5, before + 1), "sent once, counted once");
}

#[test]
fn a_kept_connection_that_the_upstream_closed_costs_no_request() {
    let rig = Rig::start();
    for _ in 0..20 {
        assert_eq!(rig.ask(get("/svc/a", &[&bearer(1), "X-Test-Close: 1"])).status, 200);
    }
    assert_eq!(rig.counted(), 20);
}
