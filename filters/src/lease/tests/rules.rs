//! The store's rules one by one.

use super::{super::call::bucket_of, *};

const DAY: u32 = 20_494;

fn book_with(policy: Policy) -> (Book, Incarnation) {
    let mut book = Book::new(policy, "run");
    let incarnation = ready(&mut book, NOON_MS, &[1, 2, 3]);
    (book, incarnation)
}

fn day(limit: u64, holds: u64, want: u64) -> Asks {
    Asks { day: Some(LongAsk { window: DAY, limit, holds, want, bare: false }), ..Asks::default() }
}

fn second(limit: u32, share: u32, want_share: u32, want_tokens: u32) -> Asks {
    Asks { second: Some(SecondAsk { limit, share, want_share, want_tokens, bare: false }), ..Asks::default() }
}

fn slots(limit: u32, holds: u32, want: u32) -> Asks {
    Asks { slots: Some(SlotsAsk { limit, holds, want, bare: false }), ..Asks::default() }
}

/// Carries out node `n`'s call number `seq`.
fn take(book: &mut Book, incarnation: &Incarnation, now_ms: u64, n: u8, seq: u64, asks: Asks) -> Answer {
    let incarnation = Some(incarnation.clone());
    let take = Take { caller: caller(n, 1, seq), incarnation, account: account(), account_asks: asks, key: None };
    book.take(now_ms, &take)
}

fn given(answer: Answer) -> Given {
    let Answer::Given(grants) = answer else { panic!("nothing was given: {answer:?}") };
    grants.account
}

#[test]
fn grants_get_smaller_toward_the_end_and_all_of_it_is_given() {
    let (mut book, incarnation) = book_with(Policy::default());
    let mut holds = [0, 0];
    let mut sizes = Vec::new();
    for seq in 2..200 {
        for n in [0, 1] {
            let asks = day(1_000, holds[n], 300);
            let LongGiven { granted, .. } = given(take(&mut book, &incarnation, NOON_MS, n as u8 + 1, seq, asks)).day.unwrap();
            sizes.push(granted - holds[n]);
            holds[n] = granted;
        }
    }
    // A quarter of what is left; an eighth once two nodes ask.
    assert_eq!(sizes[..3], [250, 93, 82]);
    assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]));
    assert_eq!(holds.iter().sum::<u64>(), 1_000);
}

#[test]
fn what_is_returned_is_given_to_others_and_an_old_call_changes_nothing() {
    let (mut book, incarnation) = book_with(Policy { long_parts: 1, ..Policy::default() });
    let all = given(take(&mut book, &incarnation, NOON_MS, 1, 2, day(10, 0, 10))).day.unwrap();
    assert_eq!((all.granted, all.left), (10, 0));
    assert_eq!(given(take(&mut book, &incarnation, NOON_MS, 2, 2, day(10, 0, 5))).day.unwrap().granted, 0);
    let returned = given(take(&mut book, &incarnation, NOON_MS, 1, 3, day(10, 4, 0))).day.unwrap();
    assert_eq!((returned.granted, returned.left), (4, 6));
    assert_eq!(given(take(&mut book, &incarnation, NOON_MS, 2, 3, day(10, 0, 3))).day.unwrap().granted, 3);
    assert_eq!(take(&mut book, &incarnation, NOON_MS, 1, 3, day(10, 0, 0)), Answer::Stale);
    assert_eq!(take(&mut book, &incarnation, NOON_MS, 1, 2, day(10, 0, 0)), Answer::Stale);
}

#[test]
fn a_window_takes_calls_from_shortly_before_it_until_shortly_after_it() {
    let (mut book, incarnation) = book_with(Policy::default());
    let (begins, ends) = (crate::quota::day_begins_ms(DAY), crate::quota::day_ends_ms(DAY));
    let mut seq = 1;
    let mut is_open = |now_ms: u64| {
        seq += 1;
        let given = given(take(&mut book, &incarnation, now_ms, 1, seq, day(10, 0, 1))).day.unwrap();
        assert_eq!(given.granted, u64::from(given.open));
        given.open
    };
    assert!(!is_open(begins - WINDOW_SLACK_MS - 1) && is_open(begins - WINDOW_SLACK_MS));
    assert!(is_open(ends + WINDOW_SLACK_MS - 1) && !is_open(ends + WINDOW_SLACK_MS));
}

#[test]
fn nothing_is_given_of_any_window_where_it_could_not_be_spent() {
    let (mut book, incarnation) = book_with(Policy { long_parts: 1, ..Policy::default() });
    // The key's day is all with another node.
    let asks = |bare| {
        let month = Some(LongAsk { window: 2026 * 12 + 1, limit: 100, holds: 0, want: 10, bare: true });
        let key_day = LongAsk { window: DAY, limit: 5, holds: 0, want: 5, bare };
        (Asks { month, ..second(100, 0, 10, 0) }, Asks { day: Some(key_day), ..Asks::default() })
    };
    let call = |book: &mut Book, n, seq, bare| {
        let (account_asks, key_asks) = asks(bare);
        let incarnation = Some(incarnation.clone());
        let key = Some((key(), key_asks));
        let take = Take { caller: caller(n, 1, seq), incarnation, account: account(), account_asks, key };
        let Answer::Given(grants) = book.take(NOON_MS, &take) else { panic!() };
        (grants.account.month.unwrap().granted, grants.account.second.unwrap().share, grants.key.day.unwrap().granted)
    };
    assert_eq!(call(&mut book, 1, 2, true), (10, 10, 5));
    assert_eq!(call(&mut book, 2, 2, true), (0, 0, 0), "bare of the key's day, which is gone");
    assert_eq!(call(&mut book, 2, 3, false), (10, 10, 0), "it has some of it left");
}

#[test]
fn shares_follow_demand_and_never_add_up_to_more_than_the_limit() {
    let (mut book, incarnation) = book_with(Policy::default());
    let (mut shares, mut seq) = ([0_u32; 2], 1);
    let mut wants = [100, 10];
    let mut out = |now_ms: u64, wants: [u32; 2], shares: &mut [u32; 2]| {
        seq += 1;
        for n in [0, 1] {
            let asks = second(100, shares[n], wants[n], 0);
            shares[n] = given(take(&mut book, &incarnation, now_ms, n as u8 + 1, seq, asks)).second.unwrap().share;
        }
        assert!(shares.iter().sum::<u32>() <= 100, "{shares:?}");
    };
    let mut now_ms = NOON_MS;
    out(now_ms, wants, &mut shares);
    assert_eq!(shares, [100, 0], "the first takes what it wants");
    for _ in 0..5 {
        now_ms += 1_000;
        out(now_ms, wants, &mut shares);
    }
    assert_eq!(shares, [91, 9], "by what they want, rounded up as far as there is room");
    wants = [10, 100];
    for _ in 0..6 {
        now_ms += 1_000;
        out(now_ms, wants, &mut shares);
    }
    assert_eq!(shares, [10, 90]);
}

#[test]
fn tokens_are_a_sliding_second_of_all_nodes() {
    let (mut book, incarnation) = book_with(Policy::default());
    let mut seq = 1;
    let mut tokens = |now_ms: u64, n: u8, want: u32| {
        seq += 1;
        given(take(&mut book, &incarnation, now_ms, n, seq, second(10, 0, 0, want))).second.unwrap().tokens
    };
    assert_eq!([tokens(NOON_MS, 1, 6), tokens(NOON_MS + 1, 2, 6), tokens(NOON_MS + 999, 3, 1)], [6, 4, 0]);
    // 10 × (999 - 250) / 1000 = 7 still count.
    assert_eq!(tokens(NOON_MS + 1_250, 1, 10), 3);
    assert_eq!(tokens(NOON_MS + 3_000, 1, 20), 10);
    assert_eq!(tokens(NOON_MS + 2_500, 2, 1), 0, "a clock a little behind counts in the newest second");
}

#[test]
fn slots_end_unless_they_are_renewed_and_count_while_what_they_admitted_may_go_on() {
    let policy = Policy { slots_parts: 1, ..Policy::default() };
    let gone_ms = NOON_MS + 5_000 + policy.slots_lease_ms + policy.forget_after_ms;
    let (mut book, incarnation) = book_with(policy);
    let mut held = |now_ms: u64, n: u8, seq: u64, holds: u32, want: u32| {
        given(take(&mut book, &incarnation, now_ms, n, seq, slots(10, holds, want))).slots.unwrap().slots
    };
    assert_eq!(held(NOON_MS, 1, 2, 0, 10), 10);
    assert_eq!(held(NOON_MS, 2, 2, 0, 1), 0);
    assert_eq!(held(NOON_MS + 5_000, 1, 3, 8, 0), 8);
    assert_eq!(held(NOON_MS + 15_000, 2, 3, 0, 10), 1, "of two that are left, half of them: the others may be in use");
    assert_eq!(held(gone_ms - 1, 2, 4, 1, 9), 2);
    assert_eq!(held(gone_ms, 2, 5, 2, 8), 10, "what was not renewed is nobody's");
    // The node that stood still has three requests in flight. They count, and it gets no more.
    assert_eq!(held(gone_ms + 1, 1, 4, 3, 5), 0);
    assert_eq!(held(gone_ms + 2, 2, 6, 0, 0), 0);
    assert_eq!(held(gone_ms + 3, 3, 2, 0, 10), 3, "of seven that are left, half of them");
}

#[test]
fn a_bucket_whose_data_is_lost_waits_for_all_that_were_there_and_not_for_ever() {
    let policy = Policy { long_parts: 1, ..Policy::default() };
    let (mut book, old) = book_with(policy);
    let granted = |n, seq, want, book: &mut Book| given(take(book, &old, NOON_MS, n, seq, day(10, 0, want))).day.unwrap();
    assert_eq!(granted(1, 2, 3, &mut book).granted, 3);
    assert_eq!(granted(2, 2, 4, &mut book).granted, 3);
    book.lose("other run");
    let Answer::Lost(new) = take(&mut book, &old, NOON_MS + 1, 1, 3, day(10, 3, 1)) else { panic!() };
    assert_ne!(new, old);
    assert_eq!(take(&mut book, &new, NOON_MS + 1, 1, 4, day(10, 3, 1)), Answer::Restoring);

    let held = |holds, out| Held {
        subject: SubjectId::Account(account()),
        second: None,
        day: Some(HeldLong { window: DAY, holds, out }),
        month: None,
        slots: None,
    };
    let restore = |n: u8, seq, holds, out, now_ms: u64, book: &mut Book| {
        let restore = Restore {
            caller: caller(n, 1, seq),
            bucket: bucket_of(&account()),
            incarnation: Some(new.clone()),
            held: vec![held(holds, out)],
            done: true,
            members: vec![(node(1), NOON_MS), (node(2), NOON_MS)],
            departed: false,
        };
        book.restore(now_ms, &restore)
    };
    // Node 1 heard that 6 were out with all.
    assert_eq!(restore(1, 5, 3, 6, NOON_MS + 2, &mut book), Restored::Restoring(new.clone(), 1));
    let mut waiting = book.clone();
    assert_eq!(restore(2, 5, 3, 6, NOON_MS + 3, &mut book), Restored::Ready(new.clone()));
    let all = given(take(&mut book, &new, NOON_MS + 4, 1, 6, day(10, 3, 10))).day.unwrap();
    assert_eq!((all.granted, all.left), (7, 0));

    // Without node 2 nothing is given until it is forgotten, and then what is known of its part stays away.
    let later = NOON_MS + policy.forget_after_ms;
    assert_eq!(restore(1, 6, 3, 6, later - 1, &mut waiting), Restored::Restoring(new.clone(), 1));
    assert_eq!(restore(1, 7, 3, 6, later, &mut waiting), Restored::Ready(new.clone()));
    assert_eq!(given(take(&mut waiting, &new, later, 1, 8, day(10, 3, 10))).day.unwrap().granted, 7);
}

#[test]
fn a_restart_with_data_is_a_loss_too_until_nodes_have_said_what_they_hold() {
    let (mut book, old) = book_with(Policy { long_parts: 1, ..Policy::default() });
    assert_eq!(given(take(&mut book, &old, NOON_MS, 1, 2, day(10, 0, 10))).day.unwrap().granted, 10);
    book.restart("later run");
    assert!(matches!(take(&mut book, &old, NOON_MS, 1, 3, day(10, 10, 0)), Answer::Lost(_)));
}

#[test]
fn a_share_that_is_restored_counts_and_so_does_what_was_admitted_lately() {
    let mut book = Book::new(Policy::default(), "run");
    let mut restore = Restore {
        caller: caller(1, 1, 1),
        bucket: bucket_of(&account()),
        incarnation: None,
        held: vec![],
        done: false,
        members: vec![],
        departed: false,
    };
    let Restored::Restoring(found, 1) = book.restore(NOON_MS, &restore) else { panic!() };
    let this = u32::try_from(NOON_MS / 1_000).unwrap();
    let second_held = HeldSecond { share: 4, lasts_ms: 2_000, second: this, count: 3, before: 0 };
    restore.incarnation = Some(found.clone());
    restore.done = true;
    restore.held = vec![Held {
        subject: SubjectId::Account(account()),
        second: Some(second_held),
        day: None,
        month: None,
        slots: Some(HeldSlots { slots: 2, lasts_ms: 2_000 }),
    }];
    assert_eq!(book.restore(NOON_MS, &restore), Restored::Ready(found.clone()));
    let asks = Asks { slots: slots(5, 0, 5).slots, ..second(10, 0, 10, 0) };
    let given = given(take(&mut book, &found, NOON_MS, 2, 1, asks));
    assert_eq!(given.second.unwrap().share, 3, "10 without a share of 4 and 3 that were admitted");
    assert_eq!(given.slots.unwrap().left + given.slots.unwrap().slots, 3);
}

#[test]
fn members_are_who_has_beaten_lately_and_a_node_of_before_does_not_bring_itself_back() {
    let mut book = Book::new(Policy::default(), "run");
    let beat = |n: u8, epoch: u64, leaving: bool| Beat {
        caller: caller(n, epoch, 1),
        name: "node".into(),
        leaving,
        knows: None,
        lost: vec![BucketLost { bucket: u16::from(n), incarnation: Incarnation::new("x") }],
    };
    book.beat(NOON_MS, &beat(1, 2, false));
    let mut told = |ms: u64, beat: &Beat| book.beat(NOON_MS + ms, beat).roster.unwrap();
    let both = told(10, &beat(2, 1, false));
    assert_eq!((both.members, both.lost.len()), (vec![node(1), node(2)], 2));
    assert_eq!(told(20, &beat(1, 1, true)).members, [node(1), node(2)], "an earlier start of it");
    let left = told(20, &beat(1, 2, true));
    assert_eq!((left.members, left.departed), (vec![node(2)], vec![node(1)]));
    let again = told(30, &beat(1, 3, false));
    assert_eq!((again.members, again.departed), (vec![node(1), node(2)], vec![]));
    told(40, &beat(2, 1, true));
    let later = told(40 + Policy::default().forget_after_ms, &beat(3, 1, false));
    assert_eq!((later.members, later.departed), (vec![node(3)], vec![]));
}

#[test]
fn a_roster_is_told_again_only_when_it_is_another() {
    let mut book = Book::new(Policy::default(), "run");
    let beat = |n: u8, knows: Option<RosterVersion>| Beat {
        caller: caller(n, 1, 1),
        name: "node".into(),
        leaving: false,
        knows,
        lost: vec![],
    };
    let first = book.beat(NOON_MS, &beat(1, None)).version;
    let same = book.beat(NOON_MS + 2_000, &beat(1, Some(first.clone())));
    assert_eq!((same.version, same.roster), (first.clone(), None));
    book.beat(NOON_MS + 2_500, &beat(2, None));
    let other = book.beat(NOON_MS + 3_000, &beat(1, Some(first)));
    assert_eq!(other.roster.unwrap().members, [node(1), node(2)]);
    book.lose("run2");
    let lost = book.beat(NOON_MS + 4_000, &beat(1, Some(other.version)));
    assert_eq!(lost.roster.unwrap().members, [node(1)], "what was forgotten is another, too");
}

#[test]
fn accounts_are_spread_over_all_buckets() {
    let mut counts = vec![0_u32; usize::from(BUCKETS)];
    for n in 0..25_600_u128 {
        let account = clearway_config::AccountId::new(NOON_MS, n << 64);
        counts[usize::from(bucket_of(&account))] += 1;
    }
    assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
}
