//! Fleets to which everything happens at once: gateways that stop, die and lose their files, wires that are cut, a Redis
//! that is away, is killed and forgets, a PostgreSQL that is away. Whatever it is, no window of any limit admits more
//! than its limit, nobody is answered wrongly, and in the end all of it has been admitted.
//!
//! Every run is made from a seed that it prints; `CLEARWAY_CHAOS_SEED` makes the same again, and `CLEARWAY_CHAOS_SECONDS`
//! longer ones (`make chaos`).

#![expect(clippy::print_stdout, reason = "figures of a run, and how to make it again")]

mod calm;
mod clocks;
mod doctored;
pub(crate) mod faults;
pub(crate) mod load;
mod soak;
pub(crate) mod stand;
mod upgrades;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use clearway_testkit::redis::Redis;

use self::{
    faults::{Trouble, seed},
    load::{Answers, Load},
    stand::{ALL, Stand},
};
use crate::{
    conservation,
    fleet::Proxy,
    quotas,
    windows::{Rules, Seen, Verdict, judge},
};

/// A gateway takes the store's clock to be earlier than it is by the time that an answer takes, and that is long on a
/// busy machine with slow wires.
const SLACK_US: u64 = 150_000;
/// Of a window of at least a thousand, so much may be left over, in thousandths; of a smaller one, one.
const MISSING_THOUSANDTHS: u64 = 1;
const SECONDS: u64 = 12;
/// After the trouble: until limits are used up.
const QUIET: Duration = Duration::from_secs(45);

fn seconds() -> Duration {
    let asked = std::env::var("CLEARWAY_CHAOS_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs(asked.unwrap_or(SECONDS))
}

async fn chaos(name: &str, gateways: usize, losses: bool, wipes: bool) {
    let mut redis = Redis::start();
    let mut stand = Stand::start(name, &redis, gateways, &ALL).await;
    let load = Load::start(&stand.streams);
    let trouble = Trouble { seed: seed(), until: Instant::now() + seconds(), losses, wipes, seldom: 1, kills_last: false };
    trouble.make(&mut stand.gateways, &stand.links, &mut redis, &stand.database).await;
    println!("all is well again");
    let quiet = Instant::now();
    let mut left = Vec::new();
    // Whoever has lost its files takes what it held along, for the window.
    while !wipes && quiet.elapsed() < QUIET {
        left = missing(&stand).await;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if wipes {
        goes_on(&load).await;
    }
    println!("after {:?} of quiet there is left: {left:?}", quiet.elapsed());
    let (history, answers) = load.end().await;
    let verdict = judged(&stand, &history);
    report(&verdict, &answers);
    only_known(&answers, wipes);
    assert_eq!(verdict.over, [], "limits were exceeded");
    conserved(&mut stand, &history, wipes).await;
    assert!(left.is_empty(), "was not admitted, of limits that were asked for more: {left:?}");
}

/// Waits until the store grants again: a gateway that is gone with its files is waited for until it is forgotten.
async fn goes_on(load: &Load) {
    let of_seconds = |answers: &Answers| answers.get(&(200, String::new())).copied().unwrap_or(0);
    let (began, before) = (Instant::now(), of_seconds(&load.answers()));
    while of_seconds(&load.answers()) < before + 200 {
        assert!(began.elapsed() < QUIET, "requests are not admitted again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn judged(stand: &Stand, history: &[Seen]) -> Verdict {
    judge(history, &Rules { subjects: &stand.subjects, gateways: stand.gateways.len(), slack_us: SLACK_US })
}

/// Days that are not used up yet by the count that control is told: the account, how much is left, and of how much.
async fn missing(stand: &Stand) -> Vec<(String, u64, u64)> {
    let mut missing = Vec::new();
    let days = stand.subjects.iter().filter(|(name, _)| !name.ends_with("key"));
    for ((name, limits), account) in days.zip(&stand.accounts) {
        let Some(limit) = limits.per_day else { continue };
        let counted = quotas::counted(&stand.control, account).await;
        assert!(counted <= limit, "{counted} of {limit} were counted of {name}");
        let may_be_left = if limit >= 1_000 { limit * MISSING_THOUSANDTHS / 1_000 } else { 1 };
        if limit - counted > may_be_left {
            missing.push((name.clone(), limit - counted, limit));
        }
    }
    missing
}

pub(crate) fn report(verdict: &Verdict, answers: &Answers) {
    println!("answers: {answers:?}");
    for (of, missing) in verdict.missing() {
        println!("{missing} missing: {of:?}");
    }
    println!("seconds offered too much: {:?}", verdict.seconds);
    println!("most in any stretch of a second: {:?}", verdict.most_in_a_second);
    println!("most at once: {:?}", verdict.most_at_once);
}

/// No other answers were given than these: nobody's key is doubted, and nothing breaks but connections of a gateway that
/// is killed. One that begins `anew` says so until it has its keys, and has been told that it needs no lease to use them.
pub(crate) fn only_known(answers: &Answers, anew: bool) {
    let known = [
        (200, ""),
        (429, "quota_exceeded"),
        (429, "rate_limit_exceeded"),
        (429, "concurrency_exceeded"),
        (503, "quota_store_unavailable"),
    ];
    let of_killed = |what: &str| what.contains(": lost: ") || what.contains(": connect: ");
    let odd: Vec<_> = answers
        .iter()
        .filter(|((status, code), _)| !known.contains(&(*status, code.as_str())))
        .filter(|((status, code), _)| *status != 0 || !of_killed(code))
        .filter(|((_, code), _)| !anew || !["not_ready", "auth_lease_expired"].contains(&code.as_str()))
        .collect();
    assert!(odd.is_empty(), "{odd:?} in {answers:?}");
}

/// What was answered, what is in access logs, what ledgers hold and what the API shows is the same number.
pub(crate) async fn conserved(stand: &mut Stand, history: &[Seen], wiped: bool) {
    use crate::windows::Answer;
    let of = |answer: Answer| history.iter().filter(|seen| seen.answer == answer).count() as u64;
    let (admitted, unknown) = (of(Answer::Admitted), of(Answer::None));
    let (mut shown, mut logged) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        shown = 0;
        for account in &stand.accounts {
            shown += quotas::counted(&stand.control, account).await;
        }
        let lines: Vec<String> = stand.gateways.iter().flat_map(Proxy::admitted_in_access_log).collect();
        logged = lines.len() as u64;
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "no request is logged twice");
        if shown == logged || (wiped && shown <= logged) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for gateway in &mut stand.gateways {
        gateway.process.signal("TERM");
        assert_eq!(gateway.process.ended().await, Some(0), "{} ends in order", gateway.name);
    }
    let counted: u64 = stand.gateways.iter().map(|gateway| conservation::counted(gateway).0).sum();
    println!("admitted {admitted}, not answered {unknown}, logged {logged}, counted {counted}, shown {shown}");
    if wiped {
        // What was not yet written and told is gone with the files.
        assert!(shown <= logged && counted <= logged, "{shown} shown, {counted} counted and {logged} logged");
        assert!(logged <= admitted + unknown, "{logged} logged, of at most {}", admitted + unknown);
        return;
    }
    assert_eq!((shown, counted), (logged, logged), "shown and counted is what is logged");
    assert!((admitted..=admitted + unknown).contains(&logged), "{logged} logged, of {admitted} to {}", admitted + unknown);
    assert!(stand.upstream.seen() <= logged, "nothing reaches the upstream uncounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_gateway_keeps_every_limit_whatever_happens() {
    chaos("one", 1, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn three_gateways_keep_every_limit_whatever_happens() {
    chaos("three", 3, true, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn eight_gateways_keep_every_limit_whatever_happens_to_their_files() {
    chaos("eight", 8, false, true).await;
}
