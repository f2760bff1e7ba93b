//! Usage: what proxies admitted, a day, account and key. A proxy reports totals that only grow, each of one
//! ledger; the greatest is kept, so that a batch may come twice or late. The sum over ledgers is the truth.

mod http;
mod platform;
mod reached;
mod sink;
mod store;
#[cfg(test)]
mod tests;

pub use http::{aliases, routes};
pub use reached::sweep;
pub use sink::Sink;
