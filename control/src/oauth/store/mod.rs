//! Every statement on the tables of OAuth.

pub(super) mod clients;
pub(super) mod codes;
pub(super) mod grants;
pub(super) mod refresh;
pub(super) mod revocations;
pub(super) mod signing;
