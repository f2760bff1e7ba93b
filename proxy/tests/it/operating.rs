//! Starting, stopping, changing routes; the log and the ledger agree.

use std::thread;

use clearway_config::settings::Settings;
use clearway_proxy::start::{Keys, Options, Proxy, StartError};

use crate::{
    client::Client,
    rig::{Rig, bearer, eventually, get, routes},
};

#[test]
fn a_drain_lets_requests_finish_closes_what_is_idle_and_takes_nothing_new() {
    let mut rig = Rig::start();
    let mut idle = rig.client();
    idle.send(get("/open/a", &[]));
    assert_eq!(idle.read().header("connection"), Some("keep-alive"));
    let mut slow: Vec<_> = (0..5).map(|_| rig.client()).collect();
    for client in &mut slow {
        client.send(get("/svc/slow", &[&bearer(1)]));
    }
    rig.upstream.wait_for_requests(6);
    let (gateway, metrics) = (rig.proxy().gateway(), rig.proxy().metrics());
    let proxy = rig.take();
    let stopping = thread::spawn(move || proxy.stop());

    eventually("new connections to be refused", || std::net::TcpStream::connect(gateway).is_err().then_some(()));
    let mut ready = Client::connect(metrics);
    ready.send("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(ready.read().status, 503);
    assert!(idle.try_read().is_none(), "an idle connection is closed");
    rig.upstream.release();
    for client in &mut slow {
        let answer = client.read();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(stopping.join().unwrap().connections_cut, 0);
    assert_eq!(rig.log().iter().filter(|l| l["admitted"] == true).count(), 5, "the log is whole when it has stopped");
}

#[test]
fn a_request_on_a_kept_connection_while_draining_is_served_and_told_to_close() {
    let mut rig = Rig::start();
    let (mut kept, mut slow) = (rig.client(), rig.client());
    kept.send(get("/open/a", &[]));
    assert_eq!(kept.read().status, 200);
    slow.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(2);
    let gateway = rig.proxy().gateway();
    let proxy = rig.take();
    let stopping = thread::spawn(move || proxy.stop());
    eventually("the drain", || std::net::TcpStream::connect(gateway).is_err().then_some(()));
    kept.send(get("/open/b", &[]));
    let answer = kept.read();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    rig.upstream.release();
    assert_eq!(slow.read().status, 200);
    assert_eq!(stopping.join().unwrap().connections_cut, 0);
}

#[test]
fn what_the_drain_timeout_cuts_off_is_counted_logged_and_given_back() {
    let mut rig = Rig::start();
    rig.stop();
    let mut rig = {
        let upstream = crate::upstream::Upstream::start();
        let address = format!("\"http://{}\"", upstream.address);
        Rig::start_with(upstream, &routes(&address), |s| s.gateway.drain_timeout = std::time::Duration::from_millis(100))
    };
    let mut slow = rig.client();
    slow.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(1);
    assert_eq!(rig.take().stop().connections_cut, 1);
    let lines = rig.log();
    assert_eq!((lines.len(), &lines[0]["status"], &lines[0]["admitted"]), (1, &499.into(), &true.into()));
}

#[test]
fn saved_routes_are_followed_and_a_mistake_keeps_the_old_ones() {
    let rig = Rig::start();
    let mut client = rig.client();
    let mut status = |path: &str| {
        client.send(get(path, &[&bearer(1)]));
        client.read().status
    };
    assert_eq!(status("/new/a"), 404);
    let old = std::fs::read_to_string(rig.routes_file()).unwrap();
    let new = format!("{old}\n[[routes]]\nname = \"new\"\npath = \"/new\"\nupstream = \"up\"\nauth = \"key\"\n");
    std::fs::write(rig.routes_file(), new).unwrap();
    eventually("the new route", || (status("/new/a") == 200).then_some(()));

    std::fs::write(rig.routes_file(), format!("{old}\n[[routes]]\nname = 1\n")).unwrap();
    eventually("the refusal", || (rig.metric("clearway_routes_reloads_total{result=\"refused\"}") > 0.0).then_some(()));
    assert_eq!((status("/new/a"), status("/svc/a")), (200, 200));

    std::fs::write(rig.routes_file(), &old).unwrap();
    rig.proxy().reload();
    assert_eq!(status("/new/a"), 404);
}

#[test]
fn the_log_has_a_line_for_every_request_the_ledger_counted_and_no_secret() {
    let mut rig = Rig::start();
    for n in 0..20 {
        rig.get(&format!("/svc/{n}?secret=hunter2"));
    }
    rig.ask(get("/svc/a", &[]));
    rig.ask(get("/open/a", &[]));
    rig.get("/svc/hangup");
    let lines = rig.log_until(|lines| lines.len() == 23);
    let admitted = lines.iter().filter(|l| l["admitted"] == true).count() as u64;
    assert_eq!((admitted, rig.counted()), (21, 21));
    let ids: std::collections::HashSet<_> = lines.iter().map(|l| l["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 23);
    let text = std::fs::read_to_string(rig.dir.path().join("data/access.log")).unwrap();
    assert!(!text.contains("hunter2") && !text.contains(&crate::rig::key(1)), "{text}");
    let line = lines.iter().find(|l| l["path"] == "/svc/7").unwrap();
    assert_eq!((&line["method"], &line["route"], &line["plan"]), (&"GET".into(), &"svc".into(), &"test".into()));
    assert_eq!((&line["host"], &line["bytes_out"]), (&"api.example.com".into(), &5.into()));
    assert!(line["upstream_us"].as_u64().unwrap() <= line["duration_us"].as_u64().unwrap());
    let refused = lines.iter().find(|l| l["reject"] == "key_missing").unwrap();
    assert_eq!((&refused["admitted"], &refused["status"]), (&false.into(), &401.into()));
    eventually("all records to be free", || (rig.proxy().ledger().in_flight() == 0).then_some(()));
    rig.restart();
    assert_eq!((rig.log().len(), rig.counted()), (23, 21), "nothing twice after a restart");
}

#[test]
fn a_log_that_is_off_or_sampled_changes_no_count() {
    for (enabled, sample) in [(false, 1.0), (true, 0.0)] {
        let upstream = crate::upstream::Upstream::start();
        let address = format!("\"http://{}\"", upstream.address);
        let mut rig = Rig::start_with(upstream, &routes(&address), |settings| {
            settings.access_log.enabled = enabled;
            settings.access_log.sample = sample;
        });
        for _ in 0..5 {
            assert_eq!(rig.get("/svc/a").status, 200);
        }
        assert_eq!(rig.counted(), 5);
        eventually("all records to be free", || (rig.proxy().ledger().in_flight() == 0).then_some(()));
        rig.stop();
        assert!(rig.log().is_empty());
    }
}

#[test]
fn a_start_that_cannot_work_says_why_in_one_line() {
    let rig = Rig::start();
    let options = |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings { data_dir: rig.dir.path().join("other"), ..Settings::default() };
        settings.gateway.addr = ([127, 0, 0, 1], 0).into();
        settings.metrics.proxy_addr = ([127, 0, 0, 1], 0).into();
        settings.egress.addr = ([127, 0, 0, 1], 0).into();
        change(&mut settings);
        Options { settings, routes: vec![rig.routes_file()], keys: Keys::Held(rig.snapshot.clone()) }
    };
    let line = |change: &dyn Fn(&mut Settings)| match Proxy::start(options(change)) {
        Err(error) => StartError::line(&error),
        Ok(_) => panic!("it was not to start"),
    };
    let taken = rig.proxy().gateway();
    assert_eq!(line(&|s| s.gateway.addr = taken), format!("address {taken} of the gateway is in use by another process"));
    let used = rig.dir.path().join("data");
    assert!(line(&|s| s.data_dir.clone_from(&used)).ends_with("is in use by another process"));
    assert!(line(&|s| s.gateway.control_url = "nowhere".into()).starts_with("gateway.control_url: must begin with http"));
    std::fs::write(rig.routes_file(), "[[routes]]\nname = 1\n").unwrap();
    assert!(line(&|_| {}).contains("routes.toml:2: name: "), "{}", line(&|_| {}));
}

#[test]
fn metrics_say_what_happened_by_route_and_reason() {
    let rig = Rig::start();
    rig.get("/svc/a");
    rig.get("/svc/missing");
    rig.ask(get("/svc/a", &[]));
    rig.ask("nonsense\r\n\r\n");
    for (line, value) in [
        ("clearway_requests_total{route=\"svc\",status=\"200\"}", 1.0),
        ("clearway_requests_total{route=\"svc\",status=\"404\"}", 1.0),
        ("clearway_requests_total{route=\"svc\",status=\"401\"}", 1.0),
        ("clearway_requests_total{route=\"none\",status=\"400\"}", 1.0),
        ("clearway_rejects_total{code=\"ambiguous_request\"}", 1.0),
        ("clearway_request_duration_seconds_count{route=\"svc\"}", 3.0),
        ("clearway_upstream_duration_seconds_count{route=\"svc\"}", 2.0),
        ("clearway_ledger_slots", 2.0),
        ("clearway_snapshot_revision", 1.0),
    ] {
        eventually(line, || (rig.metric(line) == value).then_some(()));
    }
    eventually("nothing in flight", || (rig.metric("clearway_requests_in_flight") == 0.0).then_some(()));
}
