//! How the process is: for `/metrics`, `/health/ready` and `/status`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clearway_config::sync::v1;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    admin::Vitals,
    cache::Forget,
    gateway::{State, now_ms},
    snapshot::Mode,
    status::{self, FleetStatus, LedgerStatus, Looks, Process, Rates, SnapshotStatus, Status, Telemetry},
    sync::Reporter,
};

#[derive(Debug)]
pub(crate) struct Health {
    state: Arc<State>,
    /// Whether the stream from control is open, where there is to be one.
    connected: Option<watch::Receiver<bool>>,
    started: Instant,
    started_ms: u64,
    /// Milliseconds after the start.
    ledger_flushed: AtomicU64,
    rates: Rates,
    looks: Looks,
    lately: Mutex<Lately>,
    /// Since when the store of quotas has not been reached, as far as anybody has looked.
    quota_lost: Mutex<Option<Instant>>,
}

/// What is measured over the seconds between two notes.
#[derive(Debug)]
struct Lately {
    at: Instant,
    /// Processor time of the process until then.
    used: Duration,
    requests_per_s: f64,
    cpus: f64,
}

impl Health {
    pub(crate) fn new(state: Arc<State>, connected: Option<watch::Receiver<bool>>) -> Self {
        let started = Instant::now();
        let rates = Rates::new(state.metrics.clone(), started);
        let (ledger_flushed, looks) = (AtomicU64::new(0), Looks::default());
        let lately = Mutex::new(Lately { at: started, used: processor_time(), requests_per_s: 0.0, cpus: 0.0 });
        let quota_lost = Mutex::default();
        Self { state, connected, started, started_ms: now_ms(), ledger_flushed, rates, looks, lately, quota_lost }
    }

    /// The ledger has been written to disk.
    pub(crate) fn ledger_flushed(&self) {
        self.ledger_flushed.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    /// Called every [`status::RATES_EVERY`].
    pub(crate) fn note_rates(&self) {
        let now = Instant::now();
        let (traffic, ..) = self.rates.read(now);
        let used = processor_time();
        {
            let mut lately = self.lately.lock();
            let passed = now.saturating_duration_since(lately.at).as_secs_f64().max(0.1);
            let cpus = used.saturating_sub(lately.used).as_secs_f64() / passed;
            *lately = Lately { at: now, used, requests_per_s: traffic.requests_per_s, cpus };
        }
        self.rates.note(now);
        self.looks.forget(now);
    }

    fn flush_age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.ledger_flushed.load(Ordering::Relaxed)))
    }

    /// Reads what is kept elsewhere into the gauges.
    fn observe(&self) {
        let state = &self.state;
        let observed = &state.metrics.observed;
        let (bytes, entries) = state.cache.held();
        state.metrics.cache.bytes.set(gauge(bytes));
        state.metrics.cache.entries.set(gauge(entries));
        if let Some(leases) = &state.leases {
            state.metrics.lease.unspent(leases.unspent());
            state.metrics.lease.excess_max.set(i64::try_from(leases.excess_max()).unwrap_or(i64::MAX));
        }
        observed.ledger_slots.set(i64::from(state.ledger.subjects()));
        observed.ledger_in_flight.set(gauge(state.ledger.in_flight()));
        if let Ok(days) = state.ledger.spooled_days() {
            observed.ledger_spool_days.set(gauge(days.len()));
        }
        observed.ledger_flush_age.set(self.flush_age().as_secs_f64());
        observed.snapshot_revision.set(i64::try_from(state.snapshot.revision()).unwrap_or(i64::MAX));
        observed.snapshot_keys.set(gauge(state.snapshot.credentials()));
        observed.sync_connected.set(i64::from(self.is_connected().unwrap_or(false)));
        state.metrics.upstreams.observe(state.routes.current().upstreams.iter().map(|upstream| upstream.health()));
        observed.lease_remaining.set(state.snapshot.lease().left().as_secs_f64());
        let process = Process::read();
        let known = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok()).unwrap_or(0);
        observed.open_descriptors.set(known(process.open_descriptors));
        observed.descriptors_max.set(known(process.descriptors_max));
        observed.resident_bytes.set(known(process.resident_bytes));
        observed.started_s.set(known(Some(self.started_ms / 1_000)));
    }

    fn is_connected(&self) -> Option<bool> {
        self.connected.as_ref().map(|connected| *connected.borrow())
    }
}

impl Vitals for Health {
    fn metrics(&self) -> String {
        self.observe();
        self.state.metrics.render()
    }

    fn open_metrics(&self) -> String {
        self.observe();
        self.state.metrics.render_open()
    }

    fn purge(&self, route: &str) -> Option<usize> {
        let state = &self.state;
        let known = state.routes.current().routes.all().iter().any(|known| known.name == route);
        let store = state.cache.store;
        known.then(|| store.forget(Forget::Route(store.route(route))))
    }

    fn status(&self) -> Status {
        let (state, now) = (&self.state, Instant::now());
        let (traffic, routes, rejects) = self.rates.read(now);
        let metrics = &state.metrics;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            now_ms: now_ms(),
            uptime_s: self.started.elapsed().as_secs(),
            unready: self.unready(),
            snapshot: SnapshotStatus::of(state, self.is_connected()),
            traffic,
            routes,
            rejects,
            busiest: self.looks.look(&state.ledger, state.counted_at(now_ms()).day, now),
            ledger: LedgerStatus::of(state, millis(self.flush_age())),
            fleet: state.leases.as_deref().map(FleetStatus::of),
            upstreams: status::upstreams(&state.routes.current()),
            certificates: Vec::new(),
            process: Process::read(),
            telemetry: Telemetry {
                access_log_dropped: metrics.access_log_dropped.get(),
                access_log_errors: metrics.access_log_errors.get(),
                spans_exported: metrics.spans_exported.get(),
                spans_dropped: metrics.spans_lost_in_all(),
            },
        }
    }

    fn unready(&self) -> Option<&'static str> {
        if self.state.draining.load(Ordering::Acquire) {
            return Some("draining");
        }
        if !self.state.snapshot.is_ready() {
            return Some("keys and plans have not been received yet");
        }
        let lease = self.state.snapshot.lease();
        if lease.mode() == Mode::Strict && !lease.holds() {
            return Some("the auth lease has expired");
        }
        None
    }
}

impl Reporter for Health {
    fn report(&self) -> v1::Report {
        let (requests_per_second, cpus) = {
            let lately = self.lately.lock();
            (lately.requests_per_s, lately.cpus)
        };
        let quota_store = self.state.leases.as_ref().map(|leases| {
            let mut lost = self.quota_lost.lock();
            *lost = if leases.is_up() { None } else { lost.or(Some(Instant::now())) };
            let lost_ms = lost.map_or(0, |since| millis(since.elapsed()));
            v1::QuotaStore { reached: lost.is_none(), lost_ms, excess_max: leases.excess_max() }
        });
        let in_flight = u64::try_from(self.state.metrics.in_flight.get()).unwrap_or(0);
        v1::Report { requests_per_second, in_flight, cpus, quota_store }
    }
}

/// Of all threads, since the start.
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
