//! A kill at every point of an admission, each state taken from the real code by copying the mapped file.

use std::{
    cell::RefCell,
    fs::{self, OpenOptions},
};

use tempfile::TempDir;

use super::*;

const FILE: &str = "ledger.bin";

/// The ledger as a kill would leave it at this moment.
pub(super) fn copy_of(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::copy(dir.join(FILE), copy.path().join(FILE)).unwrap();
    copy_journals(dir, copy.path());
    copy
}

/// What an admission that was killed at `step` leaves; one request by the same key was admitted and logged before,
/// in the month before.
fn killed_at_each_step() -> Vec<(Step, TempDir)> {
    let dir = TempDir::new().unwrap();
    let earlier = Now::at(NOON_MS - 20 * DAY_MS);
    let ledger = Ledger::open(dir.path(), &earlier).unwrap().ledger;
    drop(admit(&ledger, &earlier, 1, 1).unwrap().finish(200, 1));
    ledger.spool_ended_days(&noon()).unwrap();

    let (a, k) = (ledger.slot(&account(1)).unwrap(), ledger.slot(&key(1)).unwrap());
    let copies = RefCell::new(Vec::new());
    let unlimited = &Limits::UNLIMITED;
    let keep_copy = |step| copies.borrow_mut().push((step, copy_of(dir.path())));
    drop(ledger.admit_in_steps(&noon(), request(7), FROM, (a, unlimited), Some((k, unlimited)), keep_copy));
    copies.into_inner()
}

/// Opens what a kill has left, and what that leaves, and so on: the answer must not change.
fn assert_happened_exactly_once(left: &Path) {
    let opened = open(left);
    assert_eq!(opened.interrupted.len(), 1);
    let owed = &opened.interrupted[0];
    assert_eq!((owed.request, owed.admitted_ms, owed.finished), (request(7), NOON_MS, None));
    assert_eq!((Subject::Account(owed.account), Subject::Key(owed.key.unwrap())), (account(1), key(1)));
    assert_counted(&opened.ledger);

    let killed_again = copy_of(left);
    let again = open(killed_again.path());
    assert_eq!(again.interrupted.len(), 1, "a line stays owed until it is written");
    assert_counted(&again.ledger);

    drop(again);
    let last = open(killed_again.path());
    assert!(last.interrupted.is_empty(), "a line that was written is not owed again");
    assert_counted(&last.ledger);
}

fn assert_counted(ledger: &Ledger) {
    for subject in [account(1), key(1)] {
        let windows = windows(ledger, &subject);
        let noon = noon();
        assert_eq!((windows.day, windows.day_count), (noon.day, 1));
        assert_eq!((windows.month, windows.month_count), (noon.month, 1));
        assert_eq!((windows.second, windows.second_count), (noon.second, 1));
        assert_eq!((windows.concurrent, windows.last_used_ms), (0, NOON_MS));
    }
}

#[test]
fn a_kill_before_the_commit_leaves_nothing_and_a_kill_after_it_leaves_all_of_it() {
    for (step, left) in killed_at_each_step() {
        if step >= Step::Committed {
            assert_happened_exactly_once(left.path());
            continue;
        }
        let opened = open(left.path());
        assert!(opened.interrupted.is_empty(), "{step:?}");
        for subject in [account(1), key(1)] {
            let windows = windows(&opened.ledger, &subject);
            assert_eq!((windows.admitted_on(noon().day), windows.month_count, windows.concurrent), (0, 1, 0), "{step:?}");
        }
        assert_eq!(opened.ledger.in_flight(), 0);
    }
}

#[test]
fn a_kill_in_the_middle_of_writing_a_slot_leaves_all_of_it() {
    let copies = killed_at_each_step();
    let committed = copies.iter().find(|(step, _)| *step == Step::Committed).unwrap().1.path();
    for words in 0..=2 * clearway_filters::quota::WINDOWS_WORDS {
        let left = copy_of(committed);
        let file = OpenOptions::new().read(true).write(true).open(left.path().join(FILE)).unwrap();
        let map = Mapping::open(file).unwrap().unwrap();
        let record = map.records().iter().find(|record| record.state() == Some(State::Committed)).unwrap();
        let ((account, key), (account_windows, key_windows)) = (record.slots(), record.windows());
        for (slot, windows, words) in [(account, account_windows, words), (key, key_windows, words.saturating_sub(7))] {
            // What holds this lock is the dead process; here it was reset when the copy was mapped.
            map.slot(slot).unwrap().lock().set_windows_in_part(&windows, words);
        }
        drop(map);
        assert_happened_exactly_once(left.path());
    }
}

#[test]
fn a_slot_that_is_ahead_of_a_committed_record_is_left_alone() {
    let copies = killed_at_each_step();
    let committed = copies.iter().find(|(step, _)| *step == Step::Committed).unwrap().1.path();
    let file = OpenOptions::new().read(true).write(true).open(committed.join(FILE)).unwrap();
    let map = Mapping::open(file).unwrap().unwrap();
    let record = map.records().iter().find(|record| record.state() == Some(State::Committed)).unwrap();
    let later = Windows { day_count: 9, ..record.windows().0 };
    map.slot(record.slots().0).unwrap().lock().set_windows(&later);
    drop(map);
    assert_eq!(day_count(&open(committed).ledger, &account(1)), 9);
}

#[test]
fn a_finished_request_is_returned_with_its_answer_and_its_concurrency_is_void() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let served = admit(&ledger, &noon(), 1, 1).unwrap();
    let unlogged = admit(&ledger, &noon(), 1, 2).unwrap().finish(201, 17);
    drop(admit(&ledger, &noon(), 1, 3).unwrap().finish(200, 1));

    let left = copy_of(dir.path());
    let opened = open(left.path());
    let mut finished: Vec<_> = opened.interrupted.iter().map(|owed| owed.finished).collect();
    finished.sort_unstable();
    assert_eq!(finished, [None, Some((201, 17))]);
    assert_eq!(windows(&opened.ledger, &account(1)).concurrent, 0);
    assert_eq!((day_count(&opened.ledger, &account(1)), opened.ledger.in_flight()), (3, 2));
    drop((served, unlogged));
    assert_eq!(ledger.in_flight(), 0);
}

#[test]
fn a_lock_that_was_held_at_a_kill_is_free_at_the_next_start() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    let held = ledger.map.slot(SlotId(0)).unwrap().lock();
    let left = copy_of(dir.path());
    drop(held);
    let opened = open(left.path());
    drop(admit(&opened.ledger, &noon(), 1, 1).unwrap());
    assert_eq!(day_count(&opened.ledger, &account(1)), 2);
}

#[test]
fn a_request_without_a_key_is_counted_for_its_account_alone_and_survives_a_kill_like_any_other() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let a = ledger.slot(&account(1)).unwrap();
    let copies = RefCell::new(Vec::new());
    let keep_copy = |step| copies.borrow_mut().push((step, copy_of(dir.path())));
    let limits = Limits { per_day: Some(1), ..Limits::UNLIMITED };
    let admission = ledger.admit_in_steps(&noon(), request(7), FROM, (a, &limits), None, keep_copy).unwrap();
    assert_eq!(admission.standing().iter().count(), 1, "no key, no limits of a key");
    assert!(ledger.admit_account(&noon(), request(8), FROM, (a, &limits)).is_err(), "the account's limits hold");
    assert_eq!(windows(&ledger, &account(1)).concurrent, 1);
    drop(admission.finish(200, 1));
    assert_eq!((windows(&ledger, &account(1)).concurrent, day_count(&ledger, &account(1))), (0, 1));
    assert_eq!(ledger.totals(10).len(), 1);

    for (step, left) in copies.into_inner() {
        let opened = open(left.path());
        if step < Step::Committed {
            assert!(opened.interrupted.is_empty());
            continue;
        }
        let owed = &opened.interrupted[0];
        assert_eq!((owed.request, Subject::Account(owed.account), owed.key), (request(7), account(1), None));
        assert_eq!((day_count(&opened.ledger, &account(1)), windows(&opened.ledger, &account(1)).concurrent), (1, 0));
    }
}
