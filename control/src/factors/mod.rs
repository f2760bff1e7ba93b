//! The second factor: a code of an authenticator app, a passkey, or a recovery code for whoever has lost both. Whoever has
//! one is asked for it after the password, after the mailed link, and after a provider.

mod act;
mod http;
pub mod passkeys;
mod recovery;
mod store;
mod totp;

use self::act::{forget_codes_of_none, fresh_codes};
pub use self::{
    act::{Held, forget, is_on, state, verify},
    http::{CODE_CHARS_MAX, FactorView, routes},
};
