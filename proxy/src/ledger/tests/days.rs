//! Days that end: what is spooled, what is refused until it is, and where late requests are counted.

use std::fs;

use tempfile::TempDir;

use super::*;

fn at_day(days: u64) -> Now {
    Now::at(NOON_MS + days * DAY_MS)
}

fn spooled(ledger: &Ledger, day: u32) -> Vec<(Subject, u64)> {
    let totals = ledger.open_spooled(day).unwrap().map(|total| total.unwrap());
    totals.map(|total| (total.subject, total.admitted)).collect()
}

#[test]
fn a_day_that_is_over_is_spooled_once_and_kept_until_control_has_it() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let today = noon().day;
    for _ in 0..3 {
        drop(admit(&ledger, &noon(), 1, 1).unwrap());
    }
    drop(admit(&ledger, &noon(), 1, 2).unwrap());
    drop(admit(&ledger, &at_day(1), 1, 1).unwrap());
    ledger.spool_ended_days(&noon()).unwrap();
    assert_eq!(ledger.spooled_days().unwrap(), [0; 0]);

    ledger.spool_ended_days(&at_day(1)).unwrap();
    assert_eq!(ledger.spooled_days().unwrap(), [today]);
    assert_eq!(spooled(&ledger, today), [(account(1), 4), (key(1), 3), (key(2), 1)]);
    let first = ledger.open_spooled(today).unwrap().nth(1).unwrap().unwrap();
    assert_eq!((first.day, first.last_used_ms, first.last_address), (today, at_day(1).ms, Some(FROM)));

    drop(ledger);
    let ledger = Ledger::open(dir.path(), &at_day(1)).unwrap().ledger;
    assert_eq!(spooled(&ledger, today).len(), 3, "it survives a start");
    ledger.remove_spooled(today).unwrap();
    ledger.remove_spooled(today).unwrap();
    ledger.spool_ended_days(&at_day(1)).unwrap();
    assert_eq!(ledger.spooled_days().unwrap(), [0; 0]);
}

#[test]
fn a_start_days_later_spools_every_day_that_has_counts() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    drop(admit(&ledger, &at_day(1), 1, 2).unwrap());
    drop(ledger);
    let ledger = Ledger::open(dir.path(), &at_day(9)).unwrap().ledger;
    let today = noon().day;
    assert_eq!(ledger.spooled_days().unwrap(), [today, today + 1]);
    assert_eq!(spooled(&ledger, today), [(account(1), 1), (key(1), 1)]);
    assert_eq!(spooled(&ledger, today + 1), [(account(1), 1), (key(2), 1)]);
}

#[test]
fn a_count_that_is_not_spooled_is_never_rolled_over() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    drop(admit(&ledger, &at_day(1), 1, 1).unwrap());
    assert_eq!(admit(&ledger, &at_day(2), 1, 1).unwrap_err(), Reject::LedgerUnavailable);
    assert_eq!(admit(&ledger, &at_day(2), 1, 2).unwrap_err(), Reject::LedgerUnavailable, "the account would lose it");
    assert_eq!(ledger.in_flight(), 0);
    ledger.spool_ended_days(&at_day(2)).unwrap();
    drop(admit(&ledger, &at_day(2), 1, 1).unwrap());
    assert_eq!(spooled(&ledger, noon().day), [(account(1), 1), (key(1), 1)]);
}

#[test]
fn a_spool_that_cannot_be_written_is_an_error_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    let spool = dir.path().join("usage-spool");
    fs::remove_dir(&spool).unwrap();
    fs::write(&spool, "in the way").unwrap();
    let why = ledger.spool_ended_days(&at_day(1)).unwrap_err().to_string();
    assert!(why.starts_with("cannot write ") && why.ends_with(".totals"), "{why}");
    drop(admit(&ledger, &at_day(1), 1, 1).unwrap());
    assert_eq!(admit(&ledger, &at_day(2), 1, 1).unwrap_err(), Reject::LedgerUnavailable);

    fs::remove_file(&spool).unwrap();
    fs::create_dir(&spool).unwrap();
    ledger.spool_ended_days(&at_day(2)).unwrap();
    assert_eq!(spooled(&ledger, noon().day), [(account(1), 1), (key(1), 1)]);
    drop(admit(&ledger, &at_day(2), 1, 1).unwrap());
}

#[test]
fn a_request_that_comes_late_to_a_closed_day_is_counted_in_the_next() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let today = noon().day;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    ledger.spool_ended_days(&at_day(1)).unwrap();
    // The clock was set back; key 2 has not been used on either day.
    drop(admit(&ledger, &noon(), 1, 2).unwrap());
    assert_eq!(spooled(&ledger, today), [(account(1), 1), (key(1), 1)]);
    ledger.spool_ended_days(&at_day(2)).unwrap();
    assert_eq!(spooled(&ledger, today + 1), [(account(1), 1), (key(2), 1)]);
}

#[test]
fn a_damaged_spool_file_is_not_taken_for_totals() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    ledger.spool_ended_days(&at_day(1)).unwrap();
    let file = dir.path().join(format!("usage-spool/{}.totals", noon().day));
    let whole = fs::read(&file).unwrap();

    let why = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let why = ledger.open_spooled(noon().day).unwrap_err().to_string();
        why.split_once("is damaged: ").unwrap().1.to_owned()
    };
    assert_eq!(why(&whole[..whole.len() - 1]), "it is cut short");
    let mut changed = whole.clone();
    changed[60] ^= 1;
    assert_eq!(why(&changed), "its checksum is wrong");
    fs::write(dir.path().join("usage-spool/7.totals"), &whole).unwrap();
    assert!(ledger.open_spooled(7).unwrap_err().to_string().ends_with("it is of another day, ledger or release"));
}

#[test]
fn totals_are_offered_when_they_change_and_again_when_they_are_put_back() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    drop(admit(&ledger, &noon(), 1, 1).unwrap());
    drop(admit(&ledger, &noon(), 1, 2).unwrap());
    ledger.slot(&key(3)).unwrap();

    let mut taken = ledger.totals(2);
    assert_eq!(taken.len(), 2);
    taken.extend(ledger.totals(9));
    let seen: Vec<_> = taken.iter().map(|total| (total.subject, total.admitted, total.last_address)).collect();
    assert_eq!(seen, [(account(1), 2, None), (key(1), 1, Some(FROM)), (key(2), 1, Some(FROM))]);
    assert_eq!(ledger.totals(9), []);

    ledger.restore(&taken[1..2]);
    assert_eq!(ledger.totals(9), taken[1..2]);
    let v6: IpAddr = "2001:db8::1".parse().unwrap();
    let slots = (ledger.slot(&account(1)).unwrap(), ledger.slot(&key(2)).unwrap());
    let unlimited = &Limits::UNLIMITED;
    drop(ledger.admit(&noon(), request(0), v6, (slots.0, unlimited), (slots.1, unlimited)).unwrap());
    assert_eq!(ledger.totals(9)[1].last_address, Some(v6));

    drop(ledger);
    assert_eq!(open(dir.path()).ledger.totals(9).len(), 3, "after a start all have changed");
}
