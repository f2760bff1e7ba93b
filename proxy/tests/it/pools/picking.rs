//! Which target is asked.

use std::collections::HashMap;

use super::{
    ask,
    fake::{Fake, Mode, OK},
    rig, rig_of, served_by,
};
use crate::rig::{bearer, eventually, get, request};

#[test]
fn weights_are_kept() {
    let (heavy, light) = (Fake::start("heavy"), Fake::start("light"));
    let targets = format!("targets = [{{ address = {}, weight = 3 }}, {{ address = {} }}]", heavy.target(), light.target());
    let routes = super::settings(&[], &targets).replace("addresses = []\n", "");
    let rig = crate::rig::Rig::start_with(crate::upstream::Upstream::start(), &routes, |_| {});
    for _ in 0..40 {
        served_by(&rig, "/p/a", &[]);
    }
    assert_eq!((heavy.received().len(), light.received().len()), (30, 10));
}

#[test]
fn the_same_header_leads_to_the_same_target_while_others_come_and_go() {
    let fakes = ["a", "b", "c", "d"].map(Fake::start);
    let rig = rig(
        &fakes.each_ref(),
        "balance = \"hash\"\nhash_by = \"header:X-Tenant\"\nhealth = { kind = \"http\", path = \"/health\", interval = \"20ms\", healthy = 1, unhealthy = 1 }",
    );
    let ask_all = || -> HashMap<usize, String> {
        (0..40).map(|tenant| (tenant, served_by(&rig, "/p/x", &[&format!("X-Tenant: tenant-{tenant}")]))).collect()
    };
    let before = ask_all();
    assert_eq!(ask_all(), before);
    fakes[0].set_health(Mode::Status(500));
    eventually("a to be passed over", || (rig.metric("clearway_upstream_target_up") < 4.0 && up(&rig) == 3).then_some(()));
    let after = ask_all();
    assert!(before.iter().all(|(tenant, was)| if was == "a" { after[tenant] != "a" } else { after[tenant] == *was }));
    fakes[0].set_health(OK);
    eventually("a to be back", || (up(&rig) == 4).then_some(()));
    assert_eq!(ask_all(), before);
}

/// Targets that are up.
pub(super) fn up(rig: &crate::rig::Rig) -> usize {
    let text = String::from_utf8(rig.admin("/metrics").body).unwrap();
    text.lines().filter(|l| l.starts_with("clearway_upstream_target_up{") && l.contains("\"pool\"") && l.ends_with(" 1")).count()
}

#[test]
fn a_key_without_the_header_goes_by_its_address() {
    let fakes = ["a", "b", "c"].map(Fake::start);
    let rig = rig(&fakes.each_ref(), "balance = \"hash\"\nhash_by = \"header:X-Tenant\"");
    let first = served_by(&rig, "/p/x", &[]);
    assert!((0..10).all(|_| served_by(&rig, "/p/x", &[]) == first));
}

#[test]
fn beyond_its_connections_a_target_is_passed_over_and_an_upstream_refuses() {
    let (one, two) = (Fake::start("one"), Fake::start("two"));
    let rig = rig(&[&one, &two], "connections_max = 1");
    for fake in [&one, &two] {
        fake.set(Mode::Stall);
    }
    let mut held: Vec<_> = (0..2).map(|_| rig.client()).collect();
    for client in &mut held {
        // What is not sent again when its target lets go of it.
        client.send(request("POST", "/p/held", &[&bearer(1), "Content-Length: 1"], "x"));
    }
    one.wait_for_requests(1);
    two.wait_for_requests(1);
    let refused = ask(&rig, "GET", "/p/third", &[], "");
    assert_eq!((refused.status, refused.error().as_str()), (503, "upstream_overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    one.set(OK);
    two.set(OK);
    eventually("room", || (ask(&rig, "GET", "/p/fourth", &[], "").status == 200).then_some(()));
    assert_eq!(one.received().len() + two.received().len(), 3, "the third never arrived");
}

#[test]
fn a_target_that_was_ejected_stays_so_when_other_settings_change() {
    let (good, bad) = (Fake::start("good"), Fake::start("bad"));
    let words = "outliers = { failures = 1, eject_for = \"1h\" }";
    let rig = rig(&[&good, &bad], words);
    bad.set(Mode::Status(500));
    eventually("the ejection", || (ask(&rig, "GET", "/p/a", &[], "").status == 500).then_some(()));
    let routes = super::settings(&[good.target(), bad.target()], words);
    let more = "[[routes]]\nname = \"q\"\npath = \"/q\"\nupstream = \"pool\"\nauth = \"open\"\n";
    std::fs::write(rig.routes_file(), format!("{routes}{more}")).unwrap();
    rig.proxy().reload();
    assert_eq!(rig.ask(get("/q/a", &[])).status, 200, "the change is in force");
    assert!((0..20).all(|_| served_by(&rig, "/p/a", &[]) == "good"));
    assert_eq!(rig.metric("clearway_upstream_ejections_total{upstream=\"pool\"}"), 1.0);
}

#[test]
fn an_upstream_of_nothing_but_dead_names_is_unreachable() {
    let rig = rig_of(&["\"http://does-not-exist.invalid:1\"".to_owned()], "");
    let answer = ask(&rig, "GET", "/p/a", &[], "");
    assert_eq!((answer.status, answer.error().as_str()), (502, "upstream_unreachable"));
}
