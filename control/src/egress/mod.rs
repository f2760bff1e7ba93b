//! The way out: proxies that are attached to have webhooks posted, and what they are given.
//!
//! A proxy opens `Egress.Attach` (`config/proto/clearway/egress/v1/egress.proto`) on the listener for proxies. Whoever has
//! something to be posted asks [`Egress::room`], hands it over by [`Egress::offer`] and hears of it by [`Outcomes`]: one
//! outcome for each attempt that was taken, [`Outcome::Lost`] where its stream ended first. What is in flight at a proxy
//! is never more than that proxy has said it takes, and an attempt counts until its outcome has been taken, so that
//! memory is bounded by the windows of the proxies.
//!
//! This is plumbing: it knows no feature and no table, and it tries nothing again.

mod attached;
mod service;
mod session;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clearway_config::{
    ProxyId,
    egress::{SILENCE_MAX_MS, v1},
    sync::NONCE_BYTES,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use crate::metrics::Metrics;
pub use attached::AttachedProxy;
use attached::{Attached, Unasked};

/// The attached proxies. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

/// What became of the attempts that were taken. There is one of these, and it must be read.
pub struct Outcomes {
    inner: Arc<Inner>,
    batches: mpsc::UnboundedReceiver<Batch>,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Of the attempt, as it was offered.
    pub number: u64,
    pub proxy: ProxyId,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What the proxy says of it. Its failure may be one of the proxy's own: then nothing was sent.
    Answered(v1::Result),
    /// The stream ended before: it was posted, or not.
    Lost,
}

/// As they come from one stream.
struct Batch {
    session: u64,
    finished: Vec<Finished>,
}

pub(crate) struct Inner {
    token: [u8; NONCE_BYTES],
    silence_max: Duration,
    metrics: Metrics,
    attached: Mutex<Attached>,
    batches: mpsc::UnboundedSender<Batch>,
    room: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("proxies", &self.proxies()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").finish_non_exhaustive()
    }
}

impl Egress {
    /// `token` is what proxies must know too.
    pub fn new(token: [u8; NONCE_BYTES], metrics: Metrics) -> (Self, Outcomes) {
        Self::dropping_after(Duration::from_millis(SILENCE_MAX_MS), token, metrics)
    }

    /// A proxy that says or reads nothing for `silence_max` is gone.
    fn dropping_after(silence_max: Duration, token: [u8; NONCE_BYTES], metrics: Metrics) -> (Self, Outcomes) {
        let (batches, received) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            token,
            silence_max,
            metrics,
            attached: Mutex::default(),
            batches,
            room: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        });
        (Self { inner: inner.clone() }, Outcomes { inner, batches: received })
    }

    /// How many attempts would be taken now, however long they are.
    pub fn room(&self) -> usize {
        *self.inner.room.borrow()
    }

    /// Follows [`Egress::room`].
    pub fn rooms(&self) -> watch::Receiver<usize> {
        self.inner.room.subscribe()
    }

    /// Sends each attempt to the proxy that has most room, and gives back those that none has room for: more than
    /// [`Egress::room`], or too long together. Each one's number must be that of no other in flight, and its body at most
    /// [`clearway_config::egress::BODY_BYTES_MAX`] long.
    pub fn offer(&self, attempts: Vec<v1::Attempt>) -> Vec<v1::Attempt> {
        let mut attached = self.inner.attached();
        let refused = attached.place(attempts, Instant::now());
        self.inner.note_room(&attached);
        refused
    }

    /// Attempts in flight: those whose outcomes have not been taken are not among them.
    pub fn in_flight(&self) -> usize {
        self.inner.attached().in_flight()
    }

    /// Who is attached, by id; a proxy is there more than once while one process takes the place of another.
    pub fn proxies(&self) -> Vec<AttachedProxy> {
        self.inner.attached().proxies()
    }

    /// Ends every stream: what is in flight is lost. For after the last attempt has been offered and heard of.
    pub fn stop(&self) {
        self.inner.stopping.send_replace(true);
    }
}

impl Outcomes {
    /// The next ones, in the order in which they came; at least one. It may be dropped at any time.
    pub async fn next(&mut self) -> Vec<Finished> {
        // A sender lives in `inner`.
        let Some(Batch { session, finished }) = self.batches.recv().await else { return std::future::pending().await };
        self.taken(session, finished.len());
        finished
    }

    /// The next ones if there are any now.
    pub fn try_next(&mut self) -> Option<Vec<Finished>> {
        let Batch { session, finished } = self.batches.try_recv().ok()?;
        self.taken(session, finished.len());
        Some(finished)
    }

    fn taken(&self, session: u64, count: usize) {
        let mut attached = self.inner.attached();
        attached.taken(session, count);
        self.inner.note_room(&attached);
    }
}

impl Inner {
    fn attached(&self) -> MutexGuard<'_, Attached> {
        // Every change under this lock is complete before anything in it can panic.
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock is held, so that the last word is the latest.
    fn note_room(&self, attached: &Attached) {
        let room = attached.room();
        self.room.send_if_modified(|noted| std::mem::replace(noted, room) != room);
    }

    /// Passes on what a proxy says has become of attempts. Whether it has said its last: it is draining, and nothing is left.
    fn answered(&self, session: u64, results: Vec<v1::Result>) -> Result<bool, Unasked> {
        let mut attached = self.attached();
        let now = Instant::now();
        let mut finished = Vec::with_capacity(results.len());
        let mut unasked = None;
        for result in results {
            match attached.answered(session, result.number) {
                Ok((proxy, since)) => {
                    self.metrics.attempted(&result, now.duration_since(since));
                    finished.push(Finished { number: result.number, proxy, outcome: Outcome::Answered(result) });
                }
                Err(error) => unasked = Some(error),
            }
        }
        if !finished.is_empty() {
            self.pass_on(session, finished);
        }
        unasked.map_or_else(|| Ok(attached.is_done(session)), Err)
    }

    fn lose(&self, session: u64) {
        let mut attached = self.attached();
        let finished = attached.detach(session);
        if !finished.is_empty() {
            self.metrics.attempts_lost(finished.len());
            self.pass_on(session, finished);
        }
        self.note_room(&attached);
    }

    fn pass_on(&self, session: u64, finished: Vec<Finished>) {
        // Nobody may be left to hear of it: the process is ending.
        let _ = self.batches.send(Batch { session, finished });
    }
}
