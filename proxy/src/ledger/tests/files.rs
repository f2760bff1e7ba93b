//! Files that are not ours to open, and a disk that is full.

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    process::Command,
};

use tempfile::TempDir;

use super::*;

/// The error of opening a ledger of one subject after its bytes from `at` on were changed.
fn error_after(at: u64, bytes: &[u8]) -> String {
    let dir = TempDir::new().unwrap();
    drop(admit(&open(dir.path()).ledger, &noon(), 1, 1).unwrap());
    let file = OpenOptions::new().write(true).open(dir.path().join("ledger.bin")).unwrap();
    file.write_all_at(bytes, at).unwrap();
    let why = Ledger::open(dir.path(), &noon()).unwrap_err().to_string();
    why.strip_prefix(&dir.path().join("ledger.bin").display().to_string()).unwrap().to_owned()
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path());
    let why = Ledger::open(dir.path(), &noon()).unwrap_err().to_string();
    assert_eq!(why, format!("{} is used by another process", dir.path().join("ledger.bin").display()));
    drop(first);
    open(dir.path());
}

#[test]
fn a_file_that_is_not_a_ledger_of_this_release_is_refused_in_one_line() {
    assert_eq!(error_after(0, b"#!/bin/s"), " is not a quota ledger");
    let newer =
        " was written by a newer release (format 2, this one knows 1): run that release, or start with an empty directory";
    assert_eq!(error_after(8, &2_u32.to_le_bytes()), newer);
    assert_eq!(error_after(8, &0_u32.to_le_bytes()), " is damaged: its header's checksum is wrong");
    assert_eq!(error_after(14, b"x"), " is damaged: its header's checksum is wrong");

    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("ledger.bin"), "short").unwrap();
    assert!(Ledger::open(dir.path(), &noon()).unwrap_err().to_string().ends_with(" is not a quota ledger"));
}

#[test]
fn a_damaged_ledger_is_refused_and_says_what_is_wrong() {
    assert_eq!(error_after(4_096, &70_000_u32.to_ne_bytes()), " is damaged: it is shorter than it says");
    assert_eq!(error_after(4_096, &3_u32.to_ne_bytes()), " is damaged: a slot belongs to nobody");
    assert_eq!(error_after(65_536, &9_u32.to_ne_bytes()), " is damaged: an in-flight record is in no known state");
    assert_eq!(error_after(65_536 + 192, &[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), " is damaged: an in-flight record is of nobody");

    let dir = TempDir::new().unwrap();
    drop(admit(&open(dir.path()).ledger, &noon(), 1, 1).unwrap());
    let file = OpenOptions::new().write(true).open(dir.path().join("ledger.bin")).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let why = Ledger::open(dir.path(), &noon()).unwrap_err().to_string();
    assert!(why.ends_with(" is damaged: it is shorter than it says"), "{why}");
}

#[test]
fn a_ledger_keeps_its_id_and_its_counts() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let id = *ledger.id();
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    ledger.flush().unwrap();
    drop(ledger);
    let ledger = open(dir.path()).ledger;
    assert_eq!((*ledger.id(), ledger.subjects(), day_count(&ledger, &key(1))), (id, 2, 1));
    let other = TempDir::new().unwrap();
    assert_ne!(*open(other.path()).ledger.id(), id);
}

#[test]
fn a_ledger_grows_past_a_segment_and_finds_everybody_again() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let many = mapping::SEGMENT_SLOTS as u128 + 10;
    for k in 0..many {
        ledger.slot(&key(k)).unwrap();
    }
    drop(admit(&ledger, &noon(), 1, many - 1).unwrap());
    drop(ledger);
    let ledger = open(dir.path()).ledger;
    assert_eq!(u128::from(ledger.subjects()), many + 1);
    assert_eq!((day_count(&ledger, &key(many - 1)), day_count(&ledger, &key(0))), (1, 0));
    assert_eq!(ledger.totals(9).len(), 2);
}

#[test]
fn a_slot_that_is_another_kinds_or_nobodys_is_refused_and_not_charged() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let (a, k) = (ledger.slot(&account(1)).unwrap(), ledger.slot(&key(1)).unwrap());
    let unlimited = &Limits::UNLIMITED;
    for (a, k) in [(k, a), (a, a), (a, SlotId(2)), (SlotId(u32::MAX), k)] {
        let refused = ledger.admit(&noon(), request(0), FROM, (a, unlimited), (k, unlimited)).unwrap_err();
        assert_eq!(refused, Reject::LedgerUnavailable);
        assert_eq!(ledger.would_admit(&noon(), (a, unlimited), Some((k, unlimited))), Err(Reject::LedgerUnavailable));
    }
    assert_eq!((day_count(&ledger, &account(1)), ledger.in_flight()), (0, 0));
}

#[test]
fn looking_whether_a_request_would_be_admitted_counts_nothing() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let (a, k) = (ledger.slot(&account(1)).unwrap(), ledger.slot(&key(1)).unwrap());
    let (one, unlimited) = (&Limits { per_day: Some(1), ..Limits::UNLIMITED }, &Limits::UNLIMITED);
    let look = |of_account, of_key| ledger.would_admit(&noon(), (a, of_account), Some((k, of_key)));
    assert_eq!((look(one, one), look(one, one)), (Ok(()), Ok(())));
    assert_eq!(ledger.would_admit(&noon(), (a, one), None), Ok(()));
    assert_eq!((day_count(&ledger, &account(1)), day_count(&ledger, &key(1)), ledger.in_flight()), (0, 0, 0));
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    assert!(matches!(look(one, unlimited), Err(Reject::Quota(_))) && matches!(look(unlimited, one), Err(Reject::Quota(_))));
    assert!(ledger.would_admit(&noon(), (a, one), None).is_err());
    assert_eq!((look(unlimited, unlimited), day_count(&ledger, &account(1))), (Ok(()), 1));
}

#[test]
fn when_all_in_flight_records_are_taken_requests_are_refused_until_one_is_free() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let mut served: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| admit(&ledger, &noon(), 1, 1).unwrap()).collect();
    assert_eq!(admit(&ledger, &noon(), 1, 1).unwrap_err(), Reject::LedgerUnavailable);
    let unlogged = served.pop().unwrap().finish(200, 1);
    assert_eq!(admit(&ledger, &noon(), 1, 1).unwrap_err(), Reject::LedgerUnavailable, "its line is still owed");
    drop(unlogged);
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
}

const FULL: &str = "CLEARWAY_TEST_LEDGER_FULL";

/// Not a test by itself: what runs where no file may grow. Ends at once in an ordinary run of the tests.
#[test]
fn a_child_asks_for_a_slot_where_no_file_may_grow() {
    let Some(dir) = env::var_os(FULL) else { return };
    let ledger = open(Path::new(&dir)).ledger;
    let why = ledger.slot(&account(1)).unwrap_err();
    assert!(why.to_string().starts_with("cannot grow "), "{why}");
    assert_eq!((Reject::from(why), ledger.subjects()), (Reject::LedgerUnavailable, 0));
}

#[test]
fn a_full_disk_is_an_error_and_not_a_signal() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    // Between the ledger's 12 MiB and the 18 MiB that it would grow to; counted in blocks of 512 bytes.
    let limited =
        "trap '' XFSZ; ulimit -f 30000; exec \"$0\" --exact ledger::tests::files::a_child_asks_for_a_slot_where_no_file_may_grow";
    let child = Command::new("sh").args(["-c", limited]).arg(env::current_exe().unwrap()).env(FULL, dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    drop(admit(&open(dir.path()).ledger, &noon(), 1, 1).unwrap());
}
