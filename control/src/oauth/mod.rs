//! The OAuth 2.0 authorization server: applications that people let act for their accounts, and what they are given for it.
//!
//! An application is a *client* of an account. Somebody agrees on the consent page, which makes a *grant*: one account,
//! one client, some scopes, one person. A code (RFC 6749, 4.1, with PKCE by S256 always) is changed for an access token,
//! a JWT signed by ES256 (RFC 9068), and a refresh token that is replaced whenever it is used. Everything that was issued
//! belongs to its grant, and ends with it: whoever shows a code or a refresh token a second time ends it too.
//!
//! What is deliberately absent: the implicit grant, passwords as a grant, PKCE by `plain`, redirects that match loosely,
//! and a way around the consent page. The protocol is written for RFC 9700; `docs/decisions/oauth-core.md` says why here.

mod assertion;
mod authorize;
mod bearer;
mod client_auth;
mod clients;
mod code;
mod device;
mod dpop;
mod feed;
mod grants;
mod http;
mod identity;
mod issue;
mod opaque;
mod pace;
mod params;
mod pushed;
mod redirect;
mod refresh;
mod refusal;
mod registration;
mod resource;
mod revoke;
mod signing;
mod store;
mod sweep;
mod token;

pub use self::{
    bearer::Bearers,
    feed::{IssuerFeed, RevocationFeed, announce},
    http::{Oauth, OauthConfigView, config_of, protocol, routes},
    revoke::{Ended, Held, begin_anew, end_held, end_of_person, hold},
    store::grants::{Given, given_by},
    sweep::sweep,
};

/// Seconds that an access token lasts unless its client says otherwise (seed 003, 8.2).
const ACCESS_LIFETIME: i64 = 3_600;
/// Seconds that one may last at most: as long a revocation is remembered.
const ACCESS_LIFETIME_MAX: i64 = 24 * 3_600;
/// Seconds that a refresh token lasts unless its client says otherwise (seed 003, 8.2).
const REFRESH_LIFETIME: i64 = 30 * 24 * 3_600;
/// Seconds that one may last at most.
const REFRESH_LIFETIME_MAX: i64 = 90 * 24 * 3_600;
/// How long a grant lasts, however often its tokens are refreshed: then the person is asked again.
const GRANT_LIFE_MS: i64 = 365 * 24 * 3_600 * 1_000;
/// How long a code can be used (RFC 6749, 4.1.2 asks for ten minutes at most).
const CODE_LIFE_MS: i64 = 60 * 1_000;
