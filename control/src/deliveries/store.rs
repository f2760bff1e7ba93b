//! The dispatcher's statements: on `dispatch`, on `deliveries`, `attempts` and `webhook_health` in batches, and the reads
//! of `events` and `webhooks` that go with them. What people ask for is in [`super::log`].
//!
//! Lock order on PostgreSQL: `dispatch`, then rows of `webhook_health`, then deliveries. Whoever makes a delivery due holds
//! its webhook's row of `webhook_health` to the commit, so that a dispatcher that looks for the next due one sees it.

mod due;
mod health;
mod hold;
mod read;
mod sweep;
mod write;

pub(super) use self::{
    due::{claim, due_of, lock_health, look_again, note_due, settle_due},
    health::{note_failing, note_recovered, note_warned, owners, recovered_untold},
    hold::{keep_hold, leave_hold, release_claims, take_hold},
    read::{due, events_after, terms},
    sweep::{deliveries_over, events_over, remove_deliveries, remove_events, retentions, tidy_health},
    write::{cancel, insert, insert_attempts, promote, promote_heads, update},
};
