//! Every statement on the tables of OAuth.

pub(super) mod clients;
pub(super) mod codes;
pub(super) mod devices;
pub(super) mod grants;
pub(super) mod proofs;
pub(super) mod refresh;
pub(super) mod registration;
pub(super) mod requests;
pub(super) mod revocations;
pub(super) mod signing;
