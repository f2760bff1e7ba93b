//! What is known of the proxies, for people and metrics.

use std::time::Duration;

use clearway_config::ProxyId;

use super::{Hub, Refused, Revision};

/// The sync service at a moment, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub revision: Revision,
    pub connected: usize,
    /// Every proxy heard of lately.
    pub proxies: Vec<ProxyStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyStatus {
    pub id: ProxyId,
    /// Empty unless it is connected here.
    pub name: String,
    pub connected: bool,
    pub acknowledged: Revision,
    /// Revisions that it has not acknowledged yet.
    pub lag: u64,
    pub lease_left: Duration,
    /// It may serve without a lease.
    pub unbounded: bool,
    pub refused: Refused,
}

impl Hub {
    pub fn status(&self) -> Status {
        let now = self.inner.clock.now_ms();
        let state = self.inner.state();
        let mut proxies: Vec<_> = state
            .membership
            .iter()
            .map(|(id, member)| ProxyStatus {
                id: *id,
                name: member.session.and_then(|n| state.sessions.get(&n)).map(|s| s.name.clone()).unwrap_or_default(),
                connected: member.is_connected(),
                acknowledged: Revision(member.acked),
                lag: state.published.abs_diff(member.acked.min(state.published)),
                lease_left: Duration::from_millis(member.lease_left_ms(now)),
                unbounded: member.unbounded,
                refused: member.refused.clone(),
            })
            .collect();
        proxies.sort_unstable_by_key(|proxy| proxy.id);
        Status { revision: Revision(state.published), connected: state.sessions.len(), proxies }
    }
}
