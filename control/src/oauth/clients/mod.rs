//! Applications: what one is, and how its account registers, changes and deletes it. Secrets are shown once.

mod manage;
mod model;

pub(super) use self::{
    manage::{ClientError, create, delete, insert, rotate, update},
    model::{
        AuthMethod, CLIENTS_MAX, Client, ClientUpdate, GrantType, HOMEPAGE_CHARS_MAX, NAME_CHARS_MAX, NewClient, RegisteredBy,
        SECRET_OVERLAP_MAX_S,
    },
};
