//! What is tried again, where, and how often.

use super::{
    ask,
    fake::{Fake, Mode, OK},
    rig, rig_of, served_by,
};

fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("\"http://{}\"", listener.local_addr().unwrap())
}

#[test]
fn a_request_that_was_not_sent_is_sent_elsewhere_whatever_it_is() {
    let there = Fake::start("there");
    let rig = rig_of(&[nobody(), there.target()], "");
    for n in 0..6 {
        assert_eq!(served_by(&rig, "/p/get", &[]), "there");
        assert_eq!(ask(&rig, "POST", &format!("/p/{n}"), &[], "body").status, 200);
    }
    let posts: Vec<_> = there.received().into_iter().filter(|r| r.head.starts_with("POST")).collect();
    assert_eq!(posts.len(), 6);
    assert!(posts.iter().all(|post| post.body == b"body"));
}

#[test]
fn what_was_sent_is_sent_again_only_where_that_does_no_harm() {
    let (good, bad) = (Fake::start("good"), Fake::start("bad"));
    bad.set(Mode::HangUp);
    for (method, body, again) in
        [("GET", "", true), ("PUT", "new", true), ("DELETE", "", true), ("POST", "order", false), ("PATCH", "part", false)]
    {
        let rig = rig(&[&good, &bad], "");
        let (at_good, at_bad) = (good.received().len(), bad.received().len());
        let statuses: Vec<_> = (0..4).map(|n| ask(&rig, method, &format!("/p/{n}"), &[], body).status).collect();
        let failed = statuses.iter().filter(|&&s| s == 502).count();
        assert_eq!(bad.received().len() - at_bad, 2, "{method}");
        if again {
            assert_eq!(failed, 0, "{method}");
            assert_eq!(good.received().len() - at_good, 4, "{method}");
            assert!(good.received()[at_good..].iter().all(|r| r.body == body.as_bytes()));
        } else {
            assert_eq!(failed, 2, "{method}");
            assert_eq!(good.received().len() - at_good, 2, "{method} was sent twice");
        }
    }
}

#[test]
fn an_answer_is_tried_again_by_its_status_if_the_settings_say_so() {
    let (good, bad) = (Fake::start("good"), Fake::start("bad"));
    bad.set(Mode::Status(503));
    let rig = rig(&[&good, &bad], "retries = { statuses = [502, 503] }");
    assert!((0..6).all(|_| served_by(&rig, "/p/a", &[]) == "good"));
    let posts: Vec<_> = (0..4).map(|_| ask(&rig, "POST", "/p/a", &[], "x").status).collect();
    assert_eq!(posts.iter().filter(|&&s| s == 503).count(), 2);
    bad.set(Mode::Status(500));
    let statuses: Vec<_> = (0..4).map(|_| ask(&rig, "GET", "/p/a", &[], "").status).collect();
    assert_eq!(statuses.iter().filter(|&&s| s == 500).count(), 2, "500 is none of them");
}

#[test]
fn the_last_answer_goes_to_the_client_when_there_is_nobody_left_to_try() {
    let fakes = ["a", "b"].map(Fake::start);
    for fake in &fakes {
        fake.set(Mode::Status(503));
    }
    let rig = rig(&fakes.each_ref(), "retries = { attempts = 5, statuses = [503] }");
    let answer = ask(&rig, "GET", "/p/a", &[], "");
    assert_eq!((answer.status, answer.header("x-served-by").is_some()), (503, true));
    assert_eq!(fakes.iter().map(|f| f.received().len()).sum::<usize>(), 2);
}

#[test]
fn retries_end_with_the_budget() {
    let fakes = ["a", "b"].map(Fake::start);
    for fake in &fakes {
        fake.set(Mode::Status(503));
    }
    let rig = rig(&fakes.each_ref(), "retries = { statuses = [503], budget_percent = 10 }");
    for _ in 0..100 {
        assert_eq!(ask(&rig, "GET", "/p/a", &[], "").status, 503);
    }
    let asked: usize = fakes.iter().map(|f| f.received().len()).sum();
    // A tenth, and the reserve of ten that each second adds one to.
    assert!((110..140).contains(&asked), "{asked}");
    assert!(rig.metric("clearway_upstream_retry_budget_exhausted_total{upstream=\"pool\"}") > 50.0);
    assert_eq!(rig.metric("clearway_upstream_retries_total{upstream=\"pool\"}"), (asked - 100) as f64);
}

#[test]
fn a_silent_target_is_given_up_for_another_after_the_time_of_one_try() {
    let (good, silent) = (Fake::start("good"), Fake::start("silent"));
    silent.set(Mode::Stall);
    let rig = rig(&[&good, &silent], "read_timeout = \"400ms\"\nretries = { per_try_timeout = \"100ms\" }");
    assert!((0..4).all(|_| served_by(&rig, "/p/a", &[]) == "good"));
    assert_eq!(silent.received().len(), 2);
    let posts: Vec<_> = (0..2).map(|_| ask(&rig, "POST", "/p/a", &[], "x").status).collect();
    assert!(posts.contains(&504) && posts.contains(&200), "{posts:?}");
    silent.set(OK);
}

#[test]
fn all_attempts_together_take_no_longer_than_the_total() {
    let silent = Fake::start("silent");
    silent.set(Mode::Stall);
    let rig = rig(&[&silent], "total_timeout = \"100ms\"");
    for method in ["GET", "POST"] {
        let answer = ask(&rig, method, "/p/a", &[], "");
        assert_eq!((answer.status, answer.error().as_str()), (504, "upstream_timeout"));
    }
}
