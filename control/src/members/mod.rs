//! Who belongs to an account, and as what: roles, members, and whom they invite.
//!
//! An account has at least one owner at any time.

mod act;
mod http;
mod invite;
mod role;
mod store;

pub use http::routes;
pub use invite::{take_of_address, welcome};
pub use role::{Role, UnknownRole};
pub use store::{
    Membership, addresses, counts, forget_person, home, insert as join, invitations_of, of_person, runs_platform, sweep,
};
