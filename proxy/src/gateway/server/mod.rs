//! Connections: accepted in one place, each served by one worker from beginning to end.
//!
//! A worker is a thread with a runtime, an `HttpProxy` and pools of upstream connections of its own:
//! nothing of a request crosses threads. The listener is ours, bound before anything else starts, so
//! that a taken port is an error and a free one is known; Pingora's server and its signal handling are
//! not used.
//!
//! [`accept`] takes connections and chooses their workers, [`worker`] is the thread, [`serve`] what becomes of a
//! connection there by the listener it came to, and [`open`] counts them, so that a drain can wait for the last.

mod accept;
mod open;
mod serve;
mod worker;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

pub(crate) use self::accept::{Listener, bind};
use self::{
    accept::Accepting,
    worker::{Job, Worker, least},
};
pub(super) use self::{
    open::{Counted, Held, Open},
    serve::serve_plain,
};
use super::{State, moved::Arrived};
use crate::descriptors;

/// How long a connection without a request may still bring one after draining began.
const DRAIN_IDLE: Duration = Duration::from_millis(300);

/// The running workers.
#[derive(Debug)]
pub(crate) struct Server {
    controls: Arc<Controls>,
    threads: Vec<Option<JoinHandle<()>>>,
}

/// What is said to the workers and to those who accept for them.
#[derive(Debug)]
pub(crate) struct Controls {
    workers: Vec<Worker>,
    accepting: watch::Sender<Accepting>,
    open: Arc<Open>,
    state: Arc<State>,
}

impl Server {
    /// Starts `threads` workers; [`Server::accept`] gives them work.
    pub(crate) fn start(state: &Arc<State>, threads: usize, upstream_idle_max: usize) -> io::Result<Self> {
        let open = Arc::new(Open::default());
        let idle_max = upstream_idle_max.div_ceil(threads).max(1);
        let started = (0..threads).map(|n| Worker::start(n, state.clone(), idle_max)).collect::<io::Result<Vec<_>>>()?;
        let (workers, threads) = started.into_iter().map(|(worker, thread)| (worker, Some(thread))).unzip();
        let accepting = watch::Sender::new(Accepting::Yes);
        Ok(Self { controls: Arc::new(Controls { workers, accepting, open, state: state.clone() }), threads })
    }

    pub(crate) fn controls(&self) -> &Arc<Controls> {
        &self.controls
    }

    /// Stops accepting, lets requests in flight end, and ends the workers. Says how many connections
    /// were cut off because `timeout` passed.
    pub(crate) async fn drain(mut self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        let controls = self.controls.clone();
        controls.accepting.send_replace(Accepting::Last);
        controls.close(true);
        if !controls.open.wait(DRAIN_IDLE.min(timeout)).await {
            controls.hang_up();
            controls.open.wait(deadline.saturating_duration_since(Instant::now())).await;
        }
        self.end()
    }

    /// [`Server::drain`] where another process has taken over: connections go to it as soon as they can, and are not
    /// hung up before `timeout` has passed.
    pub(crate) async fn retire(mut self, timeout: Duration) -> usize {
        let controls = self.controls.clone();
        if !controls.open.wait(timeout).await {
            controls.hang_up();
            controls.open.wait(DRAIN_IDLE).await;
        }
        self.end()
    }

    fn end(&mut self) -> usize {
        let cut = self.controls.open.count.load(Ordering::Acquire);
        self.stop();
        cut
    }

    fn stop(&mut self) {
        for (worker, thread) in self.controls.workers.iter().zip(&mut self.threads) {
            // An error: it has ended already.
            let _ = worker.jobs.send(Job::End);
            if let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::error!("gateway worker panicked");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Controls {
    /// Leaves connections in the kernel, or takes them.
    pub(crate) fn pause(&self, paused: bool) {
        self.accepting.send_replace(if paused { Accepting::Paused } else { Accepting::Yes });
    }

    /// Lets go of the listeners, whatever still waits there: it is another process' to accept.
    pub(crate) fn abandon_listeners(&self) {
        self.accepting.send_replace(Accepting::Done);
    }

    /// Whether connections end with their next answer.
    pub(crate) fn close(&self, closing: bool) {
        for worker in &self.workers {
            worker.closing.send_replace(closing);
        }
    }

    /// Lets go of connections without a request.
    pub(crate) fn hang_up(&self) {
        for worker in &self.workers {
            worker.hang_up.notify_waiters();
        }
    }

    /// Ends when every worker has done what it was doing, and has decided what had been on its way to a decision.
    pub(crate) async fn settle(&self) {
        let settled = self.workers.iter().map(|worker| {
            let (answer, settled) = oneshot::channel();
            // An error: it has ended, and decides nothing.
            let _ = worker.jobs.send(Job::Settle(answer));
            settled
        });
        for settled in settled.collect::<Vec<_>>() {
            let _ = settled.await;
        }
    }

    /// Serves a connection that the process before has handed on.
    pub(crate) fn serve_handed(&self, arrived: Arrived) {
        match self.state.gate.enter(arrived.peer.address, descriptors::number(arrived.socket())) {
            Ok(place) => {
                let Some(worker) = least(&self.workers) else { return };
                let held = Held::new(Counted::new(self.open.clone()), worker.load.clone(), self.state.clone(), place);
                // An error: the process ends.
                let _ = worker.jobs.send(Job::ServeHanded(arrived, held));
            }
            Err(why) => self.state.gate.turn_away(None, why),
        }
    }
}
