//! Who belongs to an account, and as what: roles, members, and whom they invite.
//!
//! An account has at least one owner at any time.

mod act;
mod http;
mod invite;
mod role;
mod store;

pub use http::routes;
pub use role::{Role, UnknownRole};
pub use store::{Membership, addresses, home, insert as join, of_person, sweep};
