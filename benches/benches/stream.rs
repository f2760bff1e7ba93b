//! What an attempt at a webhook costs on its way from control to a proxy and back, when nothing is posted: this proxy does
//! not hold the webhook. Both planes are in this process, so that its processor time is what the two take together.

use std::{path::Path, sync::Arc, time::Duration};

use clearway_config::{
    egress::v1,
    settings::Settings,
    sync::{NONCE_BYTES, v1 as sync},
};
use clearway_control::{
    egress::{Egress, Outcomes},
    metrics::Metrics,
};
use clearway_proxy::{
    snapshot::{Snapshot, disk::Disk},
    start::{Keys, Options, Proxy},
};
use tokio::{net::TcpListener, runtime, time::Instant};
use tonic::transport::{Server, server::TcpIncoming};

#[path = "../load/cpu.rs"]
#[expect(dead_code, reason = "the load program uses the rest")]
mod cpu;

const TOKEN: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
const BODY_BYTES: usize = 1024;
const EACH: Duration = Duration::from_secs(3);
/// For caches and connections to be as they will be.
const WARM_UP: Duration = Duration::from_millis(500);
/// Attempts a second where there are fewer than would be taken.
const PACED: u32 = 1_000;

fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let (egress, outcomes) = Egress::new(TOKEN, Metrics::new());
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        tokio::spawn(Server::builder().add_routes(egress.routes()).serve_with_incoming(TcpIncoming::from(listener)));
        write_snapshot(&directory.path().join("proxy")).await;
        address
    });
    let token: String = TOKEN.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(directory.path().join("sync.token"), token).expect("a writable directory");
    let routes = directory.path().join("routes.toml");
    std::fs::write(&routes, "").expect("a writable directory");
    let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
    let any_port = ([127, 0, 0, 1], 0).into();
    (settings.gateway.addr, settings.egress.addr, settings.metrics.proxy_addr) = (any_port, any_port, any_port);
    settings.gateway.threads = 1;
    settings.sync.connect = vec![format!("http://{address}")];
    let proxy = Proxy::start(Options { settings, routes: vec![routes], keys: Keys::FromControl }).expect("a proxy starts");
    runtime.block_on(measure(egress, outcomes));
    proxy.stop();
}

/// A snapshot of nothing: the proxy may serve by it.
async fn write_snapshot(directory: &Path) {
    std::fs::create_dir_all(directory).expect("a writable directory");
    let disk = Disk::open(directory, &directory.join("snapshot.key"), Arc::new(Snapshot::new())).expect("a writable directory");
    disk.mode(sync::HeartbeatReply { sequence: 0, lease_ms: 10_000, strict: false }).await;
    disk.begin(sync::SnapshotBegin { revision: 1, store_id: b"the bench's store".to_vec(), credentials: 0 }).await;
    disk.end(sync::SnapshotEnd { revision: 1 }).await;
    disk.settle().await.expect("the disk's thread is there");
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
async fn measure(egress: Egress, mut outcomes: Outcomes) {
    egress.rooms().wait_for(|room| *room > 0).await.expect("the handle lives");
    let mut next = 0;
    let mut driver = Driver { egress: &egress, outcomes: &mut outcomes, next: &mut next };
    driver.as_many_as_are_taken(WARM_UP).await;
    for name in ["as many as are taken", "paced"] {
        let (began, before) = (Instant::now(), cpu::time_of(std::process::id()));
        let attempts = if name == "paced" { driver.paced(EACH).await } else { driver.as_many_as_are_taken(EACH).await };
        let (took, spent) = (began.elapsed(), cpu::time_of(std::process::id()) - before);
        println!(
            "{name:<24} {:>8.2} us of processor time an attempt, {:>8.0} attempts a second",
            spent.as_secs_f64() * 1e6 / attempts as f64,
            attempts as f64 / took.as_secs_f64()
        );
    }
}

/// Offers, and hears of it: what a dispatcher does, without a database.
struct Driver<'d> {
    egress: &'d Egress,
    outcomes: &'d mut Outcomes,
    next: &'d mut u64,
}

impl Driver<'_> {
    fn attempts(&mut self, count: usize) -> Vec<v1::Attempt> {
        let attempt = |number| v1::Attempt {
            number,
            webhook_id: vec![1; 16],
            message_id: "evt_0000000000000000000001".into(),
            attempt: 1,
            body: bytes::Bytes::from_static(&[b'x'; BODY_BYTES]),
            event_type: "app.installed".into(),
        };
        let first = *self.next;
        *self.next += count as u64;
        (first..*self.next).map(attempt).collect()
    }

    /// How many were answered.
    async fn as_many_as_are_taken(&mut self, within: Duration) -> usize {
        let (until, mut offered, mut answered) = (Instant::now() + within, 0, 0);
        loop {
            if Instant::now() < until {
                let attempts = self.attempts(self.egress.room());
                let count = attempts.len();
                offered += count - self.egress.offer(attempts).len();
            } else if answered == offered {
                return answered;
            }
            answered += self.outcomes.next().await.len();
        }
    }

    async fn paced(&mut self, within: Duration) -> usize {
        let (until, mut answered) = (Instant::now() + within, 0);
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / PACED);
        while Instant::now() < until {
            ticks.tick().await;
            let attempts = self.attempts(1);
            self.egress.offer(attempts);
            answered += self.outcomes.next().await.len();
        }
        answered
    }
}
