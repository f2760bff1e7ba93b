//! The process put together: database, plans, first admin, sync, API, sweeps; from a start to a clean stop.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use clearway_config::settings::{Plans, Settings, SettingsError};
use http::{StatusCode, header};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use zeroize::Zeroizing;

use crate::{
    accounts::AccountFeed,
    api, apps, audit,
    certificates::CertificateFeed,
    data_dir::{DataDir, DataDirError},
    db::{self, Db, Location, OpenError, copy::CopyError},
    deliveries::{self, Dispatcher},
    egress::{Egress, Outcomes},
    http::{Api, chain},
    jobs,
    keys::{Directory, KeyFeed},
    mail::{self, MailError, Outbox},
    metrics::Metrics,
    oauth::{self, IssuerFeed, RevocationFeed},
    passwords::Passwords,
    plans::{self, PlanFeed},
    providers::{ProviderError, Providers},
    routes::RouteFeed,
    secrets::{self, Master, Secrets, SecretsError},
    sessions,
    sync::{self, Clock, Hub, Options},
    token::{self, TokenError},
    usage::Sink,
    users::{self, BootstrapError, FirstAdmin},
    webhooks::WebhookFeed,
    world::World,
};

/// The environment variable that comes before `control.database_url`.
pub const DATABASE_URL: &str = "CLEARWAY_DATABASE_URL";
/// How long the database may take to answer a readiness probe.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the process cannot start, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("control.database_url_file cannot be read: {}: {why}", file.display())]
    DatabaseUrl { file: PathBuf, why: io::Error },
    #[error(transparent)]
    Database(#[from] OpenError),
    #[error("the database failed: {}", chain(.0))]
    Store(#[from] db::Error),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("{}", .0.line())]
    Bootstrap(BootstrapError),
    #[error("cannot listen on {addr}: {why}")]
    Listen { addr: SocketAddr, why: io::Error },
    #[error("the runtime cannot be started: {why}")]
    Runtime { why: io::Error },
    #[error("standard output cannot be written: {why}")]
    Output { why: io::Error },
    #[error("sync cannot be served: {}", chain(.0))]
    Sync(#[from] sync::ServeError),
}

/// What a start was told.
#[derive(Debug)]
pub struct Start {
    pub settings: Settings,
    /// As in [`DATABASE_URL`]; `None` leaves it to the settings.
    pub database_url: Option<String>,
    /// As in [`secrets::MASTER_KEY`]; `None` leaves it to the settings.
    pub master_key: Option<Zeroizing<String>>,
    pub world: World,
}

/// Ready to serve.
#[derive(Debug)]
pub struct App {
    api: Api,
    settings: Settings,
    listeners: Listeners,
    tls: Option<sync::Tls>,
    outcomes: Outcomes,
    /// Shown once, on the first start.
    first_admin: Option<FirstAdmin>,
    _data_dir: DataDir,
}

#[derive(Debug)]
struct Listeners {
    api: TcpListener,
    sync: TcpListener,
    metrics: TcpListener,
}

/// Where a process is to be reached, with the ports that were picked.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub api: SocketAddr,
    pub sync: SocketAddr,
    pub metrics: SocketAddr,
}

impl App {
    /// Takes everything that a start needs. Ports and directory come first, so that a second process on the
    /// same machine fails before it has touched the database.
    pub async fn open(Start { settings, database_url, master_key, world }: Start) -> Result<Self, StartError> {
        let plans = Plans::load(&settings.control.plans_file)?;
        let tls = settings.sync.tls.as_ref().map(sync::Tls::read).transpose()?;
        let mail = Outbox::new(&settings.mail, std::env::var(mail::PASSWORD).ok().as_deref())?;
        let providers = providers(&settings)?;
        let data_dir = DataDir::open(&settings.data_dir.join("control"))?;
        let listeners = Listeners {
            api: listen(settings.control.addr).await?,
            sync: listen(settings.sync.addr).await?,
            metrics: listen(settings.metrics.control_addr).await?,
        };
        let token = token::read_or_make(&settings.token_file(), &world)?;
        let location = location(&settings, database_url, &data_dir.path().join("control.db"))?;
        let db = Db::open(&location, settings.control.database_connections).await?;
        let secrets = Secrets::load(&db, &world, &master(&settings, master_key)).await?;
        let first_admin = prepare(&db, &world, &secrets, &plans, &settings.control.admin_email).await?;
        let (mode, auth_lease) = (settings.sync.mode, settings.sync.auth_lease);
        let name = name(&settings, listeners.sync.local_addr());
        let options = Options { mode, auth_lease, token, clock: Clock::default(), name };
        oauth::announce(&db, &world).await?;
        let hub = start_hub(&db, &world, &secrets, &settings, options).await?;
        let metrics = Metrics::new();
        let (egress, outcomes) = Egress::new(token, metrics.clone());
        let mut api = api(db, world, secrets, hub, egress, metrics, &settings);
        api.mail = mail;
        api.providers = providers;
        Ok(Self { api, settings, listeners, tls, outcomes, first_admin, _data_dir: data_dir })
    }

    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            api: self.listeners.api.local_addr()?,
            sync: self.listeners.sync.local_addr()?,
            metrics: self.listeners.metrics.local_addr()?,
        })
    }

    pub fn take_first_admin(&mut self) -> Option<FirstAdmin> {
        self.first_admin.take()
    }

    /// A further secret of the admin's key, for whoever has lost it. `None` where that key is no longer in force.
    pub async fn another_admin_key(&self) -> Result<Option<FirstAdmin>, StartError> {
        let made =
            users::another_admin_key(&self.api.db, &self.api.world, &self.api.secrets).await.map_err(StartError::Bootstrap)?;
        Ok(made.map(|(email, key)| FirstAdmin { email, password: None, key }))
    }

    /// Serves until `stop`, then finishes the requests in flight. Sync ends after the API: a revocation that
    /// is being answered waits for acknowledgements.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
        let Self { api, settings, listeners, tls, outcomes, first_admin: _, _data_dir } = self;
        let (stop_api, stopping) = watch::channel(false);
        let (stop_sync, sync_stopping) = watch::channel(false);
        let waiters = api.stopping.clone();
        tokio::spawn(async move {
            stop.await;
            waiters.send_replace(true);
            stop_api.send_replace(true);
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(jobs::sweep_until(api.clone(), stopping.clone()));
        tasks.spawn(apps::check_until(api.clone(), stopping.clone()));
        tasks.spawn(deliveries::sweep_until(api.clone(), stopping.clone()));
        tasks.spawn(audit::link_until(api.db.clone(), stopping.clone()));
        let outlet = Arc::new(api.egress.clone());
        let dispatcher = Dispatcher::new(api.db.clone(), api.world.clone(), api.metrics.clone(), outlet, Arc::default());
        let dispatcher = dispatcher.mailing(api.mail.clone());
        let dispatched = tokio::spawn(dispatcher.run(outcomes, deliveries::wakes(&api.db), stopping.clone()));
        let (outbox, metrics) = (api.mail.clone(), api.metrics.clone());
        tasks.spawn(mail::deliver_until(outbox, api.db.clone(), api.world.clone(), metrics, stopping.clone()));
        let operating = operating(api.clone(), stopping.clone());
        tasks.spawn(serve_http(listeners.metrics, operating, told(sync_stopping.clone())));
        let (hub, egress) = (api.hub.clone(), api.egress.clone());
        let stop_streams = {
            let egress = egress.clone();
            async move {
                told(sync_stopping).await;
                egress.stop();
            }
        };
        let sync_served = tokio::spawn(async move { hub.serve(listeners.sync, tls, egress.routes(), stop_streams).await });

        let served = serve_http(listeners.api, api::router(api.clone()), told(stopping.clone()));
        let drained = async {
            told(stopping).await;
            tokio::time::sleep(settings.gateway.drain_timeout).await;
        };
        tokio::select! {
            () = served => {}
            () = drained => tracing::warn!("requests in flight were given up"),
        }
        // What is in flight is still answered through the proxies' streams.
        let _ = dispatched.await;
        stop_sync.send_replace(true);
        tasks.join_all().await;
        let outcome = sync_served.await.unwrap_or(Ok(()));
        api.db.close().await;
        tracing::info!("stopped");
        Ok(outcome?)
    }
}

/// What has to be in the database before anyone is served.
pub async fn prepare(
    db: &Db,
    world: &World,
    secrets: &Secrets,
    plans: &Plans,
    admin_email: &str,
) -> Result<Option<FirstAdmin>, StartError> {
    for warning in &plans.warnings {
        tracing::warn!(warning, "a plan's limit cannot be reached");
    }
    let loaded = plans::load(db, world, plans).await?;
    for (plan, accounts) in &loaded.in_use {
        tracing::warn!(plan, accounts, "a plan is no longer offered, but accounts are on it: it stays in force for them");
    }
    tracing::info!(changed = loaded.changed, offered = plans.plans.len(), "plans loaded");
    let Some(plan) = plans::of_the_platform(plans) else { return Ok(None) };
    users::bootstrap(db, world, secrets, admin_email, &plan.name).await.map_err(StartError::Bootstrap)
}

/// Sync, fed by the features.
pub async fn start_hub(db: &Db, world: &World, secrets: &Secrets, settings: &Settings, options: Options) -> db::Result<Hub> {
    Hub::start(
        db.clone(),
        vec![
            Arc::new(PlanFeed),
            Arc::new(AccountFeed),
            Arc::new(KeyFeed { secrets: secrets.clone() }),
            Arc::new(RouteFeed),
            Arc::new(CertificateFeed { secrets: secrets.clone() }),
            Arc::new(WebhookFeed { secrets: secrets.clone(), world: world.clone() }),
            Arc::new(IssuerFeed {
                issuer: settings.control.public_url.clone(),
                secrets: secrets.clone(),
                nonces: settings.oauth.dpop_nonces,
            }),
            Arc::new(RevocationFeed),
        ],
        Arc::new(Sink { world: world.clone() }),
        options,
    )
    .await
}

/// What handlers are given.
pub fn api(db: Db, world: World, secrets: Secrets, hub: Hub, egress: Egress, metrics: Metrics, settings: &Settings) -> Api {
    let passwords = Passwords::new(world.clone());
    Api {
        db,
        world,
        secrets,
        hub,
        egress,
        egress_settings: Arc::new(settings.egress.clone()),
        keys: Arc::new(Directory::default()),
        sessions: Arc::new(sessions::Directory),
        tokens: Arc::new(oauth::Bearers::new(&settings.control.public_url)),
        metrics,
        mail: Outbox::default(),
        passwords,
        providers: Providers::default(),
        registration: settings.control.registration,
        oauth: Arc::new(settings.oauth.clone()),
        public_url: settings.control.public_url.as_str().into(),
        in_flight: <_>::default(),
        request_timeout: settings.control.request_timeout,
        forget_proxies_after: settings.control.forget_proxies_after,
        stopping: Arc::new(watch::Sender::new(false)),
    }
}

/// Wraps what the database's secrets are sealed by in the master key of the file `to`, and says how to go on.
pub async fn rewrap(Start { settings, database_url, master_key, world }: Start, to: &Path) -> Result<String, StartError> {
    let location = location(&settings, database_url, &settings.data_dir.join("control/control.db"))?;
    let db = Db::open(&location, 1).await?;
    let from = master(&settings, master_key);
    let rewrapped = secrets::rewrap(&db, &world, &from, &Master::File(to.to_owned())).await;
    db.close().await;
    Ok(format!(
        "{} data key(s) are wrapped by the master key in {to} now; the one in {from} opens nothing any more.\n\
         Before control starts again, here and everywhere else on this database, put {to} where the old one was,\n\
         name it in control.master_key_file, or set {variable} to its text. What runs goes on running.\n",
        rewrapped?,
        to = to.display(),
        variable = secrets::MASTER_KEY,
    ))
}

/// From the environment, else from the file that the settings name, else from the settings.
fn location(settings: &Settings, given: Option<String>, fallback: &Path) -> Result<Location, StartError> {
    let file = &settings.control.database_url_file;
    let unreadable = |why| StartError::DatabaseUrl { file: file.clone(), why };
    let url = match given {
        Some(given) => given,
        None if file.as_os_str().is_empty() => settings.control.database_url.clone(),
        None => match std::fs::read_to_string(file) {
            // Not the fallback: whoever names a file wants what is in it.
            Ok(text) if text.trim().is_empty() => return Err(unreadable(io::Error::other("it is empty"))),
            read => read.map_err(unreadable)?,
        },
    };
    Ok(Location::parse(url.trim(), fallback)?)
}

fn master(settings: &Settings, given: Option<Zeroizing<String>>) -> Master {
    given.map_or_else(|| Master::File(settings.master_key_file()), Master::Given)
}

/// Only the settings and the files that they name; nothing is opened or made.
pub fn check(settings: &Settings) -> Result<Vec<String>, StartError> {
    let plans = Plans::load(&settings.control.plans_file)?;
    // A file that holds the URL is a secret, which may be on another machine than the settings are checked on.
    let url = std::env::var(DATABASE_URL).ok();
    Location::parse(url.as_deref().unwrap_or(&settings.control.database_url), Path::new("control.db"))?;
    settings.sync.tls.as_ref().map(sync::Tls::read).transpose()?;
    Outbox::new(&settings.mail, std::env::var(mail::PASSWORD).ok().as_deref())?;
    providers(settings)?;
    Ok(plans.warnings)
}

/// With their secrets, from the environment or files.
fn providers(settings: &Settings) -> Result<Providers, ProviderError> {
    let secret = |variable: &str| std::env::var(variable).ok().map(Zeroizing::new);
    Providers::new(&settings.sign_in, &settings.control.public_url, secret)
}

/// What operators see of several control processes: what the settings say, or the machine and where proxies attach.
fn name(settings: &Settings, sync: io::Result<SocketAddr>) -> String {
    if !settings.control.name.is_empty() {
        return settings.control.name.clone();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", sync.map_or(0, |addr| addr.port()))
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).await.map_err(|why| StartError::Listen { addr, why })
}

async fn serve_http(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(why) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
        tracing::error!(error.cause = chain(&why), "a listener failed");
    }
}

/// Returns once the channel says true, or its sender is gone.
async fn told(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[derive(Debug, Clone)]
struct Operating {
    api: Api,
    stopping: watch::Receiver<bool>,
}

/// Metrics and health, on an address of their own. Nothing here asks for a key: it belongs on a private network.
fn operating(api: Api, stopping: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .with_state(Operating { api, stopping })
}

async fn metrics(State(Operating { api, .. }): State<Operating>) -> impl IntoResponse {
    // Asked now: nobody else may ever ask whether it is ready.
    look_at_store(&api).await;
    api.metrics.sync(&api.hub.status());
    api.metrics.egress(&api.egress.proxies());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.metrics.render())
}

/// Whether the database answers, noted in the metrics.
async fn look_at_store(api: &Api) -> bool {
    let up = matches!(tokio::time::timeout(READY_TIMEOUT, api.db.ping()).await, Ok(Ok(())));
    api.metrics.store_up(up);
    up
}

async fn ready(State(Operating { api, stopping }): State<Operating>) -> (StatusCode, &'static str) {
    if *stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if look_at_store(&api).await {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "database unreachable\n")
    }
}
