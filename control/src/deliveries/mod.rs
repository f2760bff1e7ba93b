//! Deliveries: each event on its way to each webhook that wants it, attempt after attempt, until the receiver has taken it.
//!
//! One process at a time dispatches: it turns events into deliveries, hands attempts to the proxies and writes what became
//! of them, so that bounds and order hold exactly. Where several run on one database, another takes over when it stops or
//! is not seen for a while. Every write says that its writer is still the one (`store::keep_hold`).
//!
//! - [`board`] is its memory, [`lane`] that of one webhook, with its [`breaker`] and its [`pace`]: no IO, no clock.
//! - [`reader`] and [`writer`] are what it asks of the database and tells it, [`batch`] what one write holds, and [`apart`]
//!   what becomes of one that is refused.
//! - [`health`] warns of webhooks and disables them; [`redo`] is what people ask for, [`log`] what they read; [`sweep`]
//!   forgets.
//! - [`run`] goes round: read, hand over, settle, write.
//!
//! At least once, always: an event counts as fanned out only in the transaction that holds its deliveries, and a delivery
//! is finished only in the one that holds its attempt. What was in flight at a crash is attempted again.

mod apart;
mod batch;
mod board;
mod breaker;
mod health;
mod lane;
mod log;
mod model;
mod outlet;
mod pace;
mod reader;
mod redo;
mod run;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod vain;
mod writer;

use utoipa_axum::router::OpenApiRouter;

pub use model::State;
pub use outlet::{Answer, Answers, Outlet};
pub use redo::{Sample, Tried, try_out};
pub use run::{Dispatcher, Wakes};
pub use sweep::sweep_until;

use crate::{db::Db, events, http::Api};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().merge(log::routes()).merge(redo::routes())
}

/// What wakes the dispatcher within this process.
pub fn wakes(db: &Db) -> Wakes {
    Wakes { events: events::committed(db), due: db.listen(redo::DUE) }
}
