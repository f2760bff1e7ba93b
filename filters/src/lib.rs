//! The decisions of the request path, pure: what a request asks for, who it is from, whether it may
//! pass and what is left of its quota.
//!
//! Nothing here reads a clock, performs IO, waits, or knows the HTTP server around it: time, peer and
//! counters are arguments. In the order in which a request meets them: [`request`] reads it once
//! into one canonical view, [`route`] finds where it goes, [`policy`] does what the route asks for besides,
//! [`access`] checks who sends it, [`quota`] charges it, by parts that [`lease`] shares out among a fleet, [`split`] picks among a route's upstreams, [`headers`] says what
//! is not forwarded, [`ratelimit`] writes what is left. Whoever refuses does so with a [`Reject`]. What goes out instead
//! of coming in is signed by [`webhook`], and goes where [`address`] allows.

pub mod access;
pub mod address;
pub mod cache;
pub mod compression;
pub mod credential;
pub mod headers;
pub mod json;
pub mod jwt;
pub mod lease;
pub mod policy;
pub mod quota;
pub mod ratelimit;
pub mod reject;
pub mod request;
pub mod route;
pub mod signature;
pub mod split;
pub mod webhook;

pub use reject::Reject;
