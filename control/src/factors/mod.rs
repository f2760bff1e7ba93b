//! The second factor: a code of an authenticator app, or a recovery code for whoever has lost it. Whoever has turned it on
//! is asked for it after the password, and after the mailed link.

mod act;
mod http;
mod recovery;
mod store;
mod totp;

pub use self::{
    act::{forget, is_on, state, verify},
    http::{CODE_CHARS_MAX, routes},
};
