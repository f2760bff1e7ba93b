//! A request's place at a target: counted while it is held, and told how the request went.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use clearway_config::settings::gateway::upstream::resilience::RETRIES_MAX;

use super::{breaker::Pass, target::Target};

/// Held from the choice of a target to the end of its answer. Dropping it untold says nothing about the
/// target: the client went away, or the attempt was never begun.
#[derive(Debug)]
pub(crate) struct Lease {
    target: Arc<Target>,
    /// Until the breaker has been told.
    pass: Option<Pass>,
}

/// How a request failed at a target, as the metrics say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection could be made.
    Connect,
    /// The connection was closed or spoke nonsense.
    Broken,
    Timeout,
    /// There was no file descriptor for a connection: no fault of the target's.
    NoDescriptors,
}

impl Failure {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::NoDescriptors => "no_descriptors",
        }
    }
}

impl Lease {
    pub(super) fn new(target: Arc<Target>, pass: Option<Pass>) -> Self {
        Self { target, pass }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The head of the final answer has come. The lease is held on to until its body has, too.
    pub(crate) fn answered(&mut self, status: u16) {
        self.target.pool.ended(&self.target, self.pass.take(), Some(status));
    }

    /// No answer has come, or it broke off.
    pub(crate) fn failed(&mut self, failure: Failure) {
        let pool = &self.target.pool;
        pool.metrics.upstream_failed(&pool.name, failure.label());
        if failure != Failure::NoDescriptors {
            pool.ended(&self.target, self.pass.take(), None);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Relaxed);
        if let Some((breaker, pass)) = self.target.pool.breaker.as_ref().zip(self.pass.take()) {
            breaker.given_up(pass);
        }
    }
}

/// The targets that one request has been tried at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tried {
    ids: [u32; RETRIES_MAX as usize + 1],
    len: usize,
}

impl Tried {
    /// How often it has been tried.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, lease: &Lease) {
        if let Some(place) = self.ids.get_mut(self.len) {
            *place = lease.target.id;
        }
        self.len += 1;
    }

    pub(super) fn contains(&self, target: &Target) -> bool {
        self.ids.contains(&target.id) && target.id != 0
    }
}
