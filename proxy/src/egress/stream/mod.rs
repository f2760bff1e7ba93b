//! What control has accepted, posted from here: a stream from control, attached for as long as the process lives, with a
//! pause in between when it breaks.
//!
//! Attempts run side by side, as many as this proxy has said it takes, and each is answered as soon as it has ended. When
//! the stream breaks, what runs is given up: control has it attempted again, whatever came of it here. A process that
//! ends, or whose place another takes, says so first, and ends when it has answered for all that it was given; so does
//! one whose auth lease has run out, until it has one again.
//!
//! How an attempt is made is not known here: see [`Post`]. [`Held`] is what makes them.

mod held;
mod lanes;
mod session;
#[cfg(test)]
mod tests;
mod wire;

use std::{io, sync::Arc, time::Duration};

use clearway_config::egress::{ATTEMPTS_MAX, INSTANCE_BYTES, v1};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    egress::{Egress, Poster, places::Side},
    metrics::Metrics,
    snapshot::Snapshot,
    sync::{Backoff, ConnectError, Options, Targets, read_token},
};
use held::Held;
use lanes::{Lane, Threads};
use session::{Ended, Session};

/// How often it is looked whether webhooks are held, and may be posted to, before anything is asked for.
const LOOK: Duration = Duration::from_millis(20);

/// Makes one attempt, and says what came of it under the attempt's number, whatever that was.
trait Post: Send + Sync + 'static {
    fn post(&self, attempt: v1::Attempt) -> impl Future<Output = v1::Result> + Send;
}

/// What control has accepted, posted by threads of this process.
#[derive(Debug)]
pub(crate) struct Deliveries {
    draining: watch::Sender<bool>,
    stream: JoinHandle<()>,
    /// They end with this.
    _threads: Threads,
}

impl Deliveries {
    /// Attaches once `snapshot` holds what is to be posted to, and may be acted by.
    pub(crate) fn start(
        options: Options,
        threads: usize,
        egress: &Arc<Egress>,
        snapshot: Arc<Snapshot>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let post = || Held { snapshot: snapshot.clone(), poster: Poster::new(egress.clone()) };
        let (threads, lanes) = Threads::start(threads, post)?;
        let (draining, drained) = watch::channel(false);
        let first = lanes[0].runtime.clone();
        let client = Client {
            options,
            instance: rand::random(),
            attempts_max: egress.places.max_of(Side::Control).min(ATTEMPTS_MAX),
            snapshot,
            lanes: lanes.into(),
            metrics,
            draining: drained,
        };
        Ok(Self { draining, stream: first.spawn(client.run()), _threads: threads })
    }

    /// Takes no more, and returns when control has been told of all that was taken, but no later than `within`: what is
    /// given up then is attempted again by another.
    pub(crate) async fn drain(&mut self, within: Duration) {
        self.draining.send_replace(true);
        if timeout(within, &mut self.stream).await.is_err() {
            tracing::warn!("attempts at webhooks in flight were given up");
        }
    }
}

/// Attaches, and has what comes posted.
struct Client<P> {
    options: Options,
    /// Of this process: control tells its streams from those of the process before.
    instance: [u8; INSTANCE_BYTES],
    attempts_max: u32,
    snapshot: Arc<Snapshot>,
    lanes: Arc<[Lane<P>]>,
    metrics: Arc<Metrics>,
    draining: watch::Receiver<bool>,
}

/// Why a stream ended or did not come about.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Session(#[from] Ended),
}

impl<P: Post> Client<P> {
    /// Runs until it has drained.
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut draining = self.draining.clone();
        let mut targets = Targets::new(&self.options.urls, &self.options.proxy);
        while !*draining.borrow() {
            if !self.snapshot.is_ready() || !self.snapshot.lease().holds() {
                let _ = timeout(LOOK, until(&mut draining)).await;
                continue;
            }
            let mut useful = false;
            let broken = self.attend(&targets, &mut useful).await;
            self.metrics.egress.attached.set(0);
            if *draining.borrow() {
                return;
            }
            if useful {
                backoff = Backoff::default();
            }
            let left = targets.current().to_owned();
            // A pause all the same: attempts that were in flight are begun anew, which is not to happen in circles.
            let pause = if targets.next(false) { Duration::ZERO } else { backoff.next() };
            self.complain(&broken, &left, pause);
            let _ = timeout(pause, until(&mut draining)).await;
        }
    }

    /// A function of its own: an error behind `dyn` cannot be held across an await.
    fn complain(&self, broken: &Broken, url: &str, pause: Duration) {
        let error: &dyn std::error::Error = broken;
        tracing::warn!(error, url, pause_ms = pause.as_millis() as u64, "no webhooks from control");
    }

    /// One stream from its beginning to its end.
    async fn attend(&mut self, targets: &Targets, useful: &mut bool) -> Broken {
        let token = match read_token(&self.options.token_file) {
            Ok(token) => token,
            Err(error) => return error.into(),
        };
        let (session, hello) = Session::begin(self, token);
        let mut draining = self.draining.clone();
        let attached = tokio::select! {
            attached = wire::attach(&self.options, targets.current(), hello) => attached,
            () = until(&mut draining) => return Ended::Drained.into(),
        };
        match attached {
            Ok((incoming, outgoing)) => session.run(incoming, outgoing, draining, useful).await.into(),
            Err(error) => error.into(),
        }
    }
}

/// Returns when the process takes no more.
async fn until(draining: &mut watch::Receiver<bool>) {
    // A sender that is gone has nobody who would wait for more.
    let _ = draining.wait_for(|draining| *draining).await;
}
