//! Installations: an app in an account, and what the account lets it do there. One at a time for an app and an account.
//!
//! What is granted is chosen by whoever installs: at least what the app cannot do without, at most what its live version asks
//! for, and never more than they may do themselves. Keys and webhooks that are the app's own are tied to its installation and
//! end with it, in the same transaction: see `ends`, which is also where OAuth's grants end.

mod act;
mod ends;
mod http;
mod model;
mod store;

pub use act::{InstallError, change, install, tie, uninstall};
pub use http::routes;
pub use model::{Installation, Tied};
pub use store::{find, is_installed};
