//! `/members/invitations`, and accepting one.

use axum::extract::State;
use clearway_config::{ErrorCode, InvitationId, envelope::Success, settings::process::Registration};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::forms::{AcceptForm, InviteForm, JoinForm};
use crate::{
    audit::Actor,
    auth::{UserView, Visitor, themselves, weak},
    http::{Answer, Answered, Api, ApiError, Body, Id, List, PageParams, Paging, Person, Query, time::rfc3339},
    members::{
        Role,
        invite::{self, Invitation},
        store,
    },
    sync::Wait,
    users,
};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(accept)).routes(routes!(join))
}

/// An invitation that waits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "inv_1QjvzY8L2d0ZB9oU4hXwVm", "email": "bob@example.com", "role": "developer",
    "invited_by": "user_1QjvzY8L2d0ZB9oU4hXwVk", "created_at": "2026-11-20T12:00:00.000Z", "expires_at": "2026-11-27T12:00:00.000Z"}))]
struct InvitationView {
    id: String,
    email: String,
    role: Role,
    /// The member who did.
    invited_by: String,
    created_at: String,
    expires_at: String,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.to_string(),
            email: invitation.email,
            role: invitation.role,
            invited_by: invitation.invited_by.to_string(),
            created_at: rfc3339(invitation.created_at),
            expires_at: rfc3339(invitation.expires_at),
        }
    }
}

/// Somebody who has joined an account.
#[derive(Debug, Serialize, ToSchema)]
struct JoinedView {
    user: UserView,
    /// The account that they have joined.
    account_id: String,
    role: Role,
}

/// List invitations
///
/// Those that wait, newest first.
#[utoipa::path(get, path = "/members/invitations", operation_id = "invitations_list", tag = "people", params(PageParams),
    security(("session" = [])), responses((status = 200, description = "A page of invitations", body = Success<List<InvitationView>>)))]
async fn list(State(api): State<Api>, person: Person, Query(paging): Query<Paging<InvitationId>>) -> Answered {
    let page = store::list_invitations(&api.db, person.account_id, paging, api.world.now_ms()).await?;
    Answer::ok(&List::of(page.map(InvitationView::from), None))
}

/// Invite somebody
///
/// For owners and admins. A mail goes to the address, good for 7 days; one that is invited already gets a new mail, and the
/// old one is no longer good.
#[utoipa::path(post, path = "/members/invitations", operation_id = "invitations_create", tag = "people", request_body = InviteForm,
    security(("session" = [])), responses((status = 201, description = "The invitation", body = Success<InvitationView>)))]
async fn create(State(api): State<Api>, person: Person, Body(form, _): Body<InviteForm>) -> Answered {
    themselves(&person)?;
    let invitation = invite::invite(&api, &person, form.email, form.role).await?;
    Answer::created(&InvitationView::from(invitation))
}

/// Take an invitation back
///
/// The link that was mailed does not work any more.
#[utoipa::path(delete, path = "/members/invitations/{id}", operation_id = "invitations_revoke", tag = "people",
    params(("id" = String, Path, description = "The invitation's id, `inv_…`")), security(("session" = [])),
    responses((status = 200, description = "It is no longer good", body = Success<Revoked>)))]
async fn revoke(State(api): State<Api>, person: Person, Id(id): Id<InvitationId>) -> Answered {
    themselves(&person)?;
    invite::revoke(&api, &person, id).await?;
    Answer::ok(&Revoked { id: id.to_string() })
}

/// An invitation that is gone.
#[derive(Debug, Serialize, ToSchema)]
struct Revoked {
    id: String,
}

/// Accept an invitation
///
/// For whoever is signed in with the address that it was mailed to.
#[utoipa::path(post, path = "/invitations/accept", operation_id = "invitations_accept", tag = "people", request_body = AcceptForm,
    security(("session" = [])), responses((status = 200, description = "They are a member now", body = Success<JoinedView>)))]
async fn accept(State(api): State<Api>, person: Person, Body(form, _): Body<AcceptForm>) -> Answered {
    themselves(&person)?;
    let mut tx = api.db.begin().await?;
    let invitation = invite::take(&mut tx, &api, &form.token).await?;
    let user = users::find(&mut tx, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    if user.email != invitation.email {
        // Dropping the transaction leaves the invitation to whom it is for.
        return Err(ApiError::new(ErrorCode::OneTimeTokenInvalid));
    }
    invite::join(&mut tx, &api, &Actor::from(&*person), &user, &invitation).await?;
    tx.commit().await?;
    Answer::ok(&joined(&user, &invitation))
}

/// Accept an invitation as somebody new
///
/// The mailed token proves the address. It makes a person with an account of their own, who is a member of the inviting
/// account too. Whoever has an account already signs in and accepts there.
#[utoipa::path(post, path = "/auth/accept-invitation", operation_id = "auth_accept_invitation", tag = "auth",
    request_body = JoinForm, responses((status = 201, description = "The person", body = Success<JoinedView>)))]
async fn join(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<JoinForm>) -> Answered {
    if api.registration == Registration::Closed {
        return Err(ApiError::new(ErrorCode::RegistrationClosed));
    }
    let JoinForm { token, password, name } = form;
    let name = name.unwrap_or_default();
    // Before the hash is made, which costs: whoever has no token gets no further.
    let waiting = store::invitation(&api.db, &token.hash(), api.world.now_ms()).await?;
    let waiting = waiting.ok_or_else(|| ApiError::new(ErrorCode::OneTimeTokenInvalid))?;
    weak(&password, &[&waiting.email, &name], "password")?;
    let hash = api.passwords.hash(password).await?;
    let mut tx = api.db.begin().await?;
    let invitation = invite::take(&mut tx, &api, &token).await?;
    let (user, revision) = invite::welcome(&mut tx, &api, &visitor, &invitation, &name, hash).await?;
    tx.commit().await?;
    api.hub.propagated(revision, Wait::Briefly).await;
    Answer::with_status(StatusCode::CREATED, &joined(&user, &invitation))
}

fn joined(user: &users::User, invitation: &Invitation) -> JoinedView {
    JoinedView { user: user.into(), account_id: invitation.account_id.to_string(), role: invitation.role }
}
