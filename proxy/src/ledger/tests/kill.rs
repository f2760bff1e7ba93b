//! A real process, killed while its threads admit requests, over and over on the same file.

use std::{
    env,
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use super::*;

const DIR: &str = "CLEARWAY_TEST_LEDGER_DIR";
const THREADS: usize = 3;
const KEYS: usize = 6;
const ROUNDS: u64 = 20;

/// What stands outside of the ledger: for every thread and key how many admissions it has reported.
struct Reported(File);

impl Reported {
    fn open(dir: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("reported"));
        Self(file.unwrap())
    }

    fn at(thread: usize, key: usize) -> u64 {
        (thread * KEYS + key) as u64 * 8
    }

    fn read(&self, thread: usize, key: usize) -> u64 {
        let mut bytes = [0; 8];
        match self.0.read_exact_at(&mut bytes, Self::at(thread, key)) {
            Ok(()) => u64::from_ne_bytes(bytes),
            Err(_) => 0,
        }
    }

    fn write(&self, thread: usize, key: usize, count: u64) {
        self.0.write_all_at(&count.to_ne_bytes(), Self::at(thread, key)).unwrap();
    }

    fn of_key(&self, key: usize) -> u64 {
        (0..THREADS).map(|thread| self.read(thread, key)).sum()
    }

    fn all(&self) -> u64 {
        (0..KEYS).map(|key| self.of_key(key)).sum()
    }
}

/// A request's id says which admission of which thread and key it is.
fn request_of(thread: usize, key: usize, count: u64) -> RequestId {
    request((thread as u128) << 72 | (key as u128) << 64 | u128::from(count))
}

fn thread_and_count(id: RequestId) -> (usize, u64) {
    let n = u128::from_be_bytes(*id.as_bytes()) & ((1 << 80) - 1);
    ((n >> 72) as usize, n as u64)
}

fn account_of(key: usize) -> u128 {
    key as u128 % 2
}

/// Not a test by itself: what the killed process runs. Ends at once in an ordinary run of the tests.
#[test]
fn a_child_admits_until_it_is_killed() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else { return };
    let ledger = open(&dir).ledger;
    let reported = Reported::open(&dir);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (ledger, reported) = (&ledger, &reported);
            scope.spawn(move || admit_for_ever(ledger, reported, thread));
        }
    });
}

fn admit_for_ever(ledger: &Arc<Ledger>, reported: &Reported, thread: usize) {
    let mut random = StdRng::seed_from_u64(u64::from(std::process::id()) << 8 | thread as u64);
    let mut counts: [u64; KEYS] = std::array::from_fn(|key| reported.read(thread, key));
    let mut serving = Vec::new();
    loop {
        let k = random.random_range(0..KEYS);
        let slots = (ledger.slot(&account(account_of(k))).unwrap(), ledger.slot(&key(k as u128)).unwrap());
        let limits = &Limits::UNLIMITED;
        counts[k] += 1;
        let id = request_of(thread, k, counts[k]);
        let admission = ledger.admit(&noon(), id, FROM, (slots.0, limits), (slots.1, limits)).unwrap();
        // Until this is written the request is owed a report, and its record is kept.
        reported.write(thread, k, counts[k]);
        match random.random_range(0..3) {
            0 => drop(admission),
            1 => drop(admission.finish(200, 1)),
            _ => serving.push(admission),
        }
        if serving.len() > 5 {
            serving.swap_remove(0);
        }
    }
}

fn spawn_child(dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "ledger::tests::kill::a_child_admits_until_it_is_killed", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_process_has_counted_every_admission_exactly_once() {
    let dir = TempDir::new().unwrap();
    let reported = Reported::open(dir.path());
    let mut random = StdRng::seed_from_u64(17);
    let mut unreported = 0;
    for round in 0..ROUNDS {
        let enough = reported.all() + random.next_u64() % 3_000;
        let mut child = spawn_child(dir.path());
        while reported.all() <= enough {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let Opened { ledger, interrupted } = open(dir.path());
        assert!(!interrupted.is_empty(), "some are always being served");
        for owed in interrupted {
            let (thread, count) = thread_and_count(owed.request);
            let k = (0..KEYS).find(|&k| key(k as u128) == Subject::Key(owed.key.unwrap())).unwrap();
            assert_eq!(Subject::Account(owed.account), account(account_of(k)));
            if count > reported.read(thread, k) {
                unreported += 1;
                assert_eq!(count, reported.read(thread, k) + 1);
                reported.write(thread, k, count);
            }
        }
        for a in 0..2 {
            let keys: Vec<usize> = (0..KEYS).filter(|&key| account_of(key) == a).collect();
            for &k in &keys {
                assert_eq!(day_count(&ledger, &key(k as u128)), reported.of_key(k), "key {k} in round {round}");
            }
            let of_keys: u64 = keys.iter().map(|&key| reported.of_key(key)).sum();
            assert_eq!(day_count(&ledger, &account(a)), of_keys, "account {a} in round {round}");
            assert_eq!(windows(&ledger, &account(a)).concurrent, 0);
        }
        assert_eq!(ledger.in_flight(), 0);
    }
    println!("{ROUNDS} kills, {} admissions, {unreported} between admission and report", reported.all());
}
