//! Nothing goes wrong: of every window that is offered more than its limit all is admitted, by the time that it has been
//! offered half as much again, and nobody is told that the store is away.

use std::time::{Duration, Instant};

use clearway_testkit::redis::Redis;

use super::{
    conserved, judged,
    load::Load,
    missing, only_known, report,
    stand::{Stand, Use},
};

const USES: [Use; 5] = [
    Use { plan: "chaos-day", key_per_day: 0, rate: 150, held_ms: 0 },
    Use { plan: "chaos-few", key_per_day: 0, rate: 8, held_ms: 0 },
    Use { plan: "chaos-both", key_per_day: 150, rate: 60, held_ms: 0 },
    Use { plan: "brisk", key_per_day: 0, rate: 80, held_ms: 0 },
    Use { plan: "chaos-trickle", key_per_day: 0, rate: 12, held_ms: 0 },
];
/// A machine that is busy with other things may keep Redis from answering in time: so many answers of a hundred may say so.
const LATE_PERCENT: u64 = 2;

async fn calm(gateways: usize) {
    let redis = Redis::start();
    let mut stand = Stand::start("calm", &redis, gateways, &USES).await;
    let load = Load::start(&stand.streams);
    let (began, mut left) = (Instant::now(), missing(&stand).await);
    let half_as_much_again = |subject: usize| {
        let (admitted, not) = load.of(subject);
        let limit = stand.subjects[subject].1.per_day.expect("a day's limit");
        (admitted + not) * 2 >= limit * 3
    };
    let days = [0, 1, 2, 3];
    while !days.iter().all(|day| half_as_much_again(*day)) && began.elapsed() < Duration::from_secs(40) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Control is told within a moment.
    for _ in 0..20 {
        left = missing(&stand).await;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("after {:?} there is left: {left:?}", began.elapsed());
    let (history, answers) = load.end().await;
    let verdict = judged(&stand, &history);
    report(&verdict, &answers);
    only_known(&answers, false);
    assert_eq!(verdict.over, [], "limits were exceeded");
    conserved(&mut stand, &history, false).await;
    assert!(left.is_empty(), "was not admitted, of limits that were asked for more: {left:?}");
    // What seconds were short of is reported above: it depends on how soon a busy machine lets Redis answer.
    let of = |status: u16| answers.iter().filter(|((is, _), _)| *is == status).map(|(_, count)| count).sum::<u64>();
    let all: u64 = answers.values().sum();
    assert_eq!(of(0), 0, "nothing was away: {answers:?}");
    assert!(of(503) * 100 <= all * LATE_PERCENT, "nothing was away: {answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn three_gateways_admit_all_of_what_is_asked_for() {
    calm(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn eight_gateways_admit_all_of_what_is_asked_for() {
    calm(8).await;
}
