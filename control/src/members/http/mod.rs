//! `/members`: of the account that a person's session acts for, or that `X-Clearway-Account` names.

mod forms;
mod invitations;

use axum::extract::State;
use clearway_config::{UserId, envelope::Success};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::forms::{RoleForm, TransferForm};
use super::{
    Role, act,
    store::{self, Member},
};
use crate::{
    audit::Actor,
    auth::{confirm, themselves},
    http::{Answer, Answered, Api, Body, Id, List, PageParams, Paging, Person, Query, time::rfc3339},
    sync::{Propagation, Wait},
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(change_role, remove))
        .routes(routes!(transfer))
        .merge(invitations::routes())
}

/// A member of an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"user_id": "user_1QjvzY8L2d0ZB9oU4hXwVk", "email": "ann@example.com", "name": "Ann", "role": "developer",
    "joined_at": "2026-11-20T12:00:00.000Z"}))]
struct MemberView {
    user_id: String,
    email: String,
    name: String,
    role: Role,
    joined_at: String,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user_id.to_string(),
            email: member.email,
            name: member.name,
            role: member.role,
            joined_at: rfc3339(member.joined_at),
        }
    }
}

/// A member's new role.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MemberChanged, example = json!({"user_id": "user_1QjvzY8L2d0ZB9oU4hXwVk", "role": "admin"}))]
struct Changed {
    user_id: String,
    role: Role,
}

/// Somebody who is no member any more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MemberRemoved, example = json!({"user_id": "user_1QjvzY8L2d0ZB9oU4hXwVk", "role": null, "propagation": null}))]
struct Removed {
    user_id: String,
    /// Null: none.
    role: Option<Role>,
    /// How far the end of what they had let applications do here has come; null where there was nothing.
    propagation: Option<Propagation>,
}

/// List the members
///
/// Every member sees them.
#[utoipa::path(get, path = "/members", operation_id = "members_list", tag = "people", params(PageParams), security(("session" = [])),
    responses((status = 200, description = "A page of members", body = Success<List<MemberView>>)))]
async fn list(State(api): State<Api>, person: Person, Query(paging): Query<Paging<UserId>>) -> Answered {
    let page = store::list(&api.db, person.account_id, paging).await?;
    Answer::ok(&List::of(page.map(MemberView::from), None))
}

/// Change a member's role
///
/// For owners and admins; only owners make owners, and change them. An account is never without an owner.
#[utoipa::path(put, path = "/members/{id}", operation_id = "members_change_role", tag = "people", request_body = RoleForm,
    params(("id" = String, Path, description = "The person's id, `user_…`")), security(("session" = [])),
    responses((status = 200, description = "The member's role", body = Success<Changed>)))]
async fn change_role(State(api): State<Api>, person: Person, Id(id): Id<UserId>, Body(form, _): Body<RoleForm>) -> Answered {
    themselves(&person)?;
    let mut tx = api.db.begin().await?;
    act::change_role(&mut tx, &api.world, &Actor::from(&*person), person.account_id, id, form.role).await?;
    tx.commit().await?;
    Answer::ok(&Changed { user_id: id.to_string(), role: form.role })
}

/// Remove a member, or leave
///
/// For owners and admins, and for every member about themselves. Keys and all else that they have made stay the account's.
/// Applications that they have let act here end; answered once no proxy takes those any more, or refuses all requests.
#[utoipa::path(delete, path = "/members/{id}", operation_id = "members_remove", tag = "people",
    params(("id" = String, Path, description = "The person's id, `user_…`")), security(("session" = [])),
    responses((status = 200, description = "They are no member any more", body = Success<Removed>)))]
async fn remove(State(api): State<Api>, person: Person, Id(id): Id<UserId>) -> Answered {
    themselves(&person)?;
    let mut tx = api.db.begin().await?;
    let revision = act::remove(&mut tx, &api.world, &Actor::from(&*person), person.account_id, id).await?;
    tx.commit().await?;
    let propagation = match revision {
        Some(revision) => Some(api.hub.propagated(revision, Wait::Enforced).await),
        None => None,
    };
    Answer::ok(&Removed { user_id: id.to_string(), role: None, propagation })
}

/// Give the account to another member
///
/// For an owner, by their password. The other becomes an owner, and who gives it an admin.
#[utoipa::path(post, path = "/members/transfer", operation_id = "members_transfer", tag = "people", request_body = TransferForm,
    security(("session" = [])), responses((status = 200, description = "The new owner", body = Success<Changed>)))]
async fn transfer(State(api): State<Api>, person: Person, Body(form, _): Body<TransferForm>) -> Answered {
    confirm(&api, &person, form.password).await?;
    let mut tx = api.db.begin().await?;
    act::transfer(&mut tx, &api.world, &Actor::from(&*person), person.account_id, form.user_id).await?;
    tx.commit().await?;
    Answer::ok(&Changed { user_id: form.user_id.to_string(), role: Role::Owner })
}
