//! The stream from control: connected for as long as the process lives, with a pause in between when it breaks.
//!
//! One task connects, proves that both sides know the token, and then does as it is told: applies what
//! comes, acknowledges what has reached the disk, renews the lease and reports usage. Requests never
//! wait for it; they read the [`Snapshot`] and its lease.
//!
//! Where there are several control processes it is attached to one at a time ([`Targets`]), and goes to the next at
//! once when that one dies, refuses or falls silent, long before its lease ends. The next goes on from the revision held.

mod backoff;
mod connect;
mod session;
mod targets;
#[cfg(test)]
mod tests;
mod usage;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clearway_config::{
    ProxyId,
    settings::{Settings, process::SyncTls},
    sync::v1,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::snapshot::{Snapshot, disk::Disk};

pub(crate) use backoff::Backoff;
pub(crate) use connect::{CONNECT_TIMEOUT, ConnectError, channel, read_token};
pub(crate) use targets::Targets;
pub use usage::{LedgerUsage, UsageSource};

use session::{Ended, Session};

/// How long a table of routes may take to build before a connection does without.
const BUILT_WITHIN: Duration = Duration::from_secs(5);
/// Where there is another control process, one is to answer within a fifth of a lease, as far as these bounds allow.
const CONNECT_WITHIN_MIN: Duration = Duration::from_secs(1);
const CONNECT_WITHIN_MAX: Duration = Duration::from_secs(2);
/// What leases are taken to last until control has said.
const LEASE_UNTOLD: Duration = Duration::from_secs(10);
/// A connection that ends sooner does not count as one that stood: else a fleet would run in circles.
const LASTING: Duration = Duration::from_secs(5);

/// Who connects where.
#[derive(Debug, Clone)]
pub struct Options {
    pub proxy: ProxyId,
    /// What an operator calls it.
    pub name: String,
    /// Of control processes over one database; never empty.
    pub urls: Vec<String>,
    pub token_file: PathBuf,
    pub tls: Option<SyncTls>,
}

impl Options {
    pub fn new(settings: &Settings, proxy: ProxyId) -> Self {
        let name = name_of(settings);
        let urls = match (settings.sync.connect.as_slice(), &settings.sync.tls) {
            ([], None) => vec![format!("http://{}", settings.sync.addr)],
            ([], Some(_)) => vec![format!("https://{}", settings.sync.addr)],
            (urls, _) => urls.to_vec(),
        };
        Self { proxy, name, urls, token_file: settings.token_file(), tls: settings.sync.tls.clone() }
    }
}

/// What this proxy is called.
pub(crate) fn name_of(settings: &Settings) -> String {
    match settings.gateway.name.as_str() {
        "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        name => name.to_owned(),
    }
}

/// Says what this process does at a moment.
pub(crate) trait Reporter: Send + Sync {
    fn report(&self) -> v1::Report;
}

/// Keeps a [`Snapshot`] and its files up to date.
pub struct Client {
    options: Options,
    snapshot: Arc<Snapshot>,
    disk: Disk,
    usage: Arc<dyn UsageSource>,
    reporter: Option<Arc<dyn Reporter>>,
    connected: watch::Sender<bool>,
    rest: Arc<Rest>,
}

/// What a connection came to.
#[derive(Debug, Default)]
struct Came {
    /// As far as an answered heartbeat.
    useful: bool,
    /// And stayed for a while.
    lasting: bool,
}

/// Lets its owner have a client end its connection and leave its files alone for a while.
#[derive(Debug)]
pub(crate) struct Rest {
    wanted: watch::Sender<bool>,
    /// Whether it rests, with all that it has applied on disk.
    rests: watch::Sender<Option<bool>>,
}

impl Rest {
    /// Ends when the client rests: it hears and tells nothing, and leaves its files alone. False: what it has applied
    /// is not all on disk.
    pub(crate) async fn begin(&self) -> bool {
        self.wanted.send_replace(true);
        // The sender is `self`.
        self.rests.subscribe().wait_for(Option::is_some).await.is_ok_and(|rests| *rests == Some(true))
    }

    /// Lets it go on.
    pub(crate) fn end(&self) {
        self.wanted.send_replace(false);
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Why a connection ended or did not come about.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Session(#[from] Ended),
    #[error("control did not answer in time")]
    Late,
    #[error("it was asked to rest")]
    Resting,
    #[error("it goes back to the control process of its own choice")]
    Returning,
}

impl Client {
    /// `disk` is the one that `snapshot` was read from.
    pub fn new(options: Options, snapshot: Arc<Snapshot>, disk: Disk, usage: Arc<dyn UsageSource>) -> Self {
        let rest = Arc::new(Rest { wanted: watch::Sender::new(false), rests: watch::Sender::new(None) });
        Self { options, snapshot, disk, usage, reporter: None, connected: watch::Sender::new(false), rest }
    }

    /// Has control told what `reporter` says, with every heartbeat.
    pub(crate) fn reporting(self, reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter: Some(reporter), ..self }
    }

    pub(crate) fn rest(&self) -> Arc<Rest> {
        self.rest.clone()
    }

    /// Whether the stream is open and both sides have proved themselves.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Runs until it is dropped; what waits for the disk is then written.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        let mut targets = Targets::new(&self.options.urls, &self.options.proxy);
        let mut lease = LEASE_UNTOLD;
        loop {
            let mut came = Came::default();
            let broken = self.attend(&targets, &mut lease, &mut came).await;
            self.connected.send_replace(false);
            if self.has_rested().await {
                backoff = Backoff::default();
                continue;
            }
            if matches!(broken, Broken::Returning) {
                tracing::info!(url = targets.current(), "going back to the control process of this proxy's own choice");
                targets.go_home();
                continue;
            }
            if came.useful {
                backoff = Backoff::default();
            }
            let left = targets.current().to_owned();
            if targets.next(came.lasting) {
                self.complain(&broken, &left, Duration::ZERO);
                continue;
            }
            let pause = backoff.next();
            self.complain(&broken, &left, pause);
            let mut wanted = self.rest.wanted.subscribe();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = wanted.wait_for(|wanted| *wanted) => {}
            }
            self.has_rested().await;
        }
    }

    /// Rests for as long as that is wanted.
    async fn has_rested(&self) -> bool {
        let mut wanted = self.rest.wanted.subscribe();
        if !*wanted.borrow() {
            return false;
        }
        let is_on_disk = self.disk.rest().await.is_some_and(|on_disk| on_disk.failed.is_none());
        self.rest.rests.send_replace(Some(is_on_disk));
        // The sender lives as long as `self`.
        let _ = wanted.wait_for(|wanted| !wanted).await;
        self.rest.rests.send_replace(None);
        true
    }

    /// A function of its own: an error behind `dyn` cannot be held across an await.
    fn complain(&self, broken: &Broken, url: &str, pause: Duration) {
        let error: &dyn std::error::Error = broken;
        tracing::warn!(error, url, pause_ms = pause.as_millis() as u64, "not attached to control");
    }

    /// One connection from its beginning to its end. `lease` is how long control says that leases are.
    async fn attend(&self, targets: &Targets, lease: &mut Duration, came: &mut Came) -> Broken {
        let token = match read_token(&self.options.token_file) {
            Ok(token) => token,
            Err(error) => return error.into(),
        };
        // What an earlier connection left for the disk must be settled before this one says what is on it.
        let Some(on_disk) = self.disk.settle().await else { return ConnectError::Disk.into() };
        self.objects_in_force().await;
        let (mut session, hello) = Session::begin(&self.snapshot, &self.disk, &*self.usage, on_disk, token);
        session.leases_of(*lease);
        session.reporter = self.reporter.as_deref();
        let mut within = 2 * CONNECT_TIMEOUT;
        if targets.are_several() {
            session.leaves_the_silent();
            within = (*lease / 5).clamp(CONNECT_WITHIN_MIN, CONNECT_WITHIN_MAX);
        }
        let hello = hello.from(&self.options);
        let mut rest = self.rest.wanted.subscribe();
        let began = Instant::now();
        let attached = tokio::select! {
            attached = timeout(within, connect::attach(&self.options, targets.current(), hello)) => attached,
            _ = rest.wait_for(|wanted| *wanted) => return Broken::Resting,
        };
        let (incoming, outgoing) = match attached {
            Ok(Ok(attached)) => attached,
            Ok(Err(error)) => return error.into(),
            Err(_) => return Broken::Late,
        };
        let ended: Result<Ended, Broken> = tokio::select! {
            ended = session.run(incoming, outgoing, &self.connected) => Ok(ended),
            _ = rest.wait_for(|wanted| *wanted) => Err(Broken::Resting),
            () = targets.time_to_return() => Err(Broken::Returning),
        };
        *lease = session.lease();
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) => {
                session.given_up();
                return why;
            }
        };
        came.useful = session.was_useful();
        came.lasting = came.useful && began.elapsed() >= LASTING;
        ended.into()
    }

    /// Waits a little for the routes that an earlier connection told: without them all is asked for anew.
    async fn objects_in_force(&self) {
        let objects = self.snapshot.objects();
        let mut built = objects.built();
        let _ = timeout(BUILT_WITHIN, built.wait_for(|built| built.version >= objects.version())).await;
    }
}
