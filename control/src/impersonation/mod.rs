//! Acting as somebody else: whoever runs Clearway sees what a person sees, for a reason that is noted, for an hour at most.
//!
//! It is a session of the person's, with whose it really is written in it: every act is in the audit log under both. What
//! would outlast it, and what is the person's alone, cannot be done in it: keys, webhooks, apps, billing, members, password,
//! address, second factor. It ends at once where its admin is one no more.

mod act;
mod http;

pub use http::routes;
