//! Passkeys (Web Authentication, Level 3): keys in a person's authenticators, one for each site, that answer challenges. One
//! stands in for a code of the app; and since the authenticator has verified who uses it, it signs in without a password, too.
//!
//! A challenge is given out for one purpose and answered once, within five minutes. Where authenticators count what they
//! sign, a count that does not go up is of a copy: it is refused, and stands in the audit log.

mod act;
mod ceremony;
mod cose;
mod http;
mod options;
mod register;
mod store;

pub(super) use self::store::forget;
pub(crate) use self::store::{of_person, sweep};
pub use self::{
    act::{Asked, Assertion, ask, available, take_proof, verify},
    http::{PasskeyView, routes},
    options::RequestOptions,
};

/// Passkeys of one person.
pub(crate) const PASSKEYS_MAX: i64 = 20;
