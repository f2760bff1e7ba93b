//! Connections that are open, as two guards: [`Counted`] is one of what a drain waits for, [`Held`] a connection's place
//! in all counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::gateway::{State, gate::Place};

/// Counts connections, and the accepting itself, so that a drain can wait for the last.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Open {
    pub(super) count: AtomicUsize,
    none: Notify,
}

impl Open {
    /// Whether the last connection has ended within `timeout`.
    pub(super) async fn wait(&self, timeout: Duration) -> bool {
        let ended = async {
            loop {
                let none = self.none.notified();
                if self.count.load(Ordering::Acquire) == 0 {
                    return;
                }
                none.await;
            }
        };
        tokio::time::timeout(timeout, ended).await.is_ok()
    }
}

/// One of what a drain waits for.
#[derive(Debug)]
pub(in crate::gateway) struct Counted(Arc<Open>);

impl Counted {
    pub(in crate::gateway) fn new(open: Arc<Open>) -> Self {
        open.count.fetch_add(1, Ordering::AcqRel);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

/// One connection's place in the counts.
#[derive(Debug)]
pub(in crate::gateway) struct Held {
    load: Arc<AtomicUsize>,
    state: Arc<State>,
    _counted: Counted,
    _place: Place,
}

impl Held {
    pub(super) fn new(counted: Counted, load: Arc<AtomicUsize>, state: Arc<State>, place: Place) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        state.metrics.connections.inc();
        Self { load, state, _counted: counted, _place: place }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
        self.load.fetch_sub(1, Ordering::Relaxed);
    }
}
