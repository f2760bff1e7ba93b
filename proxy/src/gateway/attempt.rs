//! Attempts at an upstream: which target is asked, what is told of it afterwards, and whether there is
//! another. Both ways through the gateway go by this.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use clearway_config::{ErrorCode, settings::gateway::upstream::HashBy};
use http::{HeaderMap, Method};

use super::decide::Facts;
use crate::upstreams::{Again, Failure, Lease, NoTarget, PickFor, Target, Upstream, hash};

/// One request's tries.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pick: PickFor,
    lease: Option<Lease>,
    /// When all of them together have taken long enough.
    deadline: Option<Instant>,
    /// Why none could be begun.
    refused: Option<ErrorCode>,
    come_back_in: Option<Duration>,
    pub(super) target: Option<SocketAddr>,
    /// When the last one began.
    pub(super) began: Option<Instant>,
    /// How long the upstream took to the head of its answer.
    pub(super) took: Option<Duration>,
}

/// Whether a request of this method may be sent twice: that does no more than once (RFC 9110, 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

impl Attempts {
    /// For a request that has been decided, before the first.
    pub(super) fn prepare(&mut self, upstream: &Upstream, facts: &Facts, headers: &HeaderMap) {
        let Some(by) = upstream.hash_by() else { return };
        let known = match by {
            HashBy::Key => facts.key.map(|key| hash(key.as_bytes())),
            HashBy::Account => facts.account.map(|account| hash(account.as_bytes())),
            HashBy::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            HashBy::Address => None,
        };
        self.pick.hash = known.or_else(|| facts.address.map(of_address)).unwrap_or_default();
    }

    /// For another request of the same kind.
    pub(super) fn anew(&self) -> Self {
        Self { pick: PickFor { hash: self.pick.hash, ..PickFor::default() }, ..Self::default() }
    }

    /// Begins one. What the last one held is let go.
    pub(super) fn begin(&mut self, upstream: &Upstream, now: Instant) -> Result<&Target, ErrorCode> {
        self.lease = None;
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(*self.refused.insert(ErrorCode::UpstreamTimeout));
        }
        let lease = upstream.lease(&self.pick).map_err(|none| {
            let code = match none {
                NoTarget::Unresolved => ErrorCode::UpstreamUnreachable,
                NoTarget::Overloaded => ErrorCode::UpstreamOverloaded,
                NoTarget::CircuitOpen(wait) => {
                    self.come_back_in = Some(wait);
                    ErrorCode::UpstreamCircuitOpen
                }
            };
            *self.refused.insert(code)
        })?;
        if self.pick.tried.is_empty() {
            self.deadline = upstream.timeouts().total.map(|total| now + total);
        }
        self.pick.tried.push(&lease);
        self.target = Some(lease.target().address);
        self.began = Some(now);
        Ok(self.lease.insert(lease).target())
    }

    /// Why none could be begun, if that is so.
    pub(super) fn refused(&self) -> Option<ErrorCode> {
        self.refused
    }

    /// When to come back, in whole seconds, where more is known of it than of any failure.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        self.come_back_in.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// How many have been begun.
    pub(super) fn made(&self) -> usize {
        self.pick.tried.len()
    }

    /// When all attempts together have taken long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long this one waits for the head of an answer. Less than usual where another may follow it.
    pub(super) fn patience(&self, upstream: &Upstream, method: &Method) -> Duration {
        let (read, retries) = (upstream.timeouts().read, upstream.retries());
        let more = is_idempotent(method) && self.pick.tried.len() <= retries.attempts as usize;
        retries.per_try_timeout.filter(|_| more).map_or(read, |patience| patience.min(read))
    }

    /// The head of an answer has come.
    pub(super) fn answered(&mut self, status: u16) {
        self.took = self.began.map(|began| began.elapsed());
        if let Some(lease) = &mut self.lease {
            lease.answered(status);
        }
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        if let Some(lease) = &mut self.lease {
            lease.failed(failure);
        }
    }

    /// Whether another may be begun. Ask once, when everything else allows it: it takes from the budget.
    pub(super) fn may_go_on(&self, upstream: &Upstream, again: Again) -> bool {
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        !late && upstream.may_retry(&self.pick.tried, again)
    }

    /// Whether an idempotent request is better tried elsewhere than answered with this.
    pub(super) fn may_replace(&self, upstream: &Upstream, status: u16) -> bool {
        upstream.retries().statuses.contains(status) && self.may_go_on(upstream, Again::Elsewhere)
    }

    /// The request is over.
    pub(super) fn end(&mut self) {
        self.lease = None;
    }
}

fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}
