//! The control plane as its clients see it: HTTP in, HTTP out, over the whole router, on both engines.
//!
//! One binary for all of it. The clock and the random source are the test's, so bodies are exact.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in the functions it calls too")]

use clearway_control::db;

#[path = "../../src/db/testing.rs"]
mod databases;

mod accounts;
mod admin_users;
mod app;
mod audit;
mod auth;
mod bodies;
mod callers;
mod certificates;
mod conventions;
mod deliveries;
mod described;
mod document;
mod events;
mod expanding;
mod factors;
mod generated;
mod idempotency;
mod identities;
mod isolation;
mod keys;
mod marketplace;
mod members;
mod migrate;
mod oauth;
mod passkeys;
mod portfolio;
mod privacy;
mod process;
mod profile;
mod routes;
mod schema;
mod signing;
mod statements;
mod stores;
mod surface;
mod usage;
mod webhooks;
