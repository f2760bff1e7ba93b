//! The list of proxies, for operators. The table is written by [`crate::sync`].

mod http;
mod store;

pub use http::routes;
