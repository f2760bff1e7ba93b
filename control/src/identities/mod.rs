//! Identities: who people are at sign-in providers ([`crate::providers`]), and signing in by that.
//!
//! What signs in is the pair of issuer and subject, which was linked before. An address never is: a provider that says the
//! address of somebody who has an account here gets no further than a refusal. Linked is what a person asks for who is
//! signed in and shows password and second factor, and what a new person came with.

mod act;
mod back;
mod http;
mod request;
mod store;
mod view;

pub use self::{
    back::is_page,
    http::{begin_by_form, routes},
    store::{forget, of_person, sweep},
    view::IdentityView,
};
