//! Quota decisions against a naive serial model: it keeps every admitted request and counts them anew.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// One subject, as slowly and plainly as possible.
#[derive(Clone, Default)]
struct Model {
    admitted: Vec<Stamp>,
    serving: usize,
    clock: Clock,
}

/// The windows a request was counted in.
#[derive(Clone, Copy, Default)]
struct Stamp {
    /// Seconds as this subject has lived through them: a clock set back opens the next one.
    second: u64,
    day: u32,
    month: u32,
}

#[derive(Clone, Copy, Default)]
struct Clock {
    at: Stamp,
    /// What the wall said in `at.second`.
    wall_second: u32,
}

impl Clock {
    fn read(&mut self, now: &Now) {
        if now.second > self.wall_second {
            self.at.second += u64::from(now.second - self.wall_second);
            self.wall_second = now.second;
        } else if self.wall_second - now.second > SECONDS_BACK_MAX {
            self.at.second += 1;
            self.wall_second = now.second;
        }
        self.at.day = self.at.day.max(now.day);
        self.at.month = self.at.month.max(now.month);
    }

    fn milli(&self, now: &Now) -> usize {
        if self.wall_second > now.second { 0 } else { now.milli as usize }
    }
}

impl Model {
    fn count(&self, within: impl Fn(&Stamp) -> bool) -> usize {
        self.admitted.iter().filter(|stamp| within(stamp)).count()
    }

    /// Whether one more fits; says nothing about the other subject.
    fn fits(&mut self, now: &Now, limits: &Limits) -> bool {
        self.clock.read(now);
        let at = self.clock.at;
        let this_second = self.count(|stamp| stamp.second == at.second);
        let second_before = self.count(|stamp| stamp.second + 1 == at.second);
        let weighs = second_before * (999 - self.clock.milli(now)) / 1_000;
        let below = |used: usize, limit: Option<u64>| limit.is_none_or(|limit| (used as u64) < limit);
        below(this_second + weighs, limits.per_second.map(u64::from))
            && below(self.count(|stamp| stamp.day == at.day), limits.per_day)
            && (limits.overage || below(self.count(|stamp| stamp.month == at.month), limits.per_month))
            && below(self.serving, limits.concurrent.map(u64::from))
    }

    fn admit(&mut self) {
        self.admitted.push(self.clock.at);
        self.serving += 1;
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, then a request comes.
    Request { pass: Pass },
    /// One request of those being served ends.
    Release,
    /// A plan or key is changed.
    Change { account: Limits, key: Limits },
}

#[derive(Debug, Clone)]
enum Pass {
    Forward(u64),
    Back(u64),
    /// To the first millisecond of the next second, day or month, or the last of this one.
    ToEdge {
        window: Window,
        before: bool,
    },
}

impl Pass {
    fn from(&self, ms: u64) -> u64 {
        match self {
            Pass::Forward(by) => ms + by,
            Pass::Back(by) => ms.saturating_sub(*by),
            Pass::ToEdge { window, before } => {
                let now = Now::at(ms);
                let edge = match window {
                    Window::Second | Window::Concurrent => (u64::from(now.second) + 1) * 1_000,
                    Window::Day => day_ends_ms(now.day),
                    Window::Month => month_ends_ms(now.month),
                };
                edge - u64::from(*before)
            }
        }
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let few = |most: u64| proptest::option::of(1..=most);
    (few(6), few(9), few(12), few(4), any::<bool>())
        .prop_map(|(second, day, month, concurrent, overage)| Limits::new(second, day, month, concurrent, overage).unwrap())
}

fn pass() -> impl Strategy<Value = Pass> {
    prop_oneof![
        8 => prop_oneof![Just(0), Just(1), 0..400_u64, 990..1_010_u64, 0..90_000_u64].prop_map(Pass::Forward),
        1 => (0..40 * 86_400_000_u64).prop_map(Pass::Forward),
        2 => prop_oneof![0..2_500_u64, 0..90_000_u64, 0..3 * 86_400_000_u64].prop_map(Pass::Back),
        3 => (prop_oneof![Just(Window::Second), Just(Window::Day), Just(Window::Month)], any::<bool>())
            .prop_map(|(window, before)| Pass::ToEdge { window, before }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => pass().prop_map(|pass| Step::Request { pass }),
        5 => Just(Step::Release),
        1 => (limits(), limits()).prop_map(|(account, key)| Step::Change { account, key }),
    ];
    proptest::collection::vec(step, 1..120)
}

/// Shortly before: the end of a leap year's February, the end of an ordinary one, new year, any time.
fn start_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(1_709_251_190_000),
        Just(1_772_323_190_000),
        Just(1_798_761_590_000),
        1_700_000_000_000..2_000_000_000_000_u64
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_those_of_the_naive_model(start in start_ms(), steps in steps(), first in (limits(), limits())) {
        let (mut ms, (mut account_limits, mut key_limits)) = (start, first);
        let (mut account, mut key) = (Windows::default(), Windows::default());
        let (mut account_model, mut key_model) = (Model::default(), Model::default());
        for step in steps {
            match step {
                Step::Change { account, key } => (account_limits, key_limits) = (account, key),
                Step::Release => for (windows, model) in [(&mut account, &mut account_model), (&mut key, &mut key_model)] {
                    release(windows);
                    model.serving = model.serving.saturating_sub(1);
                },
                Step::Request { pass } => {
                    ms = pass.from(ms);
                    let now = Now::at(ms);
                    let fits = [account_model.fits(&now, &account_limits), key_model.fits(&now, &key_limits)] == [true, true];
                    let before = [account, key].map(|mut windows| { windows.roll(&now); windows });
                    match decide(&now, (&mut account, &account_limits), (&mut key, &key_limits)) {
                        Ok(standing) => {
                            prop_assert!(fits, "admitted what the model refuses");
                            account_model.admit();
                            key_model.admit();
                            remaining_is_true(&now, &standing, (account, &account_limits), (key, &key_limits))?;
                        }
                        Err(refused) => {
                            prop_assert!(!fits, "refused what the model admits: {refused:?}");
                            prop_assert_eq!([account, key], before, "a refused request costs nothing");
                            waiting_helps(&now, &refused, (account, &account_limits), (key, &key_limits))?;
                        }
                    }
                }
            }
        }
        for (windows, model) in [(account, account_model), (key, key_model)] {
            let at = model.clock.at;
            prop_assert_eq!(windows.day_count as usize, model.count(|stamp| stamp.day == at.day));
            prop_assert_eq!(windows.day_before as usize, model.count(|stamp| stamp.day + 1 == at.day));
            prop_assert_eq!(windows.month_count as usize, model.count(|stamp| stamp.month == at.month));
            prop_assert_eq!(windows.concurrent as usize, model.serving);
        }
    }

    #[test]
    fn no_utc_second_day_or_month_ever_admits_more_than_its_limit(
        start in start_ms(),
        passes in proptest::collection::vec(pass(), 1..300),
        limits in limits().prop_map(|limits| Limits { concurrent: None, overage: false, ..limits }),
        of_key: bool,
    ) {
        let (account_limits, key_limits) = if of_key { (Limits::UNLIMITED, limits) } else { (limits, Limits::UNLIMITED) };
        let (mut ms, mut account, mut key) = (start, Windows::default(), Windows::default());
        let mut admitted: HashMap<(Window, u32), u64> = HashMap::new();
        for pass in passes {
            // A clock that only goes forward: then the windows are those on the wall.
            ms = pass.from(ms).max(ms);
            let now = Now::at(ms);
            if decide(&now, (&mut account, &account_limits), (&mut key, &key_limits)).is_err() {
                continue;
            }
            for (window, id, limit) in [
                (Window::Second, now.second, limits.per_second.map(u64::from)),
                (Window::Day, now.day, limits.per_day),
                (Window::Month, now.month, limits.per_month),
            ] {
                let count = admitted.entry((window, id)).or_default();
                *count += 1;
                prop_assert!(limit.is_none_or(|limit| *count <= limit), "{window:?} {id}: {count}");
            }
        }
    }

    #[test]
    fn a_caller_that_paces_itself_at_its_limit_is_never_refused(limit in 1..3_000_u64, offset_us in 0..2_000_000_u64) {
        let limits = Limits::new(Some(limit), None, None, None, false).unwrap();
        let (mut account, mut key) = (Windows::default(), Windows::default());
        for n in 0..limit * 3 {
            let now = Now::at(1_700_000_000_000 + (offset_us + n * 1_000_000 / limit) / 1_000);
            let decided = decide(&now, (&mut account, &limits), (&mut key, &Limits::UNLIMITED));
            prop_assert!(decided.is_ok(), "request {n} at {now:?}");
        }
    }

    #[test]
    fn windows_survive_their_words(words: [u64; WINDOWS_WORDS]) {
        prop_assert_eq!(Windows::from_words(words).to_words(), words);
    }

    #[test]
    fn no_state_of_the_file_and_no_time_makes_a_decision_panic(
        account: [u64; WINDOWS_WORDS],
        key: [u64; WINDOWS_WORDS],
        ms: u64,
        limits in limits(),
    ) {
        // Counts near 2^64 would overflow by counting; no file holds them, and debug builds would stop there.
        let sane = |words| {
            let windows = Windows::from_words(words);
            Windows { day_count: windows.day_count >> 1, month_count: windows.month_count >> 1, ..windows }
        };
        let (mut account, mut key) = (sane(account), sane(key));
        let _ = decide(&Now::at(ms), (&mut account, &limits), (&mut key, &limits));
    }
}

type Held<'a> = (Windows, &'a Limits);

/// The least that is left of any limit is how many more are admitted at that very moment.
fn remaining_is_true(now: &Now, standing: &Standing, account: Held<'_>, key: Held<'_>) -> Result<(), TestCaseError> {
    let (mut account_windows, mut key_windows) = (account.0, key.0);
    let more = (0..30).take_while(|_| decide(now, (&mut account_windows, account.1), (&mut key_windows, key.1)).is_ok()).count();
    let least = standing.iter().map(|left| left.remaining).min().unwrap_or(u64::MAX);
    prop_assert_eq!(more as u64, least.min(30));
    Ok(())
}

/// After the time that a refusal names the request is admitted, and a millisecond earlier it is not.
fn waiting_helps(now: &Now, refused: &Refused, account: Held<'_>, key: Held<'_>) -> Result<(), TestCaseError> {
    let full = |held: Held<'_>| held.1.concurrent.is_some_and(|limit| held.0.concurrent >= limit);
    if full(account) || full(key) {
        return Ok(());
    }
    let decide_after = |wait: u64| {
        let (mut account_windows, mut key_windows) = (account.0, key.0);
        decide(&Now::at(now.ms + wait), (&mut account_windows, account.1), (&mut key_windows, key.1))
    };
    let wait = refused.refusal.retry_after_ms;
    prop_assert!(wait > 0);
    prop_assert!(decide_after(wait).is_ok(), "still refused after {wait} ms: {:?}", decide_after(wait));
    prop_assert!(decide_after(wait - 1).is_err(), "admitted before {wait} ms");
    Ok(())
}

fn decide_for(ms: u64, windows: &mut Windows, limits: &Limits) -> Result<Standing, Box<Refused>> {
    decide(&Now::at(ms), (windows, limits), (&mut Windows::default(), &Limits::UNLIMITED))
}

const NOON_MS: u64 = 1_770_724_800_000;

#[test]
fn of_several_refusing_limits_the_one_that_lasts_longest_is_named() {
    let limits = Limits::new(Some(1), Some(1), None, Some(1), false).unwrap();
    let mut windows = Windows::default();
    decide_for(NOON_MS, &mut windows, &limits).unwrap();
    let refused = decide_for(NOON_MS, &mut windows, &limits).unwrap_err();
    assert_eq!(refused.refusal, Refusal { subject: Subject::Account, window: Window::Day, limit: 1, retry_after_ms: 43_200_000 });
    assert_eq!(refused.standing.iter().map(|left| left.remaining).collect::<Vec<_>>(), [0, 0, 0]);
}

#[test]
fn a_month_with_overage_never_refuses_and_promises_nothing() {
    let limits = Limits { per_month: Some(1), overage: true, ..Limits::UNLIMITED };
    let mut windows = Windows::default();
    for _ in 0..3 {
        assert!(decide_for(NOON_MS, &mut windows, &limits).unwrap().is_empty());
    }
    assert_eq!(windows.month_count, 3);
}

#[test]
fn a_clock_set_back_by_a_month_does_not_reopen_a_day_or_a_month() {
    let limits = Limits { per_day: Some(1), ..Limits::UNLIMITED };
    let mut windows = Windows::default();
    decide_for(NOON_MS, &mut windows, &limits).unwrap();
    let refused = decide_for(NOON_MS - 40 * 86_400_000, &mut windows, &limits).unwrap_err();
    assert_eq!(refused.refusal.retry_after_ms, 40 * 86_400_000 + 43_200_000);
}

#[test]
fn a_lowered_limit_counts_what_was_spent() {
    let mut windows = Windows::default();
    let (high, low) = (Limits { per_day: Some(9), ..Limits::UNLIMITED }, Limits { per_day: Some(3), ..Limits::UNLIMITED });
    for _ in 0..5 {
        decide_for(NOON_MS, &mut windows, &high).unwrap();
    }
    assert_eq!(decide_for(NOON_MS, &mut windows, &low).unwrap_err().standing.iter().next().unwrap().remaining, 0);
    assert_eq!(decide_for(NOON_MS, &mut windows, &high).unwrap().iter().next().unwrap().remaining, 3);
}

#[test]
fn rolling_tells_which_days_count_it_drops() {
    let day = Now::at(NOON_MS).day;
    let windows = Windows { day, day_count: 5, day_before: 3, ..Windows::default() };
    let after = |days: u64| windows.day_dropped_by(&Now::at(NOON_MS + days * 86_400_000));
    assert_eq!([after(0), after(1), after(2)], [None, Some((day - 1, 3)), Some((day, 5))]);
    assert_eq!(Windows { day_count: 0, ..windows }.day_dropped_by(&Now::at(NOON_MS + 2 * 86_400_000)), Some((day - 1, 3)));
    assert_eq!(Windows::default().day_dropped_by(&Now::at(NOON_MS)), None);
    assert_eq!([windows.admitted_on(day), windows.admitted_on(day - 1), windows.admitted_on(day - 2)], [5, 3, 0]);
}

#[test]
fn the_smallest_part_left_is_nearest_to_exhaustion_and_concurrency_never_is() {
    let limits = Limits::new(Some(100), Some(10), Some(10), Some(1), false).unwrap();
    let standing = decide_for(NOON_MS, &mut Windows::default(), &limits).unwrap();
    let nearest = standing.nearest().unwrap();
    assert_eq!((nearest.window, nearest.remaining), (Window::Month, 9), "of two alike the longer");
}

#[test]
fn a_subject_that_stands_alone_is_counted_and_refused_like_any_other() {
    let limits = Limits { per_second: Some(2), per_day: Some(3), concurrent: Some(3), ..Limits::UNLIMITED };
    let mut windows = Windows::default();
    let mut ask = |ms: u64| decide_alone(&Now::at(ms), Subject::Address, &mut windows, &limits);
    let standing = ask(1_770_724_800_000).unwrap();
    assert!(standing.iter().all(|left| left.subject == Subject::Address));
    assert_eq!(standing.nearest().map(|left| (left.window, left.remaining)), Some((Window::Second, 1)));
    ask(1_770_724_800_001).unwrap();
    let refused = ask(1_770_724_800_002).unwrap_err().refusal;
    assert_eq!((refused.subject, refused.window, refused.limit), (Subject::Address, Window::Second, 2));
    ask(1_770_724_810_000).unwrap();
    assert_eq!(ask(1_770_724_820_000).unwrap_err().refusal.window, Window::Day);
    assert_eq!((windows.day_count, windows.concurrent), (3, 3), "a refusal costs nothing");
}
