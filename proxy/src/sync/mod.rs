//! The stream from control: connected for as long as the process lives, with a pause in between when it breaks.
//!
//! One task connects, proves that both sides know the token, and then does as it is told: applies what
//! comes, acknowledges what has reached the disk, renews the lease and reports usage. Requests never
//! wait for it; they read the [`Snapshot`] and its lease.

mod backoff;
mod connect;
mod session;
#[cfg(test)]
mod tests;
mod usage;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clearway_config::{
    ProxyId,
    settings::{Settings, process::SyncTls},
};
use tokio::sync::watch;

use crate::snapshot::{Snapshot, disk::Disk};

pub(crate) use backoff::Backoff;
pub(crate) use connect::{CONNECT_TIMEOUT, ConnectError, channel, read_token};
pub use usage::{LedgerUsage, UsageSource};

use session::{Ended, Session};

/// How long a table of routes may take to build before a connection does without.
const BUILT_WITHIN: Duration = Duration::from_secs(5);

/// Who connects where.
#[derive(Debug, Clone)]
pub struct Options {
    pub proxy: ProxyId,
    /// What an operator calls it.
    pub name: String,
    pub url: String,
    pub token_file: PathBuf,
    pub tls: Option<SyncTls>,
}

impl Options {
    pub fn new(settings: &Settings, proxy: ProxyId) -> Self {
        let name = name_of(settings);
        let url = match (settings.sync.connect.as_str(), &settings.sync.tls) {
            ("", None) => format!("http://{}", settings.sync.addr),
            ("", Some(_)) => format!("https://{}", settings.sync.addr),
            (url, _) => url.to_owned(),
        };
        Self { proxy, name, url, token_file: settings.token_file(), tls: settings.sync.tls.clone() }
    }
}

/// What this proxy is called.
pub(crate) fn name_of(settings: &Settings) -> String {
    match settings.gateway.name.as_str() {
        "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        name => name.to_owned(),
    }
}

/// Keeps a [`Snapshot`] and its files up to date.
pub struct Client {
    options: Options,
    snapshot: Arc<Snapshot>,
    disk: Disk,
    usage: Arc<dyn UsageSource>,
    connected: watch::Sender<bool>,
    rest: Arc<Rest>,
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
    #[error("it was asked to rest")]
    Resting,
}

impl Client {
    /// `disk` is the one that `snapshot` was read from.
    pub fn new(options: Options, snapshot: Arc<Snapshot>, disk: Disk, usage: Arc<dyn UsageSource>) -> Self {
        let rest = Arc::new(Rest { wanted: watch::Sender::new(false), rests: watch::Sender::new(None) });
        Self { options, snapshot, disk, usage, connected: watch::Sender::new(false), rest }
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
        loop {
            let mut useful = false;
            let broken = self.attend(&mut useful).await;
            self.connected.send_replace(false);
            if self.has_rested().await {
                backoff = Backoff::default();
                continue;
            }
            if useful {
                backoff = Backoff::default();
            }
            let pause = backoff.next();
            self.complain(&broken, pause);
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
    fn complain(&self, broken: &Broken, pause: Duration) {
        let error: &dyn std::error::Error = broken;
        tracing::warn!(error, url = self.options.url, pause_ms = pause.as_millis() as u64, "not attached to control");
    }

    /// One connection from its beginning to its end.
    async fn attend(&self, useful: &mut bool) -> Broken {
        let token = match read_token(&self.options.token_file) {
            Ok(token) => token,
            Err(error) => return error.into(),
        };
        // What an earlier connection left for the disk must be settled before this one says what is on it.
        let Some(on_disk) = self.disk.settle().await else { return ConnectError::Disk.into() };
        self.objects_in_force().await;
        let (mut session, hello) = Session::begin(&self.snapshot, &self.disk, &*self.usage, on_disk, token);
        let hello = hello.from(&self.options);
        let mut rest = self.rest.wanted.subscribe();
        let attached = tokio::select! {
            attached = connect::attach(&self.options, hello) => attached,
            _ = rest.wait_for(|wanted| *wanted) => return Broken::Resting,
        };
        let (incoming, outgoing) = match attached {
            Ok(attached) => attached,
            Err(error) => return error.into(),
        };
        let ended = tokio::select! {
            ended = session.run(incoming, outgoing, &self.connected) => Some(ended),
            _ = rest.wait_for(|wanted| *wanted) => None,
        };
        let Some(ended) = ended else {
            session.given_up();
            return Broken::Resting;
        };
        *useful = session.was_useful();
        ended.into()
    }

    /// Waits a little for the routes that an earlier connection told: without them all is asked for anew.
    async fn objects_in_force(&self) {
        let objects = self.snapshot.objects();
        let mut built = objects.built();
        let _ = tokio::time::timeout(BUILT_WITHIN, built.wait_for(|built| built.version >= objects.version())).await;
    }
}
