//! Targets killed, stalled and brought back under load: no wrong answer, and nothing done twice.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

use super::{
    fake::{Fake, Mode, OK},
    rig,
};
use crate::rig::{Rig, bearer, eventually, request};

const CLIENTS: usize = 6;

#[test]
fn no_answer_is_wrong_and_no_post_arrives_twice_while_targets_die_stall_and_return() {
    let fakes = ["a", "b", "c"].map(Fake::start);
    let rig = rig(
        &fakes.each_ref(),
        "read_timeout = \"2s\"\nretries = { per_try_timeout = \"200ms\", statuses = [503] }\n\
         outliers = { failures = 3, eject_for = \"200ms\" }\nhealth = { kind = \"tcp\", interval = \"50ms\" }",
    );
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let outcomes: Vec<HashMap<u16, usize>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                scope.spawn({
                    let (rig, done, served) = (&rig, &done, &served);
                    move || client(rig, n, done, served)
                })
            })
            .collect();
        let more = |n: usize| {
            let wanted = served.load(Relaxed) + n;
            eventually("requests", || (served.load(Relaxed) >= wanted).then_some(()));
        };
        more(200);
        fakes[0].kill();
        more(200);
        fakes[1].set(Mode::Stall);
        more(40);
        fakes[1].set(OK);
        fakes[0].revive();
        more(200);
        fakes[2].set(Mode::HangUp);
        more(100);
        fakes[2].set(OK);
        more(100);
        done.store(true, Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut total: HashMap<u16, usize> = HashMap::new();
    for (status, n) in outcomes.into_iter().flatten() {
        *total.entry(status).or_default() += n;
    }
    assert!(total.keys().all(|status| [200, 502, 504].contains(status)), "{total:?}");
    // Only what may not be sent again fails, and only while a target breaks.
    let failed = total.iter().filter(|(status, _)| **status != 200).map(|(_, n)| n).sum::<usize>();
    assert!(failed * 4 < total[&200], "{total:?}");

    let mut arrived: HashMap<String, usize> = HashMap::new();
    for received in fakes.iter().flat_map(Fake::received).filter(|r| r.head.starts_with("POST")) {
        assert_eq!(received.body, received.target().as_bytes());
        *arrived.entry(received.target().to_owned()).or_default() += 1;
    }
    assert!(arrived.values().all(|&n| n == 1), "{:?}", arrived.iter().find(|(_, n)| **n != 1));
}

/// Asks until it is over, each time for something else, and reads that very thing or an error.
fn client(rig: &Rig, number: usize, done: &AtomicBool, served: &AtomicUsize) -> HashMap<u16, usize> {
    let mut outcomes = HashMap::new();
    let mut client = rig.client();
    for n in 0.. {
        if done.load(Relaxed) {
            break;
        }
        let path = format!("/p/{number}/{n}");
        let (method, body) = if n % 3 == 0 { ("POST", path.as_str()) } else { ("GET", "") };
        let length = format!("Content-Length: {}", body.len());
        client.try_send(request(method, &path, &[&bearer(1), &length], body).as_bytes());
        let Some(answer) = client.try_read() else {
            client = rig.client();
            continue;
        };
        if answer.status == 200 {
            let body = String::from_utf8(answer.body.clone()).unwrap();
            assert!(body.ends_with(&format!(" {path}")), "asked for {path}, got {body}");
        } else {
            assert!(method == "POST", "{method} {path} was answered {answer:?}");
        }
        if answer.header("connection") == Some("close") {
            client = rig.client();
        }
        *outcomes.entry(answer.status).or_default() += 1;
        served.fetch_add(1, Relaxed);
    }
    outcomes
}
