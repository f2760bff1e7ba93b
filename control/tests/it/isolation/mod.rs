//! Every operation of the document, tried by whoever may not do it: by nobody, by another account, and in every role.
//!
//! The operations are read from the document, so that a new one is tried without anybody remembering it; one whose path leads
//! to a kind of object that [`objects`] does not make fails by its name.

mod bodies;
mod objects;
mod references;
mod roles;
mod rows;
mod strangers;
mod walk;
pub(crate) mod world;
