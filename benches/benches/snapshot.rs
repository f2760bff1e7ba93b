//! What a key costs the table that requests read: coming with a whole snapshot, changing, being looked up.

use std::hint::black_box;

use clearway_config::{AccountId, KeyHash, KeyId, sync::CHUNK_CREDENTIALS_MAX, sync::v1};
use clearway_proxy::snapshot::Snapshot;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const KEYS: usize = 1_000_000;
const KEYS_AN_ACCOUNT: usize = 10;
/// Applied a round of the bench of whole snapshots.
const CHUNK: usize = CHUNK_CREDENTIALS_MAX;

fn account(n: usize) -> Vec<u8> {
    AccountId::new(1, (n as u128) << 64).to_vec()
}

/// The hash of key `n`: as evenly spread as a SHA-256.
fn hash(n: usize) -> [u8; 32] {
    let mut hash = [0; 32];
    for (word, salt) in hash.chunks_mut(8).zip(1_u64..) {
        let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(salt | 1);
        word.copy_from_slice(&(mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
    }
    hash
}

fn credential(n: usize, revoked: bool) -> v1::Credential {
    v1::Credential {
        hash: hash(n).to_vec(),
        key_id: KeyId::new(1, (n as u128) << 64).to_vec(),
        account_id: account(n / KEYS_AN_ACCOUNT),
        revoked,
        scopes: vec!["read:apps".to_owned()],
        ..Default::default()
    }
}

fn chunk(from: usize) -> v1::Changes {
    v1::Changes { credentials: (from..from + CHUNK).map(|n| credential(n, false)).collect(), ..Default::default() }
}

fn full() -> Snapshot {
    let snapshot = Snapshot::new();
    snapshot.begin_full(&v1::SnapshotBegin { revision: 1, store_id: vec![1], credentials: KEYS as u64 });
    let plans = vec![v1::Plan { name: "bench".to_owned(), ..Default::default() }];
    let accounts = (0..KEYS / KEYS_AN_ACCOUNT).map(|n| v1::Account {
        id: account(n),
        plan: "bench".to_owned(),
        suspended: false,
        policies: Vec::new(),
    });
    snapshot.apply_chunk(&v1::Changes { plans, accounts: accounts.collect(), ..Default::default() });
    for from in (0..KEYS).step_by(CHUNK) {
        snapshot.apply_chunk(&chunk(from));
    }
    snapshot.end_full(&v1::SnapshotEnd { revision: 1 });
    snapshot
}

fn snapshot(c: &mut Criterion) {
    let snapshot = full();
    assert_eq!(snapshot.credentials(), KEYS);
    let mut group = c.benchmark_group("snapshot of 1,000,000 keys");

    group.throughput(Throughput::Elements(CHUNK as u64));
    let mut from = 0;
    group.bench_function("apply a chunk that is held already", |b| {
        b.iter_batched(
            || {
                from = (from + CHUNK) % KEYS;
                chunk(from)
            },
            |chunk| snapshot.apply_chunk(&chunk),
            criterion::BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    let mut turn = 0_usize;
    group.bench_function("apply a delta of one key", |b| {
        b.iter_batched(
            || {
                turn += 1;
                let credentials = vec![credential(turn.wrapping_mul(7_919) % KEYS, turn.is_multiple_of(2))];
                v1::Delta { revision: turn as u64, changes: Some(v1::Changes { credentials, ..Default::default() }) }
            },
            |delta| snapshot.apply(&delta),
            criterion::BatchSize::SmallInput,
        );
    });
    group.bench_function("look up a random key", |b| {
        b.iter_batched(
            || {
                turn += 1;
                KeyHash::from_bytes(hash(turn.wrapping_mul(104_729) % KEYS))
            },
            |hash| {
                let view = snapshot.pin();
                let found = view.find(&hash).expect("every key is held");
                black_box((found.key_id(), found.account_limits().per_day))
            },
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, snapshot);
criterion_main!(benches);
