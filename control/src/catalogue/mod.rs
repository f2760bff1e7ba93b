//! The catalogue: what everybody sees of the apps that are published, and how they find them. Nobody has to sign in.
//!
//! A listing is written when a version is published and is never a draft; how often an app is installed and how it is rated is
//! kept with it, so that every order has an index. Search is by the beginnings of words, in the name, the summary and the
//! rest, in this order: FTS5 on SQLite, `tsvector` on PostgreSQL, over words that were folded here. A search looks at
//! [`MATCHES_MAX`] apps at most.
//!
//! Who wrote an app, and its way here, is `apps`.

mod http;
mod listing;
mod store;

pub use crate::db::Wanted;
pub use http::{aliases, routes};
pub use listing::{Entry, Listing, Place, Sort, rank};
pub use store::{
    browse::{Filter, browse},
    days::{Day, note},
    find, installed, lock, put, rated,
    search::{MATCHES_MAX, search, suggest},
    set_featured, set_listed,
    trend::sweep,
};
