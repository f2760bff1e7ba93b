//! The whole proxy as a value: started, asked where it listens, stopped.
//!
//! What can be wrong is found in the order in which an operator would want to hear of it, and before
//! anything is served: settings, data directory, addresses, routes, ledger, log.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use clearway_config::settings::{Gateway, Settings, SettingsError, UpstreamAddress};
use clearway_filters::quota::Now;
use tokio::{
    runtime::{self, Runtime},
    task::JoinHandle,
};

use crate::{
    access_log::{self, AccessLog},
    admin::Vitals as _,
    auth::Replays,
    cache::Cache,
    data_dir::{DataDir, DataDirError},
    follow,
    gateway::{
        Bodies, Revalidations, State,
        front::Front,
        gate::Gate as ConnectionGate,
        mirror::Mirror,
        now_ms, random,
        server::{self, Listener, Server},
    },
    ledger::{Ledger, LedgerError},
    metrics::Metrics,
    routes::RouteFiles,
    snapshot::{Snapshot, disk::Disk},
    spans::{ExporterError, Spans},
    sync,
    tls::{Tls, certificates::Certificates, files::TlsError},
    vitals::Health,
};

/// How often the ledger is flushed.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether the keys have come.
const LOOK: Duration = Duration::from_millis(5);
/// How long the last spans may take on their way to the collector.
const SPANS_FLUSHED_WITHIN: Duration = Duration::from_secs(2);
/// Threads for everything but requests.
const BACKGROUND_THREADS: usize = 2;

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
    metrics: SocketAddr,
    health: Arc<Health>,
    drain_timeout: Duration,
    /// Sends spans, where there is a collector.
    exporter: Option<JoinHandle<()>>,
    /// Held to the end.
    _data_dir: DataDir,
}

/// What [`Proxy::stop`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose requests were not finished in time.
    pub connections_cut: usize,
}

/// Reads settings' routes and says what is wrong with them; serves nothing.
pub fn check(settings: &Settings, routes: &[PathBuf]) -> Result<Gateway, StartError> {
    Tls::check(&settings.gateway)?;
    Ok(Gateway::load(routes, &control_address(settings)?)?)
}

fn control_address(settings: &Settings) -> Result<UpstreamAddress, StartError> {
    UpstreamAddress::parse(&settings.gateway.control_url).map_err(|why| StartError::ControlUrl { why })
}

impl Proxy {
    /// Returns once requests are taken. Not from within a runtime: it starts its own.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let Options { settings, routes, keys } = options;
        let control = control_address(&settings)?;
        let data_dir = DataDir::take(&settings.data_dir, now_ms(), random())?;
        let gateway_listener = bind("gateway", settings.gateway.addr)?;
        let tls_listener = settings.gateway.tls_addr.map(|addr| bind("encrypted gateway", addr)).transpose()?;
        let gateway_tls = tls_listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let metrics_listener = bind("metrics listener", settings.metrics.proxy_addr)?;
        let (gateway, metrics_addr) = (gateway_listener.local_addr()?, metrics_listener.local_addr()?);

        let metrics = Arc::new(Metrics::new());
        let routes = Arc::new(RouteFiles::open(routes, control, metrics.clone())?);
        let (tls, renewal) = Tls::open(&settings.gateway, data_dir.path(), &metrics)?.unzip();
        let opened = Ledger::open(data_dir.path(), &Now::at(now_ms()))?;
        let shape = Arc::new(access_log::Shape::new(&settings.access_log));
        let instance = data_dir.proxy_id().to_string();
        let (spans, exporter) = Spans::open(&settings.tracing, &instance, !shape.hides_path(), metrics.clone())?;
        let log = access_log::Options {
            enabled: settings.access_log.enabled,
            file: settings.access_log_file(),
            sample: settings.access_log.sample,
            shape,
        };
        let log_file = log.file.clone().unwrap_or_else(|| "-".into()).display().to_string();
        let access_log = AccessLog::open(log, opened.interrupted, metrics.clone())
            .map_err(|source| StartError::AccessLog { file: log_file, source })?;
        let background = runtime::Builder::new_multi_thread()
            .worker_threads(BACKGROUND_THREADS)
            .thread_name("background")
            .enable_all()
            .build()?;
        let (snapshot, client) = match keys {
            Keys::Held(snapshot) => (snapshot, None),
            Keys::FromControl => {
                let snapshot = Arc::new(Snapshot::new());
                let disk = Disk::open(data_dir.path(), &settings.snapshot_key_file(data_dir.path()), snapshot.clone())
                    .map_err(|source| StartError::Snapshot { path: data_dir.path().to_owned(), source })?;
                let usage = Arc::new(sync::LedgerUsage::new(opened.ledger.clone()));
                let options = sync::Options::new(&settings, data_dir.proxy_id());
                (snapshot.clone(), Some(sync::Client::new(options, snapshot, disk, usage)))
            }
        };

        // What control has said before counts from the first request on.
        follow::build_objects(&routes, &snapshot, tls.as_ref());
        let mirror = Mirror::start(background.handle(), metrics.clone());
        let bodies = Arc::<Bodies>::default();
        let state = Arc::new(State {
            routes,
            snapshot,
            ledger: opened.ledger,
            metrics: metrics.clone(),
            access_log,
            spans,
            mirror,
            cache: Cache::new(settings.gateway.cache.size.as_u64(), bodies.clone()),
            bodies,
            revalidations: Revalidations::default(),
            trusted_proxies: settings.gateway.trusted_proxies.clone(),
            front: Front::new(&settings.gateway.tls, gateway_tls),
            limits: settings.gateway.limits,
            gate: Arc::new(ConnectionGate::new(&settings.gateway.limits, &settings.gateway.trusted_proxies, metrics.clone())),
            replays: Replays::new(settings.gateway.signatures.remembered_max, now_ms() / 1000),
            signed_body_max: settings.gateway.signatures.body_max.as_u64(),
            tls,
            draining: false.into(),
        });
        let server = Server::start(&state, threads(settings.gateway.threads), settings.gateway.upstream_idle_max)?;
        let health = Arc::new(Health::new(state.clone(), client.as_ref().map(sync::Client::connected)));
        let mut proxy = Self {
            state,
            server,
            background,
            gateway,
            gateway_tls,
            metrics: metrics_addr,
            health,
            drain_timeout: settings.gateway.drain_timeout,
            exporter: None,
            _data_dir: data_dir,
        };
        proxy.run_background(gateway_listener, tls_listener, metrics_listener)?;
        if let Some(renewal) = renewal.flatten() {
            proxy.background.spawn(renewal.run());
        }
        proxy.exporter = exporter.map(|exporter| proxy.background.spawn(exporter.run()));
        if let Some(client) = client {
            // Dropped with the runtime; what waits for the disk is then written.
            proxy.background.spawn(client.run());
        }
        Ok(proxy)
    }

    fn run_background(&self, gateway: TcpListener, tls: Option<TcpListener>, metrics: TcpListener) -> io::Result<()> {
        let _entered = self.background.enter();
        self.background.spawn(crate::admin::serve(tokio::net::TcpListener::from_std(metrics)?, self.health.clone()));
        self.background.spawn(follow::files(self.state.clone()));
        self.background.spawn(follow::objects(self.state.clone()));
        self.background.spawn(watch_upstreams(self.state.clone()));
        self.background.spawn(keep_ledger(self.state.ledger.clone(), self.health.clone()));
        self.background.spawn(note_rates(self.health.clone()));
        self.background.spawn(crate::memory::watch(self.state.gate.clone(), self.state.limits.memory));
        self.background.spawn(crate::jwks::keep(self.state.routes.clone(), self.state.metrics.clone()));
        self.background.spawn(self.server.accept(Listener::Plain, tokio::net::TcpListener::from_std(gateway)?));
        if let Some(tls) = tls {
            self.background.spawn(self.server.accept(Listener::Encrypted, tokio::net::TcpListener::from_std(tls)?));
        }
        Ok(())
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

    /// Says that it is not ready, stops accepting, lets requests in flight finish within the drain
    /// timeout, and writes what is to be kept.
    pub fn stop(self) -> Stopped {
        self.state.draining.store(true, Ordering::Release);
        let connections_cut = self.background.block_on(self.server.drain(self.drain_timeout));
        self.state.access_log.close();
        if let Some(exporter) = self.exporter {
            self.state.spans.close();
            // A collector that is gone holds up no stop.
            let _ = self.background.block_on(async { tokio::time::timeout(SPANS_FLUSHED_WITHIN, exporter).await });
        }
        if let Err(e) = self.state.ledger.flush() {
            tracing::error!(error = &e as &dyn std::error::Error, "ledger cannot be flushed");
        }
        self.background.shutdown_timeout(TICK);
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

/// Checks the upstreams of the routes of the moment.
async fn watch_upstreams(state: Arc<State>) {
    let watched = move || state.routes.current().upstreams.iter().filter(|u| u.is_watched()).cloned().collect();
    crate::upstreams::health::watch(watched).await;
}

/// Writes the ledger to disk every second, and closes days that are over.
async fn keep_ledger(ledger: Arc<Ledger>, health: Arc<Health>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ledger = ledger.clone();
        let kept = tokio::task::spawn_blocking(move || {
            ledger.spool_ended_days(&Now::at(now_ms()))?;
            ledger.flush()
        });
        match kept.await {
            Ok(Ok(())) => health.ledger_flushed(),
            Ok(Err(e)) => tracing::error!(error = &e as &dyn std::error::Error, "ledger cannot be kept on disk"),
            Err(_) => tracing::error!("keeping the ledger panicked"),
        }
    }
}

/// Notes what rates are reckoned from.
async fn note_rates(health: Arc<Health>) {
    let mut ticks = tokio::time::interval(crate::status::RATES_EVERY);
    // The first is at once; the start has been noted.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        health.note_rates();
    }
}
