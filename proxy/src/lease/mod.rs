//! Quotas of a fleet: parts of limits, leased from a store that all its nodes share.

pub mod store;
