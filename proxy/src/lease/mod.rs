//! Quotas of a fleet, on this node: what the store that all nodes share has granted to it, asked for before it is
//! spent, returned when it is not.
//!
//! Requests are decided by the [`Ledger`] alone, within what it holds. What is nearly spent it tells [`tend`], which asks
//! for more in the background; a request that finds nothing left waits, for a bounded time and with all others of its
//! account, for one call ([`Leases::obtain`], [`flight`]). What is said in a call, and what becomes of its answer, is in
//! [`ask`]; whom there is nothing for is remembered in [`rechecks`]. [`beat`] says once a second that this node is there,
//! [`restore`] tells a store that has lost its data what this node knows of it, which [`held`] finds; what it has been
//! told, [`buckets`] remembers. [`tell`] tells one that has never heard of this node what it has counted, and [`loss`] is
//! what plans say is to happen while no store can be asked. Everything goes by the store's time, as [`clock`] tells it.
//!
//! Why no limit is ever exceeded is said in [`clearway_filters::lease`].

mod accounts;
mod ask;
mod beat;
mod buckets;
mod clock;
mod flight;
mod held;
mod loss;
mod members;
mod rechecks;
mod restore;
pub mod store;
mod tell;
mod tend;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use clearway_config::{Limits, OnQuotaStoreLoss};
use clearway_filters::{
    lease::{Caller, NodeId, Policy, size},
    quota::{Holding, Now, Refused},
};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout_at},
};

use accounts::Accounts;
pub(crate) use ask::Added;
use buckets::Buckets;
use clock::{Clock, Source};
use flight::Joined;
use loss::Debts;
use members::Fleet;
use store::{LeaseStore, StoreError};
pub use tell::{TellError, Told};
use tend::Event;

use crate::{
    ledger::{Asks, Ledger, LedgerError, SlotId},
    metrics::LeaseMetrics,
    snapshot::Snapshot,
};

/// How often a request is decided anew after the store has answered: others of its account may have been faster.
pub(crate) const TRIES_MAX: u32 = 16;

/// What a node goes by.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) policy: Policy,
    /// How long a request waits for the store at most.
    pub(crate) wait: Duration,
    /// Of this node, for people.
    pub(crate) name: String,
    /// Where the other nodes' ids are kept.
    pub(crate) members_file: PathBuf,
}

/// This node's part in a fleet.
pub(crate) struct Leases {
    ledger: Arc<Ledger>,
    snapshot: Arc<Snapshot>,
    store: Arc<dyn LeaseStore>,
    options: Options,
    clock: Clock,
    node: NodeId,
    seq: AtomicU64,
    accounts: Accounts,
    buckets: Buckets,
    fleet: Mutex<Fleet>,
    debts: Debts,
    /// Whether the store is taken to be there.
    up: AtomicBool,
    /// Everything is being returned, and nothing more is asked for.
    leaving: AtomicBool,
    /// Until then nothing is asked for that is leased until a time; by the steady clock.
    unsteady_until_ms: AtomicU64,
    /// A call has failed: the store is to be looked for.
    failed: Notify,
    /// Beats that were answered.
    beats: watch::Sender<u64>,
    events: mpsc::UnboundedSender<Event>,
    runtime: Handle,
    metrics: Arc<LeaseMetrics>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("node", &self.node).field("up", &self.is_up()).finish_non_exhaustive()
    }
}

/// What is to be done beside requests, for as long as this process decides.
#[derive(Debug)]
pub(crate) struct Work {
    events: mpsc::UnboundedReceiver<Event>,
    lost: mpsc::UnboundedReceiver<u16>,
}

/// What a request could not be admitted without.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) account: (SlotId, Limits),
    pub(crate) key: Option<(SlotId, Limits)>,
    pub(crate) on_loss: OnQuotaStoreLoss,
    /// What it is answered where there is nothing.
    pub(crate) refused: Box<Refused>,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obtained {
    /// Something may be there now: it is to be decided again.
    Again,
    /// The store has nothing, and said so lately.
    Nothing,
    /// The store cannot be asked, and the plan does not go on without it.
    Unavailable,
}

/// Hears of grants that are nearly spent, under the ledger's locks.
#[derive(Debug)]
struct Hears(mpsc::UnboundedSender<Event>);

impl Asks for Hears {
    fn low(&self, account: (SlotId, Limits), key: Option<(SlotId, Limits)>) {
        // Nobody listens when the process ends.
        let _ = self.0.send(Event::Low { account, key });
    }
}

impl Leases {
    /// From now on `ledger` admits within what `store` grants. Before anything is admitted; nothing is asked before
    /// [`Leases::run`].
    pub(crate) fn open(
        ledger: Arc<Ledger>,
        snapshot: Arc<Snapshot>,
        store: Arc<dyn LeaseStore>,
        options: Options,
        runtime: Handle,
        metrics: Arc<LeaseMetrics>,
    ) -> Result<(Arc<Self>, Work), LedgerError> {
        Self::open_by(
            Clock::new(Source::Machine, crate::gateway::now_ms()),
            boot_id(),
            ledger,
            snapshot,
            store,
            options,
            runtime,
            metrics,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "two more than its only other caller, for tests")]
    fn open_by(
        clock: Clock,
        boot: [u8; 16],
        ledger: Arc<Ledger>,
        snapshot: Arc<Snapshot>,
        store: Arc<dyn LeaseStore>,
        options: Options,
        runtime: Handle,
        metrics: Arc<LeaseMetrics>,
    ) -> Result<(Arc<Self>, Work), LedgerError> {
        let (events, heard) = mpsc::unbounded_channel();
        let (buckets, lost) = Buckets::new();
        ledger.lease(boot, &clock.now(), Box::new(Hears(events.clone())))?;
        let fleet = Mutex::new(Fleet::read(options.members_file.clone(), clock.now().ms));
        let leases = Self {
            node: NodeId::from_bytes(*ledger.id()),
            ledger,
            snapshot,
            store,
            options,
            clock,
            seq: AtomicU64::new(0),
            accounts: Accounts::default(),
            buckets,
            fleet,
            debts: Debts::default(),
            up: AtomicBool::new(true),
            leaving: AtomicBool::new(false),
            unsteady_until_ms: AtomicU64::new(0),
            failed: Notify::new(),
            beats: watch::Sender::new(0),
            events,
            runtime,
            metrics,
        };
        leases.metrics.store_up.set(1);
        Ok((Arc::new(leases), Work { events: heard, lost }))
    }

    /// Beats, refills, renews and returns, for ever. Dropped when another process decides.
    pub(crate) async fn run(self: Arc<Self>, work: Work) {
        let Work { events, lost } = work;
        tokio::join!(self.clone().beat_for_ever(), self.clone().tend(events), self.clone().restore_for_ever(lost));
    }

    /// The moment that requests are counted at.
    #[inline]
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Nodes of the fleet, this one among them.
    pub(crate) fn members(&self) -> usize {
        self.fleet.lock().members().len()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Asks the store for what a request wants, together with others of its account, and waits for the answer until
    /// `deadline` at most.
    pub(crate) async fn obtain(self: &Arc<Self>, wanted: &Wanted, deadline: Instant) -> Obtained {
        if !self.is_up() {
            return self.without_store(wanted);
        }
        if !self.ledger.is_valid(&self.now()) {
            return self.hear(wanted, deadline).await;
        }
        let (waiting, mut rounds, ticket) = match self.join(wanted) {
            Joined::Waits(waiting, rounds, ticket) => (waiting, rounds, ticket),
            Joined::Nothing => {
                self.metrics.waited("nothing", None);
                return Obtained::Nothing;
            }
            Joined::Withheld => return self.without_store(wanted),
        };
        let began = Instant::now();
        let landed = timeout_at(deadline, rounds.wait_for(|round| round.ticket >= ticket)).await;
        let answered = matches!(landed, Ok(Ok(round)) if round.answered);
        drop(waiting);
        self.metrics.waited(if answered { "answered" } else { "unanswered" }, Some(began.elapsed()));
        if answered { Obtained::Again } else { self.without_store(wanted) }
    }

    /// What was granted is void until the store has been heard.
    async fn hear(&self, wanted: &Wanted, deadline: Instant) -> Obtained {
        let (mut beats, began) = (self.beats.subscribe(), Instant::now());
        let answered = matches!(timeout_at(deadline, beats.changed()).await, Ok(Ok(())));
        self.metrics.waited(if answered { "answered" } else { "unanswered" }, Some(began.elapsed()));
        if answered { Obtained::Again } else { self.without_store(wanted) }
    }

    /// How long a request may wait in all.
    pub(crate) fn wait(&self) -> Duration {
        self.options.wait
    }

    /// The next call's number.
    fn caller(&self) -> Caller {
        Caller { node: self.node, epoch: self.ledger.epoch(), seq: self.seq.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// A call has failed. From now on nobody waits for the store, until a beat has reached it.
    fn lost(&self, why: &StoreError) {
        if self.up.swap(false, Ordering::AcqRel) {
            self.metrics.store_up.set(0);
            tracing::error!(error = why as &dyn std::error::Error, "the store of quotas cannot be reached: plans' policies hold");
        }
        self.failed.notify_one();
    }

    fn found(&self) {
        if !self.up.swap(true, Ordering::AcqRel) {
            self.metrics.store_up.set(1);
            tracing::warn!("the store of quotas is reached again");
        }
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    fn is_unsteady(&self, now: &Now) -> bool {
        now.uptime_ms < self.unsteady_until_ms.load(Ordering::Relaxed)
    }

    /// Takes in the store's time, as an answer says it.
    fn hear_time(&self, sent_ms: u64, said_ms: u64) {
        self.clock.hear(sent_ms, said_ms, || self.step());
    }

    /// The store's clock was set: what is leased by it ends here, and lasts elsewhere by other clocks.
    fn step(&self) {
        let until_ms = self.clock.uptime_ms() + size::step_wait_ms(&self.options.policy);
        self.unsteady_until_ms.store(until_ms, Ordering::Relaxed);
        tracing::warn!("the clock of the store of quotas was set");
        self.change_all(|_, holding| holding.end_leases());
    }

    /// Walks all that is held; it takes a moment.
    fn change_all(&self, change: impl FnMut(&clearway_filters::quota::Windows, &mut Holding)) {
        if let Err(e) = self.ledger.change_all_holdings(&self.now(), change) {
            tracing::error!(error = &e as &dyn std::error::Error, "what is held of quotas cannot be written");
        }
    }
}

/// Names the machine's run; a number of its own where the kernel does not.
fn boot_id() -> [u8; 16] {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let hex: Option<String> = read.map(|text| text.chars().filter(char::is_ascii_hexdigit).collect());
    hex.and_then(|hex| u128::from_str_radix(&hex, 16).ok()).map_or_else(rand::random, u128::to_be_bytes)
}
