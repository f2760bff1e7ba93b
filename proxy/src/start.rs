//! The whole proxy as a value: started, asked where it listens, stopped.
//!
//! What can be wrong is found in the order in which an operator would want to hear of it, and before
//! anything is served: settings, data directory, addresses, routes, ledger, log.

mod parts;
mod tell;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use clearway_config::settings::{Gateway, Settings, SettingsError, UpstreamAddress};
use clearway_filters::quota::Now;
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle, time::timeout};

use crate::{
    admin::Vitals as _,
    background::TICK,
    data_dir::{DataDir, DataDirError},
    egress::{Egress, EgressError, stream::Deliveries},
    follow,
    gateway::{
        State, now_ms, random,
        server::{self, Server},
    },
    lease::store::OpenError,
    ledger::{Adopted, Ledger, LedgerError},
    metrics::UpgradeResult,
    snapshot::Snapshot,
    spans::ExporterError,
    tls::{Tls, certificates::Certificates, files::TlsError},
    upgrade::{
        UpgradeError, give,
        heir::Successor,
        inherit::{Hearing, Inheritance},
        take::Taking,
    },
    vitals::Health,
};
use parts::{Listeners, Parts};
pub use tell::{NotTold, tell};

/// How often it is looked whether the keys have come.
const LOOK: Duration = Duration::from_millis(5);
/// How long the last spans may take on their way to the collector.
const SPANS_FLUSHED_WITHIN: Duration = Duration::from_secs(2);
/// How long returning what is unspent of a fleet's quotas may take.
const RETURNED_WITHIN: Duration = Duration::from_secs(2);
/// How long the last that is to be told to a process that has taken over may take.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Where keys, accounts and plans come from.
#[derive(Debug)]
pub enum Keys {
    /// From the control plane, and from disk until it answers.
    FromControl,
    /// From the caller, who changes them as it likes.
    Held(Arc<Snapshot>),
}

/// What a proxy is started with.
#[derive(Debug)]
pub struct Options {
    pub settings: Settings,
    pub routes: Vec<PathBuf>,
    pub keys: Keys,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("gateway.control_url: {why}")]
    ControlUrl { why: &'static str },
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("address {addr} of the {what} is in use by another process")]
    AddressInUse { what: &'static str, addr: SocketAddr },
    #[error("address {addr} of the {what} cannot be listened at")]
    Bind { what: &'static str, addr: SocketAddr, source: io::Error },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the snapshot of keys in {path} cannot be read")]
    Snapshot { path: PathBuf, source: io::Error },
    #[error("access log {file} cannot be written")]
    AccessLog { file: String, source: io::Error },
    #[error(transparent)]
    Tracing(#[from] ExporterError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Egress(#[from] EgressError),
    #[error(transparent)]
    Leases(#[from] OpenError),
    #[error(transparent)]
    NotTold(#[from] NotTold),
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    #[error("the process cannot start its threads")]
    Threads(#[from] io::Error),
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<State>,
    server: Server,
    background: Runtime,
    gateway: SocketAddr,
    gateway_tls: Option<SocketAddr>,
    egress: SocketAddr,
    metrics: SocketAddr,
    health: Arc<Health>,
    drain_timeout: Duration,
    /// Sends spans, where there is a collector.
    exporter: Option<JoinHandle<()>>,
    /// Posts what control has accepted, where there is a control plane and the settings want it.
    deliveries: Option<Deliveries>,
    /// Held to the end, or until another process has taken over.
    data_dir: Arc<DataDir>,
    /// What a process that wants to take over is given.
    listeners: give::Listeners,
    /// The process that has taken over.
    successor: watch::Receiver<Option<Arc<Successor>>>,
    /// Whether the process before has ended, where this one has taken over.
    predecessor: Option<watch::Receiver<bool>>,
}

/// What [`Proxy::stop`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose requests were not finished in time.
    pub connections_cut: usize,
}

/// Reads settings' routes and says what is wrong with them; serves nothing.
pub fn check(settings: &Settings, routes: &[PathBuf]) -> Result<Gateway, StartError> {
    Tls::check(settings)?;
    Egress::new(&settings.egress)?;
    Ok(Gateway::load(routes, &control_address(settings)?)?)
}

fn control_address(settings: &Settings) -> Result<UpstreamAddress, StartError> {
    UpstreamAddress::parse(&settings.gateway.control_url).map_err(|why| StartError::ControlUrl { why })
}

impl Proxy {
    /// Returns once requests are taken. Not from within a runtime: it starts its own.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let control = control_address(&options.settings)?;
        let data_dir = DataDir::take(&options.settings.data_dir, now_ms(), random())?;
        let listeners = Listeners::bind(&options.settings)?;
        let parts = Parts::prepare(options, control, data_dir)?;
        let opened = Ledger::open(parts.data_dir.path(), &Now::at(now_ms()))?;
        let disk = parts.open_disk(None)?;
        parts.assemble(listeners, opened.ledger, opened.interrupted, disk)?.serve()
    }

    /// Returns once requests are taken in the place of the process that runs over this data directory. An error: that
    /// one goes on. Not from within a runtime.
    pub fn take_over(options: Options) -> Result<Self, StartError> {
        let control = control_address(&options.settings)?;
        let data_dir = DataDir::beside(&options.settings.data_dir)?;
        let parts = Parts::prepare(options, control, data_dir)?;
        let seen = parts.look_ahead()?;
        let mut taking = parts.background.block_on(Taking::greet(parts.data_dir.path()))?;
        let listeners = Listeners::received(&mut taking, &parts.settings)?;

        let received = parts.background.block_on(taking.begin())?;
        parts.data_dir.receive(received.lock);
        let Adopted { ledger, inherited } = Ledger::adopt(parts.data_dir.path(), &Now::at(now_ms()))?;
        let disk = parts.open_disk(Some(seen))?;
        parts.snapshot.lease().renew(received.lease_until_ms, 0);
        let mut assembled = parts.assemble(listeners, ledger, Vec::new(), disk)?;
        let proxy = &mut assembled.proxy;
        let told = proxy.background.block_on(taking.ready())?;

        // Requests are this process' to decide, and nobody else's.
        let in_flight = inherited.len();
        let inheritance = Inheritance::new(told, inherited, proxy.state.clone(), proxy.server.controls().clone());
        proxy.state.ledger.hears(Box::new(Hearing(inheritance.clone())));
        proxy.predecessor = Some(inheritance.over());
        proxy.background.spawn(inheritance.attend());
        proxy.state.metrics.upgraded(UpgradeResult::TakenOver);
        let proxy = assembled.serve()?;
        let waited_us = u64::try_from(received.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(requests.inherited = in_flight, waited_us, "taken over");
        Ok(proxy)
    }

    /// Where clients connect.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where clients connect encrypted.
    pub fn gateway_tls(&self) -> Option<SocketAddr> {
        self.gateway_tls
    }

    /// The certificates that clients are shown, for the control plane's to be put among them.
    pub fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.state.tls.as_ref().map(Tls::certificates)
    }

    /// Where an operator's own senders post what is to be signed and passed on.
    pub fn egress(&self) -> SocketAddr {
        self.egress
    }

    /// Where metrics and health are.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.state.ledger
    }

    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.state.snapshot
    }

    /// The runtime of everything but requests.
    pub fn background(&self) -> &Runtime {
        &self.background
    }

    /// Waits until requests can be decided, but no longer than `timeout`: what is missing may take for
    /// ever. Says what that is.
    pub fn wait_until_ready(&self, timeout: Duration) -> Option<&'static str> {
        let ready = async {
            let mut looks = tokio::time::interval(LOOK);
            loop {
                looks.tick().await;
                if self.health.unready().is_none() {
                    return;
                }
            }
        };
        // What the wait came to is asked for again: it may have changed since.
        let _ = self.background.block_on(async { tokio::time::timeout(timeout, ready).await });
        self.health.unready()
    }

    /// Reads the routes and certificates and reopens the access log: what SIGHUP asks for.
    pub fn reload(&self) {
        follow::read_files(&self.state, true);
        self.state.access_log.reopen();
    }

    /// Ends when another process has taken over: then [`Proxy::retire`] is what is left to do.
    pub fn succeeded(&self) -> impl Future<Output = ()> + use<> {
        let mut successor = self.successor.clone();
        async move {
            if successor.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Says that it is not ready, stops accepting, lets requests in flight finish within the drain
    /// timeout, and writes what is to be kept.
    pub fn stop(self) -> Stopped {
        self.state.draining.store(true, Ordering::Release);
        self.listeners.lock().clear();
        self.end(Server::drain)
    }

    /// [`Proxy::stop`] when another process has taken over: lets what it was serving end within the drain timeout.
    pub fn retire(self) -> Stopped {
        self.end(Server::retire)
    }

    fn end<F: Future<Output = usize>>(self, drain: impl FnOnce(Server, Duration) -> F) -> Stopped {
        let Self { state, server, background, drain_timeout, exporter, mut deliveries, successor, predecessor, .. } = self;
        let deadline = Instant::now() + drain_timeout;
        let delivered = async {
            if let Some(deliveries) = &mut deliveries {
                deliveries.drain(drain_timeout).await;
            }
        };
        let (connections_cut, ()) = background.block_on(async { tokio::join!(drain(server, drain_timeout), delivered) });
        drop(deliveries);
        if let Some(leases) = &state.leases {
            background.block_on(leases.leave(RETURNED_WITHIN));
        }
        if let Some(mut over) = predecessor.filter(|_| successor.borrow().is_some()) {
            // What the process before still tells is passed on.
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = background.block_on(async { timeout(left, over.wait_for(|over| *over)).await.is_ok() });
        }
        state.access_log.close();
        if let Some(exporter) = exporter {
            state.spans.close();
            // A collector that is gone holds up no stop.
            let _ = background.block_on(async { timeout(SPANS_FLUSHED_WITHIN, exporter).await });
        }
        let successor = successor.borrow().clone();
        if let Some(successor) = successor {
            // A successor that hears nothing has ended, or settles what it has not heard of.
            let _ = background.block_on(async { timeout(TOLD_WITHIN, successor.flushed()).await });
        }
        if let Err(e) = state.ledger.flush() {
            tracing::error!(error = &e as &dyn std::error::Error, "ledger cannot be flushed");
        }
        background.shutdown_timeout(TICK);
        Stopped { connections_cut }
    }
}

impl StartError {
    /// The error and what caused it, in one line.
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            fmt::Write::write_fmt(&mut line, format_args!(": {cause}")).expect("a String takes everything");
            source = cause.source();
        }
        line.replace('\n', " ")
    }
}

fn bind(what: &'static str, addr: SocketAddr) -> Result<TcpListener, StartError> {
    server::bind(addr).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { what, addr },
        _ => StartError::Bind { what, addr, source },
    })
}

/// 0 is one a core.
fn threads(asked: usize) -> usize {
    if asked == 0 { thread::available_parallelism().map_or(1, std::num::NonZero::get) } else { asked }
}
