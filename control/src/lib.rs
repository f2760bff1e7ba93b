//! Clearway's control plane: accounts, keys, plans, usage, and telling proxies of every change.
//!
//! Vertical features (`accounts apps audit auth catalogue certificates events factors impersonation installations keys members
//! oauth plans portfolio privacy products profile proxies reviews routes sessions stores tickets usage users webhooks`) over thin
//! plumbing (`db egress http jobs mail passwords secrets sync`). Plumbing imports no feature; features use one another only
//! through what their `mod.rs` shows.

pub mod accounts;
pub mod api;
pub mod app;
pub mod apps;
pub mod audit;
pub mod auth;
pub mod catalogue;
pub mod certificates;
pub mod data_dir;
pub mod db;
pub mod deliveries;
pub mod egress;
pub mod events;
pub mod factors;
pub mod http;
pub mod identities;
pub mod impersonation;
pub mod installations;
pub mod jobs;
pub mod keys;
pub mod mail;
pub mod members;
pub mod metrics;
pub mod migrate;
pub mod oauth;
pub mod passwords;
pub mod plans;
pub mod portfolio;
pub mod privacy;
pub mod products;
pub mod profile;
pub mod providers;
pub mod proxies;
pub mod reviews;
pub mod routes;
pub mod secrets;
pub mod sessions;
pub mod stores;
pub mod sync;
pub mod tickets;
pub mod token;
pub mod usage;
pub mod users;
pub mod webhooks;
pub mod world;
