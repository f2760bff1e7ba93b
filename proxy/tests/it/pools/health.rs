//! Active checks over HTTP and TCP; gRPC's are in `h2`.

use super::{
    fake::{Fake, Mode, OK},
    picking::up,
    rig, served_by,
};
use crate::rig::eventually;

const OFTEN: &str = "interval = \"20ms\", timeout = \"1s\", healthy = 2, unhealthy = 2";

#[test]
fn an_http_check_that_fails_takes_a_target_out_and_one_that_succeeds_brings_it_back() {
    let (one, two) = (Fake::start("one"), Fake::start("two"));
    let rig = rig(&[&one, &two], &format!("health = {{ kind = \"http\", path = \"/health\", {OFTEN} }}"));
    two.set_health(Mode::Status(500));
    eventually("two to be out", || (up(&rig) == 1).then_some(()));
    assert!((0..10).all(|_| served_by(&rig, "/p/a", &[]) == "one"));
    two.set_health(OK);
    eventually("two to be back", || (up(&rig) == 2).then_some(()));
    eventually("a request at two", || (served_by(&rig, "/p/a", &[]) == "two").then_some(()));
}

#[test]
fn a_check_is_answered_in_time_or_failed() {
    let (one, two) = (Fake::start("one"), Fake::start("two"));
    let words = "health = { kind = \"http\", path = \"/health\", interval = \"20ms\", timeout = \"50ms\", unhealthy = 1 }";
    let rig = rig(&[&one, &two], words);
    two.set_health(Mode::Stall);
    eventually("two to be out", || (up(&rig) == 1).then_some(()));
    two.set_health(OK);
    eventually("two to be back", || (up(&rig) == 2).then_some(()));
}

#[test]
fn a_tcp_check_sees_a_process_go_and_come() {
    let (one, two) = (Fake::start("one"), Fake::start("two"));
    let rig = rig(&[&one, &two], &format!("health = {{ kind = \"tcp\", {OFTEN} }}"));
    eventually("both", || (up(&rig) == 2).then_some(()));
    two.kill();
    eventually("two to be out", || (up(&rig) == 1).then_some(()));
    assert!((0..10).all(|_| served_by(&rig, "/p/a", &[]) == "one"));
    two.revive();
    eventually("two to be back", || (up(&rig) == 2).then_some(()));
}

#[test]
fn when_every_check_fails_requests_are_sent_all_the_same() {
    let (one, two) = (Fake::start("one"), Fake::start("two"));
    let rig = rig(&[&one, &two], &format!("health = {{ kind = \"http\", path = \"/health\", {OFTEN} }}"));
    one.set_health(Mode::Status(404));
    two.set_health(Mode::Status(404));
    eventually("both to be out", || (up(&rig) == 0).then_some(()));
    let served: std::collections::HashSet<_> = (0..4).map(|_| served_by(&rig, "/p/a", &[])).collect();
    assert_eq!(served.len(), 2);
}
