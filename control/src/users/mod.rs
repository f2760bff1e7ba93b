//! Users: people who sign in. So far there is the first admin, who is made with the platform's account.

mod admin_key;
mod bootstrap;
mod store;

pub use admin_key::another_admin_key;
pub use bootstrap::{BootstrapError, FirstAdmin, bootstrap};
pub use store::insert;
