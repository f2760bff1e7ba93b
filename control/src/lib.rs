//! Clearway's control plane: accounts, keys, plans, usage, and telling proxies of every change.

pub mod db;
pub mod sync;
