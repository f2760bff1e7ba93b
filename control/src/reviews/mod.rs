//! Reviews: what accounts that have an app say of it. One for an account and an app, never by the app's own developer, who
//! may reply. Who finds one out of place reports it, once; whoever runs the catalogue may hide it, and then it does not count.
//!
//! Every change of a rating keeps the counts of the catalogue in step, in the same transaction.

mod act;
mod http;
mod model;
mod store;

pub use act::{Opinion, ReviewError, change, hide, remove, reply, report, write};
pub use http::routes;
pub use model::Review;
pub use store::{by_author, forget_author, forget_texts};
