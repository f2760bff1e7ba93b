//! Histories made by hand, those included that must not pass.

use super::*;

/// 2026-02-10T12:00:00Z.
const NOON_US: u64 = 1_770_724_800_000_000;

fn at(ms: u64, took_ms: u64, answer: Answer) -> Seen {
    let began_us = NOON_US + ms * 1_000;
    Seen { gateway: 0, subjects: [Some(0), None], began_us, ended_us: began_us + took_ms * 1_000, held_us: 0, answer }
}

fn admitted(times_ms: impl IntoIterator<Item = u64>) -> Vec<Seen> {
    times_ms.into_iter().map(|ms| at(ms, 5, Answer::Admitted)).collect()
}

fn of(limits: Limits, history: &[Seen]) -> Verdict {
    let subjects = [("subject".to_owned(), limits), ("key".to_owned(), Limits { per_day: Some(2), ..Limits::UNLIMITED })];
    judge(history, &Rules { subjects: &subjects, gateways: 1, slack_us: 20_000 })
}

fn per_day(n: u64) -> Limits {
    Limits { per_day: Some(n), ..Limits::UNLIMITED }
}

fn per_second(n: u32) -> Limits {
    Limits { per_second: Some(n), ..Limits::UNLIMITED }
}

#[test]
fn a_day_with_one_too_many_is_found() {
    let history = admitted([0, 10, 20]);
    assert_eq!(of(per_day(3), &history).over, []);
    let over = of(per_day(2), &history).over;
    assert_eq!((over.len(), over[0].admitted, over[0].limit), (1, 3, 2));
}

#[test]
fn what_may_have_been_counted_on_the_next_day_is_no_proof() {
    let midnight_ms = 12 * 3_600_000;
    let history = admitted([0, 10, midnight_ms - 2, midnight_ms + 10, midnight_ms + 50]);
    assert_eq!(of(per_day(2), &history).over, [], "one was answered after midnight, one may have been counted before it");
    assert_eq!(of(per_day(1), &history).over.len(), 1);
    assert_eq!(of(Limits { per_month: Some(4), ..Limits::UNLIMITED }, &history).over.len(), 1);
}

#[test]
fn a_key_is_judged_beside_its_account() {
    let mut history = admitted([0, 10, 20]);
    history.iter_mut().for_each(|seen| seen.subjects[1] = Some(1));
    let over = of(per_day(3), &history).over;
    assert_eq!((over.len(), over[0].subject.as_str()), (1, "key"));
}

#[test]
fn a_second_with_one_too_many_is_found_and_so_is_one_that_forgets_the_second_before() {
    let full = admitted((0..10).map(|n| 30 + n * 10));
    assert_eq!(of(per_second(10), &full).over, []);
    assert_eq!(of(per_second(9), &full).over.len(), 1);
    // At the next second's tenth millisecond nine of the ten weigh still.
    let forgets = admitted((0..10).map(|n| 30 + n * 10).chain((0..10).map(|n| 1_030 + n)));
    let over = of(per_second(10), &forgets).over;
    assert_eq!(over.len(), 1);
    assert!(over[0].admitted > 10, "{over:?}");
    let keeps = admitted((0..10).map(|n| 30 + n * 10).chain((0..9).map(|n| 1_110 + n * 100)));
    assert_eq!(of(per_second(10), &keeps).over, []);
}

#[test]
fn gateways_that_each_drop_fractions_are_given_as_many() {
    let history = admitted((0..10).map(|n| 30 + n * 10).chain([1_030, 1_035, 1_040]));
    let subjects = [("subject".to_owned(), per_second(10))];
    let judged = |gateways| judge(&history, &Rules { subjects: &subjects, gateways, slack_us: 0 }).over.len();
    assert_eq!((judged(1), judged(3)), (1, 0));
}

#[test]
fn the_most_in_any_stretch_of_a_second_is_told() {
    let history = admitted([0, 900, 950, 990, 1_500, 1_890, 1_950]);
    assert_eq!(of(per_second(10), &history).most_in_a_second["subject"], (5, 10));
}

#[test]
fn those_surely_served_at_the_same_time_are_counted() {
    let limits = Limits { concurrent: Some(2), ..Limits::UNLIMITED };
    let served = |ms| Seen { held_us: 100_000, ..at(ms, 120, Answer::Admitted) };
    assert_eq!(of(limits, &[served(0), served(10), served(115), served(120)]).over, []);
    let over = of(limits, &[served(0), served(10), served(20)]).over;
    assert_eq!((over.len(), over[0].admitted), (1, 3));
    // Those took so long that nobody knows when they were served.
    let slow = |ms| Seen { held_us: 100_000, ..at(ms, 220, Answer::Admitted) };
    assert_eq!(of(limits, &[slow(0), slow(10), slow(20)]).over, []);
}

#[test]
fn what_was_refused_or_not_answered_is_no_proof_and_what_is_missing_is_told() {
    let mut history = admitted([0, 10]);
    history.extend([
        at(20, 5, Answer::None),
        at(30, 5, Answer::Refused),
        at(40, 5, Answer::Unavailable),
        at(50, 5, Answer::Refused),
    ]);
    let verdict = of(per_day(4), &history);
    assert_eq!(verdict.over, []);
    let (offered, missing) = verdict.missing().next().unwrap();
    assert_eq!((offered.offered, offered.admitted, offered.unknown, offered.early, missing), (6, 2, 1, 2, 2));
    assert_eq!(of(per_day(5), &history).missing().count(), 0, "six are less than one and a half times five");
    assert_eq!(of(per_day(2), &history).missing().next().map(|(of, missing)| (of.early, missing)), Some((0, 0)));
}

#[test]
fn seconds_that_were_offered_too_much_are_summed() {
    let mut history = admitted([0, 100, 200, 1_000]);
    history.extend([at(300, 1, Answer::Refused), at(1_100, 1, Answer::Refused)]);
    let verdict = of(per_second(2), &history);
    assert_eq!(verdict.seconds["subject"], Seconds { seconds: 1, admitted: 3, could: 2 });
}
