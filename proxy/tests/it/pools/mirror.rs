//! Copies of requests for another upstream.

use super::{
    ask,
    fake::{Fake, Mode, OK},
    settings,
};
use crate::{
    rig::{Rig, eventually},
    upstream::Upstream,
};

fn rig(primary: &Fake, shadow: &Fake, mirror: &str) -> Rig {
    let pool = settings(&[primary.target()], "");
    let shadow = format!("[[upstreams]]\nname = \"shadow\"\naddresses = [{}]\n", shadow.target());
    Rig::start_with(Upstream::start(), &format!("{shadow}{pool}{mirror}\n"), |_| {})
}

const ALL: &str = "mirror = { upstream = \"shadow\" }";

#[test]
fn a_copy_of_the_request_goes_to_the_mirror_and_its_answer_to_nobody() {
    let (primary, shadow) = (Fake::start("primary"), Fake::start("shadow"));
    shadow.set(Mode::Status(500));
    let rig = rig(&primary, &shadow, ALL);
    for (method, body) in [("GET", ""), ("POST", "order"), ("DELETE", "")] {
        let signature = ["X-Own: 1", "Signature-Input: sig=(\"@method\")", "Signature: sig=:AA==:"];
        let answer = ask(&rig, method, "/p/a?b=c", &signature, body);
        assert_eq!((answer.status, answer.header("x-served-by")), (200, Some("primary")));
    }
    shadow.wait_for_requests(3);
    let (mut sent, mut copied) = (primary.received(), shadow.received());
    sent.sort_by(|a, b| a.head.cmp(&b.head));
    copied.sort_by(|a, b| a.head.cmp(&b.head));
    for (one, copy) in sent.iter().zip(&copied) {
        assert_eq!((one.target(), &one.body), (copy.target(), &copy.body));
        for name in ["x-own", "x-request-id", "x-clearway-account-id", "host"] {
            assert_eq!(one.header(name), copy.header(name), "{name}");
        }
        assert_eq!((one.header("x-clearway-mirror").len(), copy.header("x-clearway-mirror")), (0, vec!["true"]));
        for name in ["authorization", "signature", "signature-input"] {
            assert!(copy.header(name).is_empty(), "{name}: credentials stay here");
        }
    }
}

#[test]
fn a_mirror_that_is_silent_or_gone_delays_and_fails_nobody() {
    let (primary, shadow) = (Fake::start("primary"), Fake::start("shadow"));
    shadow.set(Mode::Stall);
    let rig = rig(&primary, &shadow, ALL);
    for _ in 0..300 {
        assert_eq!(ask(&rig, "GET", "/p/a", &[], "").status, 200);
    }
    shadow.kill();
    for _ in 0..50 {
        assert_eq!(ask(&rig, "POST", "/p/a", &[], "x").status, 200);
    }
    eventually("copies to be given up", || (rig.metric("clearway_mirror_requests_total{result=\"failed\"") > 0.0).then_some(()));
    shadow.set(OK);
}

#[test]
fn only_the_share_that_was_asked_for_is_copied_and_no_large_body() {
    let (primary, shadow) = (Fake::start("primary"), Fake::start("shadow"));
    let rig = rig(&primary, &shadow, "mirror = { upstream = \"shadow\", percent = 10 }");
    for _ in 0..500 {
        assert_eq!(ask(&rig, "GET", "/p/a", &[], "").status, 200);
    }
    let copied = rig.metric("clearway_mirror_requests_total");
    assert!(copied <= 100.0, "{copied}");
    eventually("some", || (shadow.received().len() > 10).then_some(()));

    let (primary, shadow) = (Fake::start("primary"), Fake::start("shadow"));
    let rig = self::rig(&primary, &shadow, ALL);
    assert_eq!(ask(&rig, "POST", "/p/large", &[], &"x".repeat(100_000)).status, 200);
    assert_eq!(ask(&rig, "POST", "/p/small", &[], "x").status, 200);
    shadow.wait_for_requests(1);
    assert_eq!(shadow.received()[0].target(), "/p/small");
    assert_eq!(rig.metric("clearway_mirror_requests_total{result=\"too_large\""), 1.0);
}
