//! What is known of the proxies, for people and metrics.

use std::time::Duration;

use clearway_config::ProxyId;

use super::{Hub, Revision};
use crate::sync::{Refused, Report, keeper, session::SILENCE_MAX};

/// The sync service at a moment, for people and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub revision: Revision,
    pub connected: usize,
    /// Every proxy heard of lately.
    pub proxies: Vec<ProxyStatus>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ProxyStatus {
    pub id: ProxyId,
    /// Whether it is attached to any control process.
    pub connected: bool,
    /// Whether it is attached to this one.
    pub here: bool,
    pub acknowledged: Revision,
    /// Revisions that it has not acknowledged yet.
    pub lag: u64,
    pub lease_left: Duration,
    /// It may serve without a lease.
    pub unbounded: bool,
    pub refused: Refused,
    /// Of one that is attached here.
    pub report: Option<Report>,
}

impl ProxyStatus {
    /// It refuses every request until it hears from control again.
    pub fn is_fenced(&self) -> bool {
        !self.unbounded && self.lease_left.is_zero()
    }
}

impl Hub {
    /// How long a proxy must not have been heard of, beyond its lease, to be forgotten: nobody may hold it then.
    pub fn forgettable_after(&self) -> Duration {
        Duration::from_millis(self.inner.terms.margin_ms + keeper::NOTED_MS) + SILENCE_MAX
    }

    /// What leases last.
    pub fn auth_lease(&self) -> Duration {
        Duration::from_millis(self.inner.terms.lease_ms)
    }

    /// Looks at the proxies in the database now: some may have been forgotten.
    pub async fn look_again(&self) {
        self.inner.recall_or_log().await;
    }

    pub fn status(&self) -> Status {
        let now = self.inner.clock.now_ms();
        let state = self.inner.state();
        let mut proxies: Vec<_> = state
            .membership
            .iter()
            .map(|(id, member)| ProxyStatus {
                id: *id,
                connected: member.is_connected(),
                here: member.session.is_some(),
                acknowledged: Revision(member.acked),
                lag: state.published.abs_diff(member.acked.min(state.published)),
                lease_left: Duration::from_millis(member.lease_left_ms(&self.inner.terms, now)),
                unbounded: member.unbounded,
                refused: member.refused.clone(),
                report: member.session.and_then(|n| state.sessions.get(&n)?.report.as_ref()).map(Report::of),
            })
            .collect();
        proxies.sort_unstable_by_key(|proxy| proxy.id);
        Status { revision: Revision(state.published), connected: state.sessions.len(), proxies }
    }
}
