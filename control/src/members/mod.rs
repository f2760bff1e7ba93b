//! Who belongs to an account, and as what.

mod role;
mod store;

pub use role::{Role, UnknownRole};
pub use store::{Membership, addresses, home, insert as join, of_person};
