//! A request that finds nothing left of what this node of a fleet was granted: the store is asked for more, the request
//! waits for that, for a bounded time, and is decided again.
//!
//! Nothing of a request's is kept while it waits but the request itself: what it is decided by may be other then.

use clearway_filters::Reject;
use tokio::time::Instant;

use super::State;
use crate::lease::{Obtained, TRIES_MAX, Wanted};

/// How long a request still waits, and how often it is decided again.
#[derive(Debug, Default)]
pub(super) struct Patience {
    deadline: Option<Instant>,
    tries: u32,
}

impl Patience {
    /// Asks for what is wanted. `Ok`: the request is to be decided again.
    pub(super) async fn ask(&mut self, state: &State, wanted: &Wanted) -> Result<(), Reject> {
        let nothing = || Reject::Quota(wanted.refused.clone());
        let leases = state.leases.as_ref().ok_or_else(nothing)?;
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + leases.wait());
        self.tries += 1;
        if self.tries > TRIES_MAX {
            // Others of its account were faster, every time.
            return Err(nothing());
        }
        match leases.obtain(wanted, deadline).await {
            Obtained::Again => Ok(()),
            Obtained::Nothing => Err(nothing()),
            Obtained::Unavailable => Err(Reject::QuotaStoreUnavailable),
        }
    }
}
