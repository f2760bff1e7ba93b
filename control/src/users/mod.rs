//! Users: people who sign in. So far there is the first admin, who is made with the platform's account.

mod bootstrap;
mod store;

pub use bootstrap::{BootstrapError, FirstAdmin, bootstrap};
