//! How the process is: for `/metrics` and `/health/ready`.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::watch;

use crate::{admin::Vitals, gateway::State, snapshot::Mode};

#[derive(Debug)]
pub(crate) struct Health {
    state: Arc<State>,
    /// Whether the stream from control is open, where there is to be one.
    connected: Option<watch::Receiver<bool>>,
}

impl Health {
    pub(crate) fn new(state: Arc<State>, connected: Option<watch::Receiver<bool>>) -> Self {
        Self { state, connected }
    }

    /// Reads what is kept elsewhere into the gauges.
    fn observe(&self) {
        let state = &self.state;
        let observed = &state.metrics.observed;
        observed.ledger_slots.set(i64::from(state.ledger.subjects()));
        observed.ledger_in_flight.set(gauge(state.ledger.in_flight()));
        if let Ok(days) = state.ledger.spooled_days() {
            observed.ledger_spool_days.set(gauge(days.len()));
        }
        observed.snapshot_revision.set(i64::try_from(state.snapshot.revision()).unwrap_or(i64::MAX));
        observed.snapshot_keys.set(gauge(state.snapshot.credentials()));
        observed.sync_connected.set(i64::from(self.connected.as_ref().is_some_and(|connected| *connected.borrow())));
        observed.lease_remaining.set(state.snapshot.lease().left().as_secs_f64());
    }
}

impl Vitals for Health {
    fn metrics(&self) -> String {
        self.observe();
        self.state.metrics.render()
    }

    fn unready(&self) -> Option<&'static str> {
        if self.state.draining.load(Ordering::Acquire) {
            return Some("draining");
        }
        if !self.state.snapshot.is_ready() {
            return Some("keys and plans have not been received yet");
        }
        let lease = self.state.snapshot.lease();
        if lease.mode() == Mode::Strict && !lease.holds() {
            return Some("the auth lease has expired");
        }
        None
    }
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
