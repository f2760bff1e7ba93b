//! `/users/me`: for whoever is signed in, about themselves.

use axum::extract::State;
use clearway_config::envelope::Success;
use http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act,
    forms::{AddressForm, NameForm, PasswordForm, ProofForm},
    sessions_http,
};
use crate::{
    audit::Actor,
    auth::{Done, UserView},
    http::{Answer, Answered, Api, ApiError, Body, IfMatch, Person, tagged},
    users,
};

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(read, update))
        .routes(routes!(change_password))
        .routes(routes!(ask_email))
        .routes(routes!(take_email))
        .merge(sessions_http::routes())
}

/// Read who one is
///
/// And the account that the session acts for by default, with one's role there.
#[utoipa::path(get, path = "/users/me", operation_id = "profile_read", tag = "people", security(("session" = [])),
    responses((status = 200, description = "The person", body = Success<UserView>)))]
async fn read(State(api): State<Api>, person: Person) -> Answered {
    let user = users::find(&api.db, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    Ok(tagged(Answer::ok(&UserView::from(&user))?, user.version))
}

/// Change one's name
///
/// As other members of one's accounts see it.
#[utoipa::path(patch, path = "/users/me", operation_id = "profile_update", tag = "people", request_body = NameForm,
    params(("If-Match" = Option<String>, Header, description = "The `ETag` of the person that was read; another is refused")),
    security(("session" = [])), responses((status = 200, description = "The person as they are now", body = Success<UserView>)))]
async fn update(State(api): State<Api>, person: Person, seen: IfMatch, Body(form, _): Body<NameForm>) -> Answered {
    let user = act::rename(&api, &Actor::from(&*person), person.user_id, &form.name, seen.0).await?;
    Ok(tagged(Answer::ok(&UserView::from(&user))?, user.version))
}

/// Change one's password
///
/// Every other session ends, and the address is told.
#[utoipa::path(post, path = "/users/me/password", operation_id = "profile_change_password", tag = "people",
    request_body = PasswordForm, security(("session" = [])),
    responses((status = 200, description = "It is changed", body = Success<Done>)))]
async fn change_password(State(api): State<Api>, person: Person, Body(form, _): Body<PasswordForm>) -> Answered {
    act::change_password(&api, &person, form.current_password, form.password).await?;
    Answer::ok(&Done { status: "password_set" })
}

/// Ask for another address
///
/// A token is mailed to the new one, which is good once within an hour. Until then the old one stays.
#[utoipa::path(post, path = "/users/me/email", operation_id = "profile_ask_email", tag = "people", request_body = AddressForm,
    security(("session" = [])), responses((status = 202, description = "A mail is on its way", body = Success<Done>)))]
async fn ask_email(State(api): State<Api>, person: Person, Body(form, _): Body<AddressForm>) -> Answered {
    act::ask_email(&api, &person, &form.email, form.password).await?;
    Answer::with_status(StatusCode::ACCEPTED, &Done { status: "mailed" })
}

/// Confirm another address
///
/// By the token that was mailed to it. The old address is told.
#[utoipa::path(post, path = "/users/me/email/confirm", operation_id = "profile_take_email", tag = "people",
    request_body = ProofForm, security(("session" = [])),
    responses((status = 200, description = "The person as they are now", body = Success<UserView>)))]
async fn take_email(State(api): State<Api>, person: Person, Body(form, _): Body<ProofForm>) -> Answered {
    let user = act::take_email(&api, &person, &form.token).await?;
    Ok(tagged(Answer::ok(&UserView::from(&user))?, user.version))
}
