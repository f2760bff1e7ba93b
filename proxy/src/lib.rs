//! Clearway's data plane: Pingora and IO around the decisions of `clearway_filters`.
//!
//! [`start::Proxy`] is the whole process as a value: it binds, serves, follows its files and its
//! control plane, and drains. Who may pass is decided in `gateway::decide` by three things: the
//! operator's routes, the [`snapshot`] of keys and the quota [`ledger`].

mod access_log;
mod acme;
mod admin;
pub mod args;
mod auth;
mod background;
mod cache;
pub mod data_dir;
pub mod descriptors;
pub mod egress;
mod follow;
mod gateway;
mod jwks;
pub mod lease;
pub mod ledger;
mod memory;
pub mod metrics;
mod routes;
pub mod snapshot;
pub mod spans;
pub mod start;
mod status;
pub mod sync;
pub mod tls;
pub mod upgrade;
mod upstreams;
mod vitals;
