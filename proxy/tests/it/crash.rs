//! What survives the death of the process. A copy of the data directory is what a killed process leaves
//! behind: nothing in it was closed, flushed or told.

use std::path::Path;

use serde_json::Value;

use crate::rig::{Rig, bearer, eventually, get};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn admitted(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|l| l["admitted"] == true).collect()
}

#[test]
fn a_request_that_was_being_served_gets_its_line_exactly_once() {
    let mut rig = Rig::start();
    for _ in 0..10 {
        assert_eq!(rig.get("/svc/a").status, 200);
    }
    let mut slow = rig.client();
    slow.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(11);
    eventually("ten lines and one record", || (rig.log().len() == 10 && rig.proxy().ledger().in_flight() == 1).then_some(()));
    rig.crash_and_restart(copy, |_| {});

    let lines = rig.log_until(|lines| lines.len() >= 11);
    assert_eq!((admitted(&lines).len(), lines.len(), rig.counted()), (11, 11, 11));
    let owed: Vec<_> = lines.iter().filter(|l| l["interrupted"] == true).collect();
    assert_eq!((owed.len(), &owed[0]["status"], &owed[0]["admitted"]), (1, &499.into(), &true.into()));
    assert_eq!(owed[0]["key_id"], crate::rig::key_id(1).to_string());
    assert_eq!(rig.proxy().ledger().in_flight(), 0);

    rig.crash_and_restart(copy, |_| {});
    assert_eq!((rig.log().len(), rig.counted()), (11, 11), "not again at the start after that");
}

#[test]
fn a_line_that_made_it_to_the_file_is_not_written_twice() {
    let mut rig = Rig::start();
    let mut slow = rig.client();
    slow.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(1);
    let upstream = rig.upstream.clone();
    // The ledger as of before the answer, the log as of after it.
    rig.crash_and_restart(copy, move |log| {
        upstream.release();
        assert_eq!(slow.read().status, 200);
        eventually("the line", || std::fs::read_to_string(log).ok().filter(|text| text.ends_with('\n')));
    });
    let lines = rig.log();
    assert_eq!((lines.len(), rig.counted()), (1, 1), "{lines:?}");
    assert_eq!((&lines[0]["status"], lines[0].get("interrupted")), (&200.into(), None));
}

#[test]
fn places_that_a_dead_process_held_are_free() {
    let mut rig = Rig::start();
    rig.set_limits(clearway_config::Limits { concurrent: Some(1), ..clearway_config::Limits::UNLIMITED });
    let mut slow = rig.client();
    slow.send(get("/svc/slow", &[&bearer(1)]));
    rig.upstream.wait_for_requests(1);
    rig.crash_and_restart(copy, |_| {});
    assert_eq!(rig.get("/svc/a").status, 200);
}
