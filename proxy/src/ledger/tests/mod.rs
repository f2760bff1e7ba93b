//! What the ledger promises: nothing lost, nothing twice, nothing past a limit; over kills, threads and days.

mod concurrent;
mod crash;
mod days;
mod files;
mod handover;
mod kill;
mod power;

use std::{fs, net::Ipv4Addr, path::Path};

use clearway_config::{AccountId, KeyId};

use super::*;

/// 2026-02-10T12:00:00Z
const NOON_MS: u64 = 1_770_724_800_000;
const DAY_MS: u64 = 86_400_000;
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn noon() -> Now {
    Now::at(NOON_MS)
}

fn account(n: u128) -> Subject {
    Subject::Account(AccountId::new(1, n << 48))
}

fn key(n: u128) -> Subject {
    Subject::Key(KeyId::new(1, n << 48))
}

fn request(n: u128) -> RequestId {
    RequestId::new(1, n << 48)
}

fn open(dir: &Path) -> Opened {
    Ledger::open(dir, &noon()).unwrap()
}

/// One request of `key(k)` of `account(a)`, without limits.
fn admit(ledger: &Arc<Ledger>, now: &Now, a: u128, k: u128) -> Result<Admission, Reject> {
    admit_within(ledger, now, (a, &Limits::UNLIMITED), (k, &Limits::UNLIMITED))
}

fn admit_within(
    ledger: &Arc<Ledger>,
    now: &Now,
    (a, account_limits): (u128, &Limits),
    (k, key_limits): (u128, &Limits),
) -> Result<Admission, Reject> {
    let (a, k) = (ledger.slot(&account(a)).unwrap(), ledger.slot(&key(k)).unwrap());
    ledger.admit(now, request(0), FROM, (a, account_limits), (k, key_limits))
}

fn windows(ledger: &Ledger, subject: &Subject) -> Windows {
    let slot = ledger.directory.find(&ledger.map, subject).unwrap();
    ledger.map.slot(slot).unwrap().lock().windows()
}

fn day_count(ledger: &Ledger, subject: &Subject) -> u64 {
    windows(ledger, subject).day_count
}

fn copy_journals(from: &Path, to: &Path) {
    let (from, to) = (from.join("ledger-journal"), to.join("ledger-journal"));
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(from).into_iter().flatten() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
