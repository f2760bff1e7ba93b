//! Users: people who sign in. The first is made with the platform's account; how others come is for `auth` and `members`.

mod admin_key;
mod bootstrap;
mod http;
mod model;
mod store;
mod suspend;

pub use admin_key::another_admin_key;
pub use bootstrap::{BootstrapError, FirstAdmin, bootstrap};
pub use http::routes;
pub use model::{NewUser, User};
pub use store::{erase, find, find_by_email, insert, lock, rename, replace_hash, set_email, set_password, totals};
