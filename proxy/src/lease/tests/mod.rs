//! What a fleet promises, over nodes of one process and a store in it: no limit is exceeded, none of it is lost for good.
//! Time is the runtime's, and moves when everybody waits.

mod load;
mod loss;
mod restart;

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
    path::Path,
};

use clearway_config::{AccountId, KeyId, RequestId, sync::v1};
use clearway_filters::{Reject, lease::call::bucket_of};
use tempfile::TempDir;
use tokio::task::AbortHandle;

use super::{store::BookStore, *};
use crate::{
    ledger::{Admission, Subject},
    metrics::Metrics,
};

/// 2026-02-10T12:00:00Z
const NOON_MS: u64 = 1_770_724_800_000;
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const BOOT: [u8; 16] = [7; 16];

/// A fleet without its nodes: the store, and what all nodes know.
struct Fleet {
    store: Arc<BookStore>,
    snapshot: Arc<Snapshot>,
    since: Instant,
    /// What the store's clock was set ahead by.
    ahead_ms: Arc<AtomicU64>,
    policy: Policy,
    account: (AccountId, Limits),
    key: (KeyId, Limits),
    on_loss: OnQuotaStoreLoss,
}

/// One proxy, as far as quotas go. Dropping it is its death.
struct Node {
    leases: Arc<Leases>,
    ledger: Arc<Ledger>,
    run: AbortHandle,
    wanted: Wanted,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl Fleet {
    fn new(account: Limits, key: Limits, on_loss: OnQuotaStoreLoss) -> Self {
        // Of those that are looked at first.
        Self::in_bucket(0..16, account, key, on_loss)
    }

    fn in_bucket(buckets: Range<u16>, account: Limits, key: Limits, on_loss: OnQuotaStoreLoss) -> Self {
        let (since, policy) = (Instant::now(), Policy::default());
        let ahead_ms = Arc::new(AtomicU64::new(0));
        let ahead = ahead_ms.clone();
        let clock = move || NOON_MS + ahead.load(Ordering::Relaxed) + u64::try_from(since.elapsed().as_millis()).unwrap();
        let ids = (0..u16::MAX).map(|n| AccountId::from_bytes([n.to_be_bytes(); 8].concat().try_into().unwrap()));
        let id = ids.into_iter().find(|id| buckets.contains(&bucket_of(id))).expect("they are spread");
        let (account, key) = ((id, account), (KeyId::new(1, 1 << 48), key));
        Self {
            store: Arc::new(BookStore::new(policy, clock)),
            snapshot: Arc::new(snapshot(&account, &key)),
            since,
            ahead_ms,
            policy,
            account,
            key,
            on_loss,
        }
    }

    fn of_account(limits: Limits) -> Self {
        Self::new(limits, Limits::UNLIMITED, OnQuotaStoreLoss::default())
    }

    /// A node over the files in `dir`.
    fn node(&self, dir: &Path) -> Node {
        self.node_of_boot(dir, BOOT)
    }

    fn node_of_boot(&self, dir: &Path, boot: [u8; 16]) -> Node {
        let clock = Clock::new(Source::Runtime(self.since), NOON_MS);
        let opened = Ledger::open(dir, &clock.now()).unwrap();
        let ledger = opened.ledger;
        drop(opened.interrupted);
        let options = Options {
            policy: self.policy,
            wait: Duration::from_millis(250),
            name: "node".into(),
            members_file: dir.join("lease-members"),
        };
        let metrics = Metrics::new().lease.clone();
        let (store, snapshot, runtime) = (self.store.clone(), self.snapshot.clone(), Handle::current());
        let (leases, work) = Leases::open_by(clock, boot, ledger.clone(), snapshot, store, options, runtime, metrics).unwrap();
        let run = tokio::spawn(leases.clone().run(work)).abort_handle();
        let slot = |subject: Subject| ledger.slot(&subject).unwrap();
        let account = (slot(Subject::Account(self.account.0)), self.account.1);
        let key = Some((slot(Subject::Key(self.key.0)), self.key.1));
        let refused = Box::new(Refused { refusal: refusal(), standing: standing() });
        let wanted = Wanted { account, key, on_loss: self.on_loss, refused };
        Node { leases, ledger, run, wanted }
    }
}

/// Any; the ledger's own takes its place.
fn refusal() -> clearway_filters::quota::Refusal {
    use clearway_filters::quota::{Subject, Window};
    clearway_filters::quota::Refusal { subject: Subject::Account, window: Window::Day, limit: 1, retry_after_ms: 1 }
}

fn standing() -> clearway_filters::quota::Standing {
    let mut nobody = clearway_filters::quota::Windows::default();
    let now = Now::at(NOON_MS);
    clearway_filters::quota::decide_alone(&now, clearway_filters::quota::Subject::Account, &mut nobody, &Limits::UNLIMITED)
        .unwrap()
}

fn snapshot(account: &(AccountId, Limits), key: &(KeyId, Limits)) -> Snapshot {
    let snapshot = Snapshot::new();
    snapshot.begin_full(&v1::SnapshotBegin::default());
    snapshot.apply_chunk(&v1::Changes {
        plans: vec![v1::Plan { name: "test".into(), limits: Some(account.1.into()), ..Default::default() }],
        accounts: vec![v1::Account { id: account.0.to_vec(), plan: "test".into(), ..Default::default() }],
        credentials: vec![v1::Credential {
            hash: vec![1; 32],
            key_id: key.0.to_vec(),
            account_id: account.0.to_vec(),
            limits: Some(key.1.into()),
            ..Default::default()
        }],
        ..Default::default()
    });
    snapshot.end_full(&v1::SnapshotEnd { revision: 1 });
    snapshot
}

impl Node {
    /// One request, as the gateway decides it.
    async fn request(&self) -> Result<Admission, Reject> {
        let deadline = Instant::now() + self.leases.wait();
        let mut tries = 0;
        loop {
            let (account, key) = (self.wanted.account, self.wanted.key.unwrap());
            let now = self.leases.now();
            let admitted = self.ledger.admit(&now, RequestId::new(1, 1), FROM, (account.0, &account.1), (key.0, &key.1));
            let Err(Reject::LeaseShort(refused)) = admitted else { return admitted };
            tries += 1;
            if tries > TRIES_MAX {
                return Err(Reject::Quota(refused));
            }
            match self.leases.obtain(&self.wanted, deadline).await {
                Obtained::Again => {}
                Obtained::Nothing => return Err(Reject::Quota(refused)),
                Obtained::Unavailable => return Err(Reject::QuotaStoreUnavailable),
            }
        }
    }

    /// How many of so many requests are admitted, one after the other; each is served at once.
    async fn requests(&self, n: u64) -> u64 {
        let mut admitted = 0;
        for _ in 0..n {
            admitted += u64::from(self.request().await.is_ok());
        }
        admitted
    }

    /// The node's death, and nobody has its files any more.
    async fn die(self) {
        let ledger = Arc::downgrade(&self.ledger);
        drop(self);
        while ledger.strong_count() > 0 {
            pass(1).await;
        }
    }

    /// Admitted today.
    fn counted(&self) -> u64 {
        self.ledger.holding(self.wanted.account.0, &self.leases.now()).unwrap().0.day_count
    }

    fn holding(&self) -> Holding {
        self.ledger.holding(self.wanted.account.0, &self.leases.now()).unwrap().1
    }
}

fn per_day(n: u64) -> Limits {
    Limits { per_day: Some(n), ..Limits::UNLIMITED }
}

fn dirs<const N: usize>() -> [TempDir; N] {
    std::array::from_fn(|_| TempDir::new().unwrap())
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
