//! The running process' side: hands itself to a new one, or goes on as if nothing had been.
//!
//! Up to [`Message::Go`] every step can be taken back. From the point at which the ledger's file is unlocked that
//! takes the new process' death, which is seen to: whatever it was about to do, it has not done.

use std::{
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::watch, task::AbortHandle, time::timeout};

use super::{
    ANSWER_WITHIN, FAREWELL_MAX, FREEZE_MAX, PROTOCOL,
    heir::{Successor, Telling},
    link::{Link, Listener, Process, unexpected},
    message::{Listening, Message, Packet},
};
use crate::{
    data_dir::DataDir,
    gateway::{State, server::Controls},
    metrics::UpgradeResult,
    sync::Rest,
};

/// How long a process that is to die may take to.
const DEAD_WITHIN: Duration = Duration::from_secs(10);
/// From its first word to its last before requests wait.
const PREPARED_WITHIN: Duration = Duration::from_secs(60);
/// How long ends of requests may take to be told before there is no way back.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Those that could be given away. Who stops accepting drops them too: the kernel closes a listener with its last owner.
pub(crate) type Listeners = Arc<Mutex<Vec<(Listening, TcpListener)>>>;

/// What a process gives away.
#[derive(Debug)]
pub(crate) struct Giver {
    pub(crate) state: Arc<State>,
    pub(crate) server: Arc<Controls>,
    pub(crate) data_dir: Arc<DataDir>,
    /// Of the client of the stream from control, where there is one.
    pub(crate) sync: Option<Arc<Rest>>,
    pub(crate) listeners: Listeners,
    /// What only one process may do at a time: it ends here when another has taken over.
    pub(crate) tasks: Vec<AbortHandle>,
    pub(crate) given: watch::Sender<Option<Arc<Successor>>>,
}

/// Why a new process did not take over.
#[derive(Debug, thiserror::Error)]
enum NotGiven {
    #[error("it ended, or said something else than was waited for: {0}")]
    Link(#[from] io::Error),
    #[error("it was told no: {0}")]
    Refused(&'static str),
    #[error("{0} took too long")]
    Late(&'static str),
    #[error("the keys that control has sent are not on disk")]
    NotOnDisk,
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
}

impl Giver {
    /// Serves processes that want to take over, until one has.
    pub(crate) async fn attend(self: Arc<Self>, listener: Listener) {
        loop {
            let (link, process) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!(error = %e, "a new process cannot be heard");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            match self.give(link, &process).await {
                Ok(()) => return,
                Err(why) => {
                    self.state.metrics.upgraded(UpgradeResult::Failed);
                    tracing::error!(
                        error = &why as &dyn std::error::Error,
                        process.id = process.pid,
                        "upgrade failed: this process goes on"
                    );
                }
            }
        }
    }

    async fn give(&self, link: Link, process: &Process) -> Result<(), NotGiven> {
        self.greet(&link).await?;
        // Before requests wait: the lease outlasts it.
        let rested = match &self.sync {
            Some(sync) => {
                timeout(ANSWER_WITHIN, sync.begin()).await.map_err(|_| NotGiven::Late("the end of the stream from control"))
            }
            None => Ok(true),
        };
        let given = match rested {
            Ok(true) => self.give_all(link, process).await,
            Ok(false) => Err(NotGiven::NotOnDisk),
            Err(late) => Err(late),
        };
        if given.is_err()
            && let Some(sync) = &self.sync
        {
            sync.end();
        }
        given
    }

    /// Hears who it is, and gives it the listeners.
    async fn greet(&self, link: &Link) -> Result<(), NotGiven> {
        let Message::Hello { protocol, version } = link.recv_within(ANSWER_WITHIN).await?.message else {
            return Err(NotGiven::Refused("its first word is not known"));
        };
        tracing::info!(version, "a new process wants to take over");
        let no = if protocol != PROTOCOL {
            Some("the running process speaks another version of the upgrade's protocol: restart it")
        } else if self.state.draining.load(Ordering::Acquire) {
            Some("the running process is stopping")
        } else {
            None
        };
        if let Some(why) = no {
            link.send(&Packet::of(Message::Refused { why: why.to_owned() })).await?;
            return Err(NotGiven::Refused(why));
        }
        let (mut listeners, mut descriptors) = (Vec::new(), Vec::new());
        for (what, listener) in &*self.listeners.lock() {
            listeners.push(*what);
            descriptors.push(OwnedFd::from(listener.try_clone()?));
        }
        let message = Message::Listeners { version: env!("CARGO_PKG_VERSION").to_owned(), listeners };
        link.send(&Packet { message, payload: Vec::new(), descriptors }).await?;
        match link.recv_within(PREPARED_WITHIN).await?.message {
            Message::Begin => Ok(()),
            other => Err(unexpected(&other).into()),
        }
    }

    async fn give_all(&self, link: Link, process: &Process) -> Result<(), NotGiven> {
        let (state, server) = (&self.state, &self.server);
        let successor = Successor::new(link);
        // New connections wait in the kernel. HTTP/2 clients hear that theirs end, and are served until they have.
        server.pause(true);
        server.close(true);
        state.baton.leave(FAREWELL_MAX).await;
        let frozen = Instant::now();
        state.baton.freeze();
        let given = timeout(FREEZE_MAX, self.hand_over(&successor)).await.unwrap_or(Err(NotGiven::Late("the new process")));
        let given = match given {
            Ok(()) => {
                timeout(TOLD_WITHIN, successor.go()).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())).map_err(NotGiven::from)
            }
            Err(why) => Err(why),
        };
        let frozen_us = u64::try_from(frozen.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let Err(why) = given {
            self.take_back(process).await;
            tracing::info!(frozen_us, "requests are decided here again");
            return Err(why);
        }
        tracing::info!(frozen_us, process.id = process.pid, "another process has taken over");
        self.go(successor);
        Ok(())
    }

    /// From the last decision here to the new process' word that it can serve.
    async fn hand_over(&self, successor: &Arc<Successor>) -> Result<(), NotGiven> {
        let ledger = &self.state.ledger;
        self.server.settle().await;
        ledger.hand_over(Box::new(Telling(successor.clone())));
        // An answer may have been about to end.
        self.server.settle().await;
        self.state.access_log.flush().await;
        let letting_go = ledger.clone();
        tokio::task::spawn_blocking(move || letting_go.let_go()).await.map_err(io::Error::other)??;
        let message = Message::Handed { lease_until_ms: self.state.snapshot.lease().until_ms() };
        let lock = Packet { message, payload: Vec::new(), descriptors: vec![self.data_dir.share()?] };
        successor.link().send(&lock).await?;
        match successor.link().recv().await?.message {
            Message::Ready => Ok(()),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Makes certain that the new process does nothing any more, and goes on.
    async fn take_back(&self, process: &Process) {
        let state = &self.state;
        while !process.kill(DEAD_WITHIN).await {
            // Two processes must not write the ledger, so that requests wait.
            tracing::error!(process.id = process.pid, "the new process cannot be ended");
        }
        if state.ledger.is_given() {
            while let Err(e) = state.ledger.take_back(|ticket, line| state.access_log.put(line, ticket)) {
                tracing::error!(error = &e as &dyn std::error::Error, "the ledger cannot be taken back");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        state.baton.reopen();
        self.server.close(false);
        self.server.pause(false);
    }

    /// There is no way back.
    fn go(&self, successor: Arc<Successor>) {
        tokio::spawn(successor.clone().pump());
        self.state.draining.store(true, Ordering::Release);
        self.server.abandon_listeners();
        self.listeners.lock().clear();
        self.state.baton.go(successor.clone());
        self.server.hang_up();
        self.data_dir.leave();
        for task in &self.tasks {
            task.abort();
        }
        self.given.send_replace(Some(successor));
    }
}
