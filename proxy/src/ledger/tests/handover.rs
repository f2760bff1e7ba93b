//! A ledger that goes from one process to the next while requests are being served.

use parking_lot::Mutex;
use tempfile::TempDir;

use super::{crash::copy_of, *};

/// What was told, for the test to bring to the successor.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<Ending>>>);

impl Heir for Told {
    fn tell(&mut self, ending: Ending) {
        self.0.lock().push(ending);
    }

    fn take_back(&mut self) -> Vec<Ending> {
        std::mem::take(&mut self.0.lock())
    }
}

const ONE_AT_A_TIME: Limits = Limits { concurrent: Some(1), ..Limits::UNLIMITED };

fn give(ledger: &Ledger) -> Told {
    let told = Told::default();
    ledger.hand_over(Box::new(told.clone()));
    ledger.let_go().unwrap();
    told
}

fn adopt(dir: &Path) -> Adopted {
    Ledger::adopt(dir, &noon()).unwrap()
}

/// As the successor does with what it is told.
fn hear(told: &Told, inherited: &mut Inherited) {
    for ending in told.0.lock().drain(..) {
        match ending {
            Ending::Finished { record, status, duration_ms } => inherited.finished(record, status, duration_ms),
            Ending::Line { record, .. } => drop(record.and_then(|record| inherited.take(record))),
            Ending::Forgotten { record } => drop(inherited.take(record)),
        }
    }
}

fn concurrent(ledger: &Ledger) -> [u32; 2] {
    [account(1), key(1)].map(|subject| windows(ledger, &subject).concurrent)
}

#[test]
fn a_request_of_the_process_before_keeps_its_place_until_it_has_ended() {
    let dir = TempDir::new().unwrap();
    let old = open(dir.path()).ledger;
    let (first, second) = (admit(&old, &noon(), 1, 1).unwrap(), admit(&old, &noon(), 1, 1).unwrap());
    let logged_later = admit(&old, &noon(), 1, 1).unwrap().finish(200, 1);
    assert!(matches!(Ledger::adopt(dir.path(), &noon()), Err(LedgerError::InUse { .. })), "it has not been given");
    let told = give(&old);
    assert!(admit(&old, &noon(), 1, 1).is_err(), "one ledger at a time admits");

    let Adopted { ledger: new, mut inherited } = adopt(dir.path());
    assert_eq!((inherited.len(), concurrent(&new), day_count(&new, &key(1))), (3, [2, 2], 3));
    let mut ended = first.finish(200, 7);
    hear(&told, &mut inherited);
    assert_eq!((inherited.len(), concurrent(&new)), (3, [1, 1]));
    ended = match hand_line(&old, Some(ended), b"line\n") {
        Ok(()) => second.finish(201, 8),
        Err(_) => panic!("another process keeps the ledger"),
    };
    hear(&told, &mut inherited);
    assert_eq!((inherited.len(), concurrent(&new), new.in_flight()), (2, [0, 0], 2));
    drop((ended, logged_later));
    hear(&told, &mut inherited);
    assert!(inherited.is_empty());
    assert_eq!(new.in_flight(), 0);
    drop(admit(&new, &noon(), 1, 1).unwrap());
    assert_eq!(day_count(&new, &key(1)), 4);
    assert!(open(copy_of(dir.path()).path()).interrupted.is_empty());
}

#[derive(Debug)]
struct Late(Told, Mutex<Inherited>);

impl News for Late {
    fn hear(&self) -> bool {
        hear(&self.0, &mut self.1.lock());
        true
    }
}

#[test]
fn an_end_that_was_told_counts_before_the_next_request_is_refused() {
    let dir = TempDir::new().unwrap();
    let old = open(dir.path()).ledger;
    let admission = admit_within(&old, &noon(), (1, &ONE_AT_A_TIME), (1, &Limits::UNLIMITED)).unwrap();
    let told = give(&old);
    let Adopted { ledger: new, inherited } = adopt(dir.path());
    new.hears(Box::new(Late(told, Mutex::new(inherited))));
    let ask = || admit_within(&new, &noon(), (1, &ONE_AT_A_TIME), (1, &Limits::UNLIMITED));
    assert!(ask().is_err(), "the process before still serves one");
    drop(admission);
    let next = ask().unwrap();
    assert!(ask().is_err());
    drop(next);
}

#[test]
fn a_ledger_that_is_taken_back_has_everything_that_ended_meanwhile() {
    let dir = TempDir::new().unwrap();
    let old = open(dir.path()).ledger;
    let (first, second) = (admit(&old, &noon(), 1, 1).unwrap(), admit(&old, &noon(), 1, 1).unwrap());
    let logged_later = admit(&old, &noon(), 1, 1).unwrap().finish(200, 1);
    give(&old);
    let ticket = first.finish(200, 7);
    hand_line(&old, Some(ticket), b"line\n").unwrap();
    drop(logged_later);
    let successor = adopt(dir.path());
    assert!(old.take_back(|_, _| ()).is_err(), "the successor lives");
    // It was killed with a slot locked.
    std::mem::forget(successor.ledger.map.slot(SlotId(0)).unwrap().lock());
    drop(successor);

    let mut logged = Vec::new();
    old.take_back(|ticket, line| {
        assert!(ticket.is_some());
        logged.extend_from_slice(line);
    })
    .unwrap();
    assert_eq!((logged.as_slice(), concurrent(&old), old.in_flight()), (&b"line\n"[..], [1, 1], 1));
    drop(second.finish(200, 8));
    drop(admit(&old, &noon(), 1, 1).unwrap());
    assert_eq!((concurrent(&old), old.in_flight(), day_count(&old, &key(1))), ([0, 0], 0, 4));
    old.flush().unwrap();
    drop(old);
    assert!(open(dir.path()).interrupted.is_empty());
}

#[test]
fn a_predecessor_that_dies_leaves_its_requests_counted_and_owed_a_line() {
    let dir = TempDir::new().unwrap();
    let old = open(dir.path()).ledger;
    let (first, _second) = (admit(&old, &noon(), 1, 1).unwrap(), admit(&old, &noon(), 1, 1).unwrap());
    let told = give(&old);
    let Adopted { ledger: new, mut inherited } = adopt(dir.path());
    std::mem::forget(first.finish(418, 5));
    hear(&told, &mut inherited);
    let owed = inherited.into_interrupted().unwrap();
    let mut finished: Vec<_> = owed.iter().map(|owed| owed.finished).collect();
    finished.sort_unstable();
    assert_eq!(finished, [None, Some((418, 5))]);
    assert_eq!((concurrent(&new), day_count(&new, &key(1)), new.in_flight()), ([0, 0], 2, 2));
    drop(owed);
    assert_eq!(new.in_flight(), 0);
}

#[test]
fn a_successor_that_dies_leaves_its_own_requests_and_inherited_ones_to_the_next_start() {
    let dir = TempDir::new().unwrap();
    let old = open(dir.path()).ledger;
    let _theirs = admit(&old, &noon(), 1, 1).unwrap();
    give(&old);
    let Adopted { ledger: new, inherited: _inherited } = adopt(dir.path());
    let _ours = admit(&new, &noon(), 1, 1).unwrap();
    let left = copy_of(dir.path());
    let next = open(left.path());
    assert_eq!((next.interrupted.len(), concurrent(&next.ledger), day_count(&next.ledger, &key(1))), (2, [0, 0], 2));
}

#[test]
fn a_ledger_goes_on_to_a_third_process_while_the_first_still_serves() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path()).ledger;
    let of_first = admit(&first, &noon(), 1, 1).unwrap();
    let told_second = give(&first);
    let Adopted { ledger: second, inherited: mut of_second } = adopt(dir.path());
    let told_third = give(&second);
    let Adopted { ledger: third, inherited: mut of_third } = adopt(dir.path());
    assert_eq!((of_third.len(), concurrent(&third)), (1, [1, 1]));
    drop(of_first.finish(200, 1));
    hear(&told_second, &mut of_second);
    hear(&told_third, &mut of_third);
    assert!(of_second.is_empty() && of_third.is_empty());
    assert_eq!((concurrent(&third), third.in_flight()), ([0, 0], 0));
}
