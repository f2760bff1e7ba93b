//! What a proxy is put together of: what can be read beside a running process, and what only one may have.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use clearway_config::settings::{Settings, UpstreamAddress};
use clearway_filters::lease::Policy;
use tokio::{
    runtime::{self, Runtime},
    sync::watch,
};

use super::{Keys, Options, Proxy, StartError, bind, threads};
use crate::{
    access_log::{self, AccessLog},
    acme::Renewal,
    auth::Replays,
    background,
    cache::Cache,
    data_dir::DataDir,
    egress::{Egress, stream::Deliveries},
    follow,
    gateway::{
        Bodies, Revalidations, State,
        front::Front,
        gate::Gate,
        mirror::Mirror,
        now_ms,
        server::{Listener, Server},
    },
    lease::{self, Leases, store::RedisStore},
    ledger::{Interrupted, Ledger},
    metrics::Metrics,
    routes::RouteFiles,
    snapshot::{
        Snapshot,
        disk::{Disk, Seen},
    },
    spans::{Exporter, Spans},
    sync,
    tls::Tls,
    upgrade::{give::Giver, link, message::Listening, take::Taking},
    vitals::Health,
};

/// Threads for everything but requests.
const BACKGROUND_THREADS: usize = 2;
/// How long the keys of issuers are waited for before requests are taken over.
const ISSUERS_WITHIN: Duration = Duration::from_secs(5);

/// Where clients and operators connect.
pub(super) struct Listeners {
    gateway: TcpListener,
    tls: Option<TcpListener>,
    egress: TcpListener,
    metrics: TcpListener,
}

/// What is read and checked before anything is taken.
pub(super) struct Parts {
    pub(super) settings: Settings,
    from_control: bool,
    pub(super) data_dir: DataDir,
    metrics: Arc<Metrics>,
    routes: Arc<RouteFiles>,
    tls: Option<Tls>,
    renewal: Option<Renewal>,
    spans: Spans,
    exporter: Option<Exporter>,
    shape: Arc<access_log::Shape>,
    egress: Arc<Egress>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) background: Runtime,
}

/// A proxy that serves nothing yet.
pub(super) struct Assembled {
    pub(super) proxy: Proxy,
    listeners: Listeners,
    renewal: Option<Renewal>,
    exporter: Option<Exporter>,
    client: Option<sync::Client>,
    /// Of a fleet's quotas.
    lease_work: Option<lease::Work>,
    /// Where what control has accepted is to be had, and threads to post it by.
    deliver: Option<(sync::Options, usize)>,
    successor: watch::Sender<Option<Arc<crate::upgrade::heir::Successor>>>,
}

impl Listeners {
    pub(super) fn bind(settings: &Settings) -> Result<Self, StartError> {
        Ok(Self {
            gateway: bind("gateway", settings.gateway.addr)?,
            tls: settings.gateway.tls_addr.map(|addr| bind("encrypted gateway", addr)).transpose()?,
            egress: bind("egress listener", settings.egress.addr)?,
            metrics: bind("metrics listener", settings.metrics.proxy_addr)?,
        })
    }

    /// Those of the running process, where the settings still want them there.
    pub(super) fn received(from: &mut Taking, settings: &Settings) -> Result<Self, StartError> {
        let mut at = |what, name, addr: SocketAddr| from.listener(what, addr).map_or_else(|| bind(name, addr), Ok);
        Ok(Self {
            gateway: at(Listening::Gateway, "gateway", settings.gateway.addr)?,
            tls: settings.gateway.tls_addr.map(|addr| at(Listening::GatewayTls, "encrypted gateway", addr)).transpose()?,
            egress: at(Listening::Egress, "egress listener", settings.egress.addr)?,
            metrics: at(Listening::Metrics, "metrics listener", settings.metrics.proxy_addr)?,
        })
    }
}

impl Parts {
    pub(super) fn prepare(options: Options, control: UpstreamAddress, data_dir: DataDir) -> Result<Self, StartError> {
        let Options { settings, routes, keys } = options;
        let metrics = Arc::new(Metrics::new());
        let routes = Arc::new(RouteFiles::open(routes, control, metrics.clone())?);
        let (tls, renewal) = Tls::open(&settings, data_dir.path(), &metrics)?.unzip();
        let shape = Arc::new(access_log::Shape::new(&settings.access_log));
        let egress = Arc::new(Egress::new(&settings.egress)?);
        let instance = data_dir.proxy_id().to_string();
        let (spans, exporter) = Spans::open(&settings.tracing, &instance, !shape.hides_path(), metrics.clone())?;
        let background = runtime::Builder::new_multi_thread()
            .worker_threads(BACKGROUND_THREADS)
            .thread_name("background")
            .enable_all()
            .build()?;
        let (snapshot, from_control) = match keys {
            Keys::Held(snapshot) => (snapshot, false),
            Keys::FromControl => (Arc::new(Snapshot::new()), true),
        };
        let renewal = renewal.flatten();
        Ok(Self {
            settings,
            from_control,
            data_dir,
            metrics,
            routes,
            tls,
            renewal,
            spans,
            exporter,
            shape,
            egress,
            snapshot,
            background,
        })
    }

    /// Reads, while another process still writes it, what takes long: then there is little left to read when requests wait.
    pub(super) fn look_ahead(&self) -> Result<Option<Seen>, StartError> {
        let dir = self.data_dir.path();
        let key_file = self.settings.snapshot_key_file(dir);
        let seen = if self.from_control { Disk::look(dir, &key_file, &self.snapshot) } else { Ok(None) };
        let seen = seen.map_err(|source| self.snapshot_failed(source))?;
        follow::build_objects(&self.routes, &self.snapshot, self.tls.as_ref());
        self.background.spawn(crate::jwks::keep(self.routes.clone(), self.metrics.clone()));
        self.background.block_on(crate::jwks::asked(&self.routes, ISSUERS_WITHIN));
        Ok(seen)
    }

    /// The files of what control has sent, of which no other process has any more. `seen`: another had, and this far
    /// they have been read.
    pub(super) fn open_disk(&self, seen: Option<Option<Seen>>) -> Result<Option<Disk>, StartError> {
        if !self.from_control {
            return Ok(None);
        }
        let (dir, snapshot) = (self.data_dir.path(), self.snapshot.clone());
        let key_file = self.settings.snapshot_key_file(dir);
        let disk = match seen {
            None => Disk::open(dir, &key_file, snapshot),
            Some(seen) => Disk::open_after(dir, &key_file, snapshot, seen),
        };
        disk.map(Some).map_err(|source| self.snapshot_failed(source))
    }

    fn snapshot_failed(&self, source: std::io::Error) -> StartError {
        StartError::Snapshot { path: self.data_dir.path().to_owned(), source }
    }

    pub(super) fn assemble(
        self,
        listeners: Listeners,
        ledger: Arc<Ledger>,
        interrupted: Vec<Interrupted>,
        disk: Option<Disk>,
    ) -> Result<Assembled, StartError> {
        let Self {
            settings, data_dir, metrics, routes, tls, renewal, spans, exporter, shape, egress, snapshot, background, ..
        } = self;
        let gateway_tls = listeners.tls.as_ref().map(TcpListener::local_addr).transpose()?;
        let log = access_log::Options {
            enabled: settings.access_log.enabled,
            file: settings.access_log_file(),
            sample: settings.access_log.sample,
            shape,
        };
        let log_file = log.file.clone().unwrap_or_else(|| "-".into()).display().to_string();
        let access_log = AccessLog::open(log, ledger.clone(), interrupted, metrics.clone())
            .map_err(|source| StartError::AccessLog { file: log_file, source })?;
        let client = disk.map(|disk| {
            let usage = Arc::new(sync::LedgerUsage::new(ledger.clone()));
            sync::Client::new(sync::Options::new(&settings, data_dir.proxy_id()), snapshot.clone(), disk, usage)
        });
        let deliver = (settings.egress.deliver && client.is_some())
            .then(|| (sync::Options::new(&settings, data_dir.proxy_id()), threads(settings.gateway.threads)));
        // What control has said before counts from the first request on.
        follow::build_objects(&routes, &snapshot, tls.as_ref());
        let (leases, lease_work) = open_leases(&settings, &data_dir, &ledger, &snapshot, &background, &metrics)?.unzip();
        let mirror = Mirror::start(background.handle(), metrics.clone());
        let bodies = Arc::<Bodies>::default();
        let state = Arc::new(State {
            routes,
            snapshot,
            ledger,
            leases,
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
            replays: Replays::new(settings.gateway.signatures.remembered_max, now_ms() / 1000),
            signed_body_max: settings.gateway.signatures.body_max.as_u64(),
            gate: Arc::new(Gate::new(&settings.gateway.limits, &settings.gateway.trusted_proxies, metrics)),
            tls,
            egress,
            draining: false.into(),
            baton: Arc::default(),
        });
        let server = Server::start(&state, threads(settings.gateway.threads), settings.gateway.upstream_idle_max)?;
        let health = Arc::new(Health::new(state.clone(), client.as_ref().map(sync::Client::connected)));
        let client = client.map(|client| client.reporting(health.clone()));
        let (successor, succeeded) = watch::channel(None);
        let proxy = Proxy {
            state,
            server,
            background,
            gateway: listeners.gateway.local_addr()?,
            gateway_tls,
            egress: listeners.egress.local_addr()?,
            metrics: listeners.metrics.local_addr()?,
            health,
            drain_timeout: settings.gateway.drain_timeout,
            exporter: None,
            deliveries: None,
            data_dir: Arc::new(data_dir),
            successor: succeeded,
            predecessor: None,
            listeners: Arc::default(),
        };
        Ok(Assembled { proxy, listeners, renewal, exporter, client, lease_work, deliver, successor })
    }
}

impl Assembled {
    /// Begins to take requests, and to listen for a process that wants to take over.
    pub(super) fn serve(self) -> Result<Proxy, StartError> {
        let Self { mut proxy, listeners, renewal, exporter, client, lease_work, deliver, successor } = self;
        {
            let mut given = proxy.listeners.lock();
            given.push((Listening::Gateway, listeners.gateway.try_clone()?));
            given.push((Listening::Egress, listeners.egress.try_clone()?));
            given.push((Listening::Metrics, listeners.metrics.try_clone()?));
            if let Some(tls) = &listeners.tls {
                given.push((Listening::GatewayTls, tls.try_clone()?));
            }
        }
        let sync = client.as_ref().map(sync::Client::rest);
        let background = proxy.background.handle().clone();
        let _entered = background.enter();
        let Proxy { state, server, health, .. } = &proxy;
        let mut tasks = vec![
            background
                .spawn(crate::admin::serve(tokio::net::TcpListener::from_std(listeners.metrics)?, health.clone()))
                .abort_handle(),
            background.spawn(crate::jwks::keep(state.routes.clone(), state.metrics.clone())).abort_handle(),
        ];
        background.spawn(follow::files(state.clone()));
        background.spawn(follow::objects(state.clone()));
        background.spawn(background::watch_upstreams(state.clone()));
        background.spawn(background::keep_ledger(state.clone(), health.clone()));
        background.spawn(background::note_rates(health.clone()));
        background.spawn(crate::memory::watch(state.gate.clone(), state.limits.memory));
        background.spawn(server.accept(Listener::Plain, tokio::net::TcpListener::from_std(listeners.gateway)?));
        if let Some(tls) = listeners.tls {
            background.spawn(server.accept(Listener::Encrypted, tokio::net::TcpListener::from_std(tls)?));
        }
        let egress = if state.egress.is_encrypted() { Listener::EncryptedEgress } else { Listener::Egress };
        background.spawn(server.accept(egress, tokio::net::TcpListener::from_std(listeners.egress)?));
        let lease_work = state.leases.clone().zip(lease_work);
        tasks.extend(lease_work.map(|(leases, work)| background.spawn(leases.run(work)).abort_handle()));
        tasks.extend(renewal.map(|renewal| background.spawn(renewal.run()).abort_handle()));
        // Dropped with the runtime; what waits for the disk is then written.
        tasks.extend(client.map(|client| background.spawn(client.run()).abort_handle()));
        let start = |(options, threads)| {
            Deliveries::start(options, threads, &state.egress, state.snapshot.clone(), state.metrics.clone())
        };
        proxy.deliveries = deliver.map(start).transpose()?;
        proxy.exporter = exporter.map(|exporter| background.spawn(exporter.run()));
        let giver = Giver {
            state: proxy.state.clone(),
            server: proxy.server.controls().clone(),
            data_dir: proxy.data_dir.clone(),
            sync,
            listeners: proxy.listeners.clone(),
            tasks,
            given: successor,
        };
        match link::Listener::bind(&proxy.data_dir.path().join(crate::upgrade::SOCKET)) {
            Ok(listener) => drop(background.spawn(Arc::new(giver).attend(listener))),
            // It serves all the same. A path that is too long for a socket is a matter of where the directory is.
            Err(e) => tracing::warn!(error = %e, "no new process can take over from this one"),
        }
        Ok(proxy)
    }
}

/// Where settings name a store, this process' part in the fleet.
fn open_leases(
    settings: &Settings,
    data_dir: &DataDir,
    ledger: &Arc<Ledger>,
    snapshot: &Arc<Snapshot>,
    background: &Runtime,
    metrics: &Metrics,
) -> Result<Option<(Arc<Leases>, lease::Work)>, StartError> {
    if !settings.redis.is_set() {
        return Ok(None);
    }
    let (options, store) = lease_options(settings, data_dir)?;
    let (runtime, metrics) = (background.handle().clone(), metrics.lease.clone());
    Ok(Some(Leases::open(ledger.clone(), snapshot.clone(), Arc::new(store), options, runtime, metrics)?))
}

/// What a node of the fleet goes by, and the store.
pub(super) fn lease_options(settings: &Settings, data_dir: &DataDir) -> Result<(lease::Options, RedisStore), StartError> {
    let redis = &settings.redis;
    let forget_after_ms = u64::try_from(redis.forget_after.as_millis()).unwrap_or(u64::MAX);
    let policy = Policy { forget_after_ms, ..Policy::default() };
    let options = lease::Options {
        policy,
        wait: redis.wait_timeout,
        name: sync::name_of(settings),
        members_file: data_dir.path().join("lease-members"),
    };
    Ok((options, RedisStore::open(redis, policy)?))
}
