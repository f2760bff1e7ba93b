//! The list of proxies, for operators, and forgetting those that left. The table is written by [`crate::sync`].

mod forget;
mod http;
mod store;

pub use forget::sweep;
pub use http::routes;
