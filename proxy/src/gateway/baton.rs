//! Whether requests are decided here: the point at which they wait while another process takes over.
//!
//! Open costs a request one load. A decision never waits in the middle: whoever freezes the baton sends every worker
//! a message after it, and has its answer when what had passed the baton before has been decided.

use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::server::Counted;
use crate::upgrade::heir::Successor;

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// This process.
    Open,
    /// This process, and it begins no HTTP/2 connection any more.
    Leaving,
    /// Nobody: it may become either.
    Frozen,
    /// Another process.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Baton {
    phase: watch::Sender<Phase>,
    /// The same, for requests.
    now: AtomicU8,
    /// HTTP/2 connections that may bring requests.
    unfinished: AtomicUsize,
    finished: Notify,
    to: OnceLock<Arc<Successor>>,
}

impl Default for Baton {
    fn default() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Open),
            now: AtomicU8::new(Phase::Open as u8),
            unfinished: AtomicUsize::new(0),
            finished: Notify::new(),
            to: OnceLock::new(),
        }
    }
}

impl Baton {
    /// Whether a request that has arrived is decided here and now.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.now.load(Ordering::Relaxed) < Phase::Frozen as u8
    }

    /// Whether nobody has taken over.
    pub(super) fn is_here(&self) -> bool {
        self.now.load(Ordering::Relaxed) != Phase::Gone as u8
    }

    /// Who has taken over.
    pub(super) fn successor(&self) -> Option<&Arc<Successor>> {
        if *self.phase.borrow() == Phase::Gone { self.to.get() } else { None }
    }

    /// Waits until it is settled who decides. `None`: this process, for as long as nothing is awaited.
    pub(super) async fn settled(&self) -> Option<&Arc<Successor>> {
        loop {
            if self.is_open() {
                return None;
            }
            if let Some(to) = self.wait_while(|phase| phase == Phase::Frozen).await {
                return Some(to);
            }
        }
    }

    /// Counts an HTTP/2 connection until it brings no more requests. `Err`: another process is to have it.
    pub(super) async fn begin_h2(self: &Arc<Self>) -> Result<Unfinished, &Arc<Successor>> {
        loop {
            let unfinished = Unfinished::new(self);
            if self.now.load(Ordering::SeqCst) == Phase::Open as u8 {
                return Ok(unfinished);
            }
            drop(unfinished);
            if let Some(to) = self.wait_while(|phase| phase != Phase::Open && phase != Phase::Gone).await {
                return Err(to);
            }
        }
    }

    async fn wait_while(&self, undecided: impl Fn(Phase) -> bool) -> Option<&Arc<Successor>> {
        let mut phase = self.phase.subscribe();
        // The sender is `self`.
        let _ = phase.wait_for(|&phase| !undecided(phase)).await;
        self.successor()
    }

    fn set(&self, phase: Phase) {
        self.now.store(phase as u8, Ordering::SeqCst);
        self.phase.send_replace(phase);
    }

    /// Begins no HTTP/2 connection from now on, and waits until none brings requests, for at most that long.
    pub(crate) async fn leave(&self, within: Duration) {
        self.set(Phase::Leaving);
        let none_left = async {
            loop {
                let finished = self.finished.notified();
                if self.unfinished.load(Ordering::SeqCst) == 0 {
                    return;
                }
                finished.await;
            }
        };
        // Requests of the others are refused in the way that lets their clients send them again.
        let _ = tokio::time::timeout(within, none_left).await;
    }

    /// Lets requests wait from now on.
    pub(crate) fn freeze(&self) {
        self.set(Phase::Frozen);
    }

    /// Lets those that wait be decided here.
    pub(crate) fn reopen(&self) {
        self.set(Phase::Open);
    }

    /// Lets those that wait go to another process.
    pub(crate) fn go(&self, to: Arc<Successor>) {
        // A process is followed by one other.
        let _ = self.to.set(to);
        self.set(Phase::Gone);
    }
}

/// An HTTP/2 connection whose client has not been heard to know that it ends.
#[derive(Debug)]
pub(super) struct Unfinished(Arc<Baton>);

impl Unfinished {
    fn new(baton: &Arc<Baton>) -> Self {
        baton.unfinished.fetch_add(1, Ordering::SeqCst);
        Self(baton.clone())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.0.unfinished.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.finished.notify_waiters();
        }
    }
}

tokio::task_local! {
    /// Held from the baton to the decision by a request that Pingora takes through its phases.
    static PASSED: Cell<Option<Counted>>;
}

/// Runs Pingora's phases of a request that may not be decided, or not charged, yet.
pub(super) async fn passed<T>(pass: Counted, phases: impl Future<Output = T>) -> T {
    PASSED.scope(Cell::new(Some(pass)), phases).await
}

/// The request of this task has been decided and charged.
pub(super) fn decided() {
    // Not there in a request of Pingora's own.
    let _ = PASSED.try_with(Cell::take);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_wait_while_it_is_not_settled_and_connections_as_soon_as_it_may_end() {
        let baton = Arc::new(Baton::default());
        let begun = baton.begin_h2().await.ok().unwrap();
        assert!(baton.settled().now_or_never().unwrap().is_none());
        let began = tokio::time::Instant::now();
        baton.leave(Duration::from_secs(1)).await;
        assert!(began.elapsed() >= Duration::from_secs(1), "a client has not heard of it");
        assert!(baton.begin_h2().now_or_never().is_none() && baton.is_open());
        drop(begun);
        baton.leave(Duration::from_secs(1)).now_or_never().unwrap();
        baton.freeze();
        assert!(baton.settled().now_or_never().is_none());
        baton.reopen();
        assert!(baton.settled().now_or_never().unwrap().is_none() && baton.begin_h2().now_or_never().unwrap().is_ok());
    }
}
