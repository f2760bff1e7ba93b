//! What the quota ledger costs a request: admitting it (the decision), and admitting and finishing it.
//!
//! One hot account and key stay in the cache; a million subjects do not, which is how a large customer
//! base looks: then an admission is mostly the wait for two cache lines from memory, unless they were
//! asked for ahead. Every subject has been used before, so that all pages of the file exist.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use clearway_config::{AccountId, KeyId, Limits, RequestId};
use clearway_filters::quota::Now;
use clearway_proxy::ledger::{Asks, Ledger, SlotId, Subject};
use criterion::{Criterion, criterion_group, criterion_main};

const NOW_MS: u64 = 1_770_724_800_000;
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const KEYS: u32 = 900_000;
const ACCOUNTS: u32 = 100_000;
/// Admissions that are timed together, and then finished untimed.
const BATCH: usize = 1_000;

/// Every window limited, none of them met.
fn limits() -> Limits {
    let much = Some(10_000_000);
    Limits::new(much, Some(1_000_000_000_000), Some(1_000_000_000_000), much, false).expect("within bounds")
}

/// Nothing is ever low here.
#[derive(Debug)]
struct Nobody;

impl Asks for Nobody {
    fn low(&self, _: (SlotId, Limits), _: Option<(SlotId, Limits)>) {}
}

/// Lets `ledger` admit by leases, of which these subjects have as much as their limits.
fn lease_all(ledger: &Ledger, pairs: &Pairs) {
    let (now, limits) = (Now::at(NOW_MS), limits());
    ledger.lease([7; 16], &now, Box::new(Nobody)).expect("a new file of leases");
    ledger.set_valid_until(u64::MAX);
    for &id in pairs.accounts.iter().chain(&pairs.keys) {
        let granted = ledger.change_holding(id, &now, |windows, holding| {
            holding.roll(windows);
            (holding.day_granted, holding.month_granted) = (limits.per_day.unwrap_or(0), limits.per_month.unwrap_or(0));
            (holding.share, holding.share_until_ms) = (limits.per_second.unwrap_or(0), 1 << 36);
            (holding.slots, holding.slots_until_ms) = (limits.concurrent.unwrap_or(0), 1 << 36);
        });
        granted.expect("there is room on the disk");
    }
}

/// Pseudo-random pairs of a key and its account.
struct Pairs {
    state: u64,
    accounts: Vec<SlotId>,
    keys: Vec<SlotId>,
}

impl Pairs {
    fn of(ledger: &Ledger, accounts: u32, keys: u32) -> Self {
        let slot = |subject| ledger.slot(&subject).expect("there is room on the disk");
        let id = |n: u32| (NOW_MS, u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let account = |n| slot(Subject::Account(AccountId::new(id(n).0, id(n).1)));
        let key = |n| slot(Subject::Key(KeyId::new(id(n).0, id(n).1)));
        Self { state: 17, accounts: (0..accounts).map(account).collect(), keys: (0..keys).map(key).collect() }
    }

    fn next(&mut self) -> (SlotId, SlotId) {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = (self.state >> 33) as usize % self.keys.len();
        (self.accounts[key % self.accounts.len()], self.keys[key])
    }
}

/// A clock that goes a millisecond a thousand requests: no second is ever exhausted.
struct Clock {
    requests: u64,
    now: Now,
}

impl Clock {
    fn tick(&mut self) -> &Now {
        self.requests += 1;
        if self.requests.is_multiple_of(1_000) {
            self.now = Now::at(self.now.ms + 1);
        }
        &self.now
    }
}

fn bench_with(c: &mut Criterion, name: &str, ledger: &Arc<Ledger>, mut pairs: Pairs) {
    let (limits, request) = (limits(), RequestId::new(NOW_MS, 1));
    let mut clock = Clock { requests: 0, now: Now::at(NOW_MS) };
    let mut admit = |(account, key): (SlotId, SlotId)| {
        let admitted = ledger.admit(black_box(clock.tick()), request, FROM, (account, &limits), (key, &limits));
        admitted.expect("no limit is met")
    };
    c.bench_function(&format!("ledger/admit, {name}"), |b| {
        b.iter_custom(|iterations| {
            let mut served = Vec::with_capacity(BATCH);
            in_batches(iterations, &mut pairs, |batch| {
                let begun = Instant::now();
                served.extend(batch.iter().map(|&pair| admit(pair)));
                let spent = begun.elapsed();
                served.drain(..).for_each(|admission| drop(admission.finish(200, 1)));
                spent
            })
        });
    });
    c.bench_function(&format!("ledger/admit and finish, {name}"), |b| {
        b.iter_custom(|iterations| {
            in_batches(iterations, &mut pairs, |batch| {
                let begun = Instant::now();
                for &pair in batch {
                    drop(admit(pair).finish(200, 1));
                }
                begun.elapsed()
            })
        });
    });
    c.bench_function(&format!("ledger/admit and finish, {name}, prefetched"), |b| {
        b.iter_custom(|iterations| {
            in_batches(iterations, &mut pairs, |batch| {
                let begun = Instant::now();
                for pairs in batch.windows(2) {
                    // One request ahead: about as early as a gateway knows whose request it is.
                    ledger.prefetch(pairs[1].0, pairs[1].1);
                    drop(admit(pairs[0]).finish(200, 1));
                }
                begun.elapsed()
            })
        });
    });
}

/// Chooses subjects outside of what is timed: a gateway has their slots at hand from the look-up of the key.
fn in_batches(iterations: u64, pairs: &mut Pairs, mut time: impl FnMut(&[(SlotId, SlotId)]) -> Duration) -> Duration {
    let (mut left, mut batch, mut spent) = (iterations, Vec::with_capacity(BATCH), Duration::ZERO);
    while left > 0 {
        batch.clear();
        batch.extend((0..left.min(BATCH as u64)).map(|_| pairs.next()));
        left -= batch.len() as u64;
        spent += time(&batch);
    }
    spent
}

fn ledger(c: &mut Criterion) {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let ledger = Ledger::open(dir.path(), &Now::at(NOW_MS)).expect("a new ledger").ledger;
    bench_with(c, "one hot subject", &ledger, Pairs::of(&ledger, 1, 1));

    let leased_dir = tempfile::TempDir::new().expect("a temporary directory");
    let leased = Ledger::open(leased_dir.path(), &Now::at(NOW_MS)).expect("a new ledger").ledger;
    let pairs = Pairs::of(&leased, 1, 1);
    lease_all(&leased, &pairs);
    bench_with(c, "one hot subject, leased", &leased, pairs);

    let many = Pairs::of(&ledger, ACCOUNTS, KEYS);
    let unlimited = &Limits::UNLIMITED;
    for (n, &key) in many.keys.iter().enumerate() {
        let account = many.accounts[n % many.accounts.len()];
        let admitted = ledger.admit(&Now::at(NOW_MS), RequestId::new(NOW_MS, 1), FROM, (account, unlimited), (key, unlimited));
        drop(admitted.expect("nothing is limited"));
    }
    bench_with(c, "random among 1,000,000 subjects", &ledger, many);
}

criterion_group!(benches, ledger);
criterion_main!(benches);
