//! Applications: what one is, and how its account registers, changes and deletes it. Secrets are shown once.

mod manage;
mod model;

pub(super) use self::{
    manage::{create, delete, rotate, update},
    model::{AuthMethod, Client, ClientUpdate, GrantType, NewClient, SECRET_OVERLAP_MAX_S},
};
