//! What a snapshot costs: `cargo run --release -p clearway-proxy --example snapshot_size [credentials]`.
//!
//! Every credential is of a key of its own; ten keys share an account and there are a hundred
//! different profiles. Prints resident bytes a key, the time to apply, to write and to load from
//! disk, and the time of one look-up and one delta; times are of this thread's CPU, wall time beside them.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use clearway_config::{KeyHash, sync::v1};
use clearway_proxy::snapshot::{Snapshot, disk::Disk};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const CHUNK: u64 = 1_000;

#[expect(clippy::print_stdout, reason = "it is what an example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;

    let snapshot = Arc::new(Snapshot::new());
    let disk = Disk::open(dir.path(), &dir.path().join("snapshot.key"), snapshot.clone())?;
    let began = Began::now();
    let before = resident()?;
    runtime.block_on(fill(&snapshot, &disk, keys));
    println!("{keys} keys applied and on disk in {}", began.passed());
    println!("{:.0} resident bytes a key", (resident()? - before) as f64 / keys as f64);

    let mut found = 0_u64;
    let began = Began::now();
    for n in 0..1_000_000 {
        let view = snapshot.pin();
        found += u64::from(black_box(view.find(&KeyHash::from_bytes(hash(n * 7_919 % (keys * 2))))).is_some());
    }
    println!("look-up {:.0} ns, pin and all ({found} found)", began.cpu().as_nanos() as f64 / 1e6);

    let began = Began::now();
    for n in 0..100_000 {
        let credentials = vec![v1::Credential { revoked: true, ..credential(n * 7_919 % keys) }];
        let changes = Some(v1::Changes { credentials, ..Default::default() });
        snapshot.apply(&v1::Delta { revision: 2 + n, changes });
    }
    println!("delta of one key {:.2} µs", began.cpu().as_secs_f64() * 10.0);
    drop((snapshot, disk));

    let bytes = std::fs::metadata(dir.path().join("snapshot.bin"))?.len();
    let before = resident()?;
    let began = Began::now();
    let snapshot = Arc::new(Snapshot::new());
    let _disk = Disk::open(dir.path(), &dir.path().join("snapshot.key"), snapshot.clone())?;
    println!("{} keys loaded from {} MB in {}", snapshot.credentials(), bytes / 1_000_000, began.passed());
    println!("{:.0} more resident bytes a key than before", (resident()? as f64 - before as f64) / keys as f64);
    Ok(())
}

async fn fill(snapshot: &Snapshot, disk: &Disk, keys: u64) {
    let begin = v1::SnapshotBegin { revision: 1, store_id: vec![1; 32], credentials: keys };
    snapshot.begin_full(&begin);
    disk.begin(begin).await;
    for start in (0..keys).step_by(CHUNK as usize) {
        let end = keys.min(start + CHUNK);
        let chunk = v1::Changes {
            plans: vec![v1::Plan {
                name: "pro".into(),
                limits: Some(v1::Limits { per_day: Some(1), ..Default::default() }),
                ..Default::default()
            }],
            accounts: (start / 10..end.div_ceil(10)).map(account).collect(),
            credentials: (start..end).map(credential).collect(),
            ..Default::default()
        };
        snapshot.apply_chunk(&chunk);
        disk.chunk(chunk).await;
    }
    let end = v1::SnapshotEnd { revision: 1 };
    snapshot.end_full(&end);
    disk.end(end).await;
    disk.settle().await;
}

fn account(n: u64) -> v1::Account {
    v1::Account { id: id(n), plan: "pro".into(), suspended: false, policies: Vec::new() }
}

fn credential(n: u64) -> v1::Credential {
    let profile = n % 100;
    v1::Credential {
        hash: hash(n).to_vec(),
        key_id: id(n),
        account_id: id(n / 10),
        scopes: vec!["read:apps".into(), format!("write:thing{profile}")],
        limits: Some(v1::Limits { per_second: Some(1 + profile), ..Default::default() }),
        ..Default::default()
    }
}

fn id(n: u64) -> Vec<u8> {
    (u128::from(n) << 40 | 0xabcdef).to_be_bytes().to_vec()
}

fn hash(n: u64) -> [u8; 32] {
    let mut hash = [0; 32];
    for (word, at) in hash.chunks_mut(8).zip(1..) {
        // splitmix64: as evenly spread as a SHA-256.
        let mut z = (n * 4 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(z ^ z >> 31).to_le_bytes());
    }
    hash
}

/// Other processes take wall time, not CPU time.
struct Began {
    wall: Instant,
    cpu: Duration,
}

impl Began {
    fn now() -> Self {
        Self { wall: Instant::now(), cpu: thread_cpu() }
    }

    fn cpu(&self) -> Duration {
        thread_cpu().saturating_sub(self.cpu)
    }

    fn passed(&self) -> String {
        format!("{:.2?} CPU, {:.2?} wall", self.cpu(), self.wall.elapsed())
    }
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Resident set of this process in bytes.
fn resident() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1_024)
}
