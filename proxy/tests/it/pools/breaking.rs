//! Targets that are left out, and upstreams that are left alone.

use super::{
    ask,
    fake::{Fake, Mode, OK},
    rig, served_by,
};
use crate::rig::eventually;

#[test]
fn a_target_that_keeps_failing_is_left_out_and_tried_again_later() {
    let (good, bad) = (Fake::start("good"), Fake::start("bad"));
    bad.set(Mode::Status(500));
    let rig = rig(&[&good, &bad], "outliers = { failures = 3, eject_for = \"300ms\" }");
    let failed = (0..40).filter(|_| ask(&rig, "GET", "/p/a", &[], "").status == 500).count();
    assert!((3..=6).contains(&failed), "three failures, and one for each return: {failed}");
    assert!(rig.metric("clearway_upstream_ejections_total{upstream=\"pool\"}") >= 1.0);
    bad.set(OK);
    eventually("its return", || (served_by(&rig, "/p/a", &[]) == "bad").then_some(()));
}

#[test]
fn a_breaker_opens_refuses_at_once_and_closes_when_probes_succeed() {
    let only = Fake::start("only");
    only.set(Mode::Status(500));
    let rig = rig(&[&only], "breaker = { requests_min = 5, open_for = \"300ms\", probes = 2 }");
    for _ in 0..5 {
        assert_eq!(ask(&rig, "GET", "/p/a", &[], "").status, 500);
    }
    let refused = ask(&rig, "GET", "/p/a", &[], "");
    assert_eq!((refused.status, refused.error().as_str()), (503, "upstream_circuit_open"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(only.received().len(), 5, "what is refused does not arrive");
    assert_eq!(rig.metric("clearway_upstream_breaker_state{upstream=\"pool\"}"), 2.0);

    eventually("a probe", || (ask(&rig, "GET", "/p/a", &[], "").status == 500).then_some(()));
    assert_eq!(ask(&rig, "GET", "/p/a", &[], "").status, 503, "it failed: open again");
    only.set(OK);
    eventually("a probe that succeeds", || (ask(&rig, "GET", "/p/a", &[], "").status == 200).then_some(()));
    assert_eq!(served_by(&rig, "/p/b", &[]), "only");
    assert_eq!(rig.metric("clearway_upstream_breaker_state{upstream=\"pool\"}"), 0.0);
    assert_eq!(rig.metric("clearway_upstream_breaker_opened_total{upstream=\"pool\"}"), 2.0);
}

#[test]
fn requests_that_are_refused_by_a_breaker_are_counted_like_any_other() {
    let only = Fake::start("only");
    only.set(Mode::HangUp);
    let rig = rig(&[&only], "breaker = { requests_min = 1, open_for = \"1h\" }");
    assert_eq!(ask(&rig, "POST", "/p/a", &[], "x").status, 502);
    assert_eq!(ask(&rig, "POST", "/p/a", &[], "x").error(), "upstream_circuit_open");
    assert_eq!(rig.counted(), 2);
    let lines = rig.log_until(|lines| lines.len() == 2);
    for code in ["upstream_unreachable", "upstream_circuit_open"] {
        assert!(lines.iter().any(|line| line["reject"] == code), "{lines:?}");
    }
}
