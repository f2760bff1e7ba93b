//! Events: what happened to an account's things, each written once, in the transaction of what it speaks of, and
//! numbered in commit order.
//!
//! Whoever does something calls [`emit()`] in its transaction; the fan-out to webhooks reads [`after`] a sequence and is
//! woken by [`committed`]. Which events there are is the [`catalogue`](Entry), with operators' own types beside it.
//! What an event became at which webhook is not known here.
//!
//! Operators' services emit by `POST /events`, and whoever wants to know what happened without being posted to reads
//! `GET /events`.

mod body;
mod catalogue;
mod checker;
mod draft;
mod emit;
mod feed;
mod http;
mod intake;
mod pattern;
mod store;
#[cfg(test)]
mod tests;
mod type_store;
mod types;
mod types_http;
mod view;

pub use body::written;
pub use catalogue::{
    Account, App, ENTRIES, Emission, Endpoint, Entry, EventData, Invoice, Key, Product, Subscription, Time, User, account, all,
    app, billing, find, key, product, quota, webhook,
};
pub use emit::{NewEvent, committed, emit, emit_all};
pub use http::{Events, routes};
pub use pattern::{MalformedPattern, Pattern};
pub use store::{Row, after, last};
pub use types::unmatched;
