//! API keys. A key belongs to an account, carries scopes, limits of its own, an expiry and an address
//! list, and keeps its id for life. What a client sends is one of its *secrets*: one is current, older
//! ones may overlap it for a while after a rotation.
//!
//! A key may require that requests made with it are signed (RFC 9421): each of its secrets then has a signing
//! secret beside it, which is rotated, overlaps and ends with it.
//!
//! A key is active, expired or revoked; a revoked one stays revoked. Nothing but an explicit update
//! changes a key's expiry: no sequence of rotations lets any secret live longer than it would have.

mod credential_store;
mod directory;
mod expire;
mod feed;
mod http;
mod issue;
mod model;
mod revoke;
mod rotate;
mod signing;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod update;
mod view;

pub use directory::Directory;
pub use expire::tell_expired;
pub use feed::KeyFeed;
pub use http::routes;
pub use issue::{IssueError, Issued, issue};
pub use model::{Key, NewKey, Secret, Status};
pub use revoke::revoke;
pub use rotate::{RotateError, Rotated, rotate};
pub use signing::SigningSecret;
pub use store::{count_all, find_active_named, forget_addresses, lock};
pub use sweep::sweep;
pub use update::{KeyUpdate, LimitsUpdate, UpdateError, Updated, update};
