//! Signing in, and all that leads there: registering, proving an address, passwords that were forgotten.
//!
//! Nobody learns here whether an address is somebody's: answers, statuses and work are the same, and what differs is
//! mailed to the address. Guesses are counted before they are looked at, for a known device apart from strangers, so
//! that nobody can lock an owner out ([`attempts`]).

mod attempts;
mod confirm;
mod devices;
mod http;
mod letters;
mod link;
mod login;
mod once;
mod register;
mod reset;
mod store;
mod sweep;
mod ticket;
mod view;
mod visitor;

pub use self::{
    attempts::{count_begun, count_device_code, count_mail},
    confirm::{confirm, confirm_fully, themselves},
    http::{
        FormStep, NAME_CHARS_MAX, TICKET_COOKIE, code_by_form, email, held_for, no_ticket_cookie, passkey_by_form, password,
        routes, second_passkey_by_form, sign_in_by_form, sign_in_proved, ticket_cookie,
    },
    letters::Letters,
    once::Once,
    register::{open, weak},
    store::{NewToken, Purpose, devices, forget_person, forget_tokens, insert_token, take_token},
    sweep::sweep,
    view::{Done, MembershipView, UserView},
    visitor::Visitor,
};
