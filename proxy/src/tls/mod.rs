//! TLS towards clients: which certificate they are shown, which they must show, and the handshake.
//!
//! Pingora's listeners are not used (connections are accepted by `gateway::server`), and its rustls
//! backend could neither choose a certificate by name nor say who the client is. What comes out of here
//! is a stream and the facts of its handshake; what is said over it is the gateway's business.

pub mod acceptor;
pub mod certificate;
pub mod certificates;
pub mod client;
mod config;
pub mod files;
mod opened;
pub(crate) mod self_signed;
#[cfg(test)]
pub(crate) mod testing;
mod told;

pub(crate) use opened::Tls;
