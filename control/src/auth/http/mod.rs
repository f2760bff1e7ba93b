//! `/auth`.

mod by_form;
mod forms;

use axum::extract::State;
use clearway_config::{ErrorCode, SessionToken, envelope::Success, session::SESSION_COOKIE};
use http::{HeaderValue, StatusCode, header};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::forms::{
    EmailForm, FactorForm, FollowForm, LoginForm, Nothing, PasskeyForm, RegisterForm, ResetForm, TicketForm, TokenForm,
};
pub use self::{
    by_form::{
        FormStep, TICKET_COOKIE, code_by_form, held_for, no_ticket_cookie, passkey_by_form, second_passkey_by_form,
        sign_in_by_form, sign_in_proved, ticket_cookie,
    },
    forms::{NAME_CHARS_MAX, email, password},
};
use super::{
    Once, Visitor,
    devices::{DEVICE_COOKIE, KNOWN_MS},
    link, login,
    login::{SignedIn, Step},
    register, reset,
    ticket::{self, Shown},
    view::{CurrentView, Done, MembershipView, RegisteredView, SessionGiven, SignInView},
};
use crate::{
    audit::{self, Actor, Changes, Event},
    factors::passkeys::RequestOptions,
    http::{Answer, Answered, Api, ApiError, Body, Person},
    members, sessions,
    sync::Wait,
    users,
};

/// Accounts that are told of a person.
const MEMBERSHIPS_MAX: i64 = 100;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(register_person))
        .routes(routes!(verify_email))
        .routes(routes!(resend))
        .routes(routes!(sign_in))
        .routes(routes!(second_step))
        .routes(routes!(ask_second_passkey))
        .routes(routes!(ask_passkey))
        .routes(routes!(by_passkey))
        .routes(routes!(ask_link))
        .routes(routes!(follow_link))
        .routes(routes!(ask_reset))
        .routes(routes!(set_password))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(current))
}

/// Register
///
/// A mail goes to the address, with a token for `/auth/verify-email`: only then there are a person and an account. The
/// answer is the same whether the address has an account already or not; if so, the mail says that. Where
/// `control.registration` is not `open` nobody can register.
#[utoipa::path(post, path = "/auth/register", operation_id = "auth_register", tag = "auth", request_body = RegisterForm,
    responses((status = 202, description = "A mail is on its way", body = Success<Done>)))]
async fn register_person(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<RegisterForm>) -> Answered {
    let RegisterForm { email, password, name } = form;
    register::register(&api, &visitor, register::Wish { email, password, name: name.unwrap_or_default() }).await?;
    mailed()
}

/// Prove an address
///
/// Makes the person and an account of their own, on the first plan on offer. It signs nobody in.
#[utoipa::path(post, path = "/auth/verify-email", operation_id = "auth_verify_email", tag = "auth", request_body = TokenForm,
    responses((status = 201, description = "The person", body = Success<RegisteredView>)))]
async fn verify_email(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<TokenForm>) -> Answered {
    let (id, revision) = register::verify(&api, &visitor, &form.token).await?;
    api.hub.propagated(revision, Wait::Briefly).await;
    let user = users::find(&api.db, id).await?.ok_or_else(ApiError::not_found)?;
    Answer::created(&RegisteredView { account_id: user.account_id, user: (&user).into() })
}

/// Have the mail sent again
///
/// To an address that has registered and is not proved yet.
#[utoipa::path(post, path = "/auth/verify-email/resend", operation_id = "auth_resend", tag = "auth", request_body = EmailForm,
    responses((status = 202, description = "If the address waits to be proved, a mail is on its way", body = Success<Done>)))]
async fn resend(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<EmailForm>) -> Answered {
    register::ask_again(&api, &visitor, &form.email).await?;
    mailed()
}

/// Sign in
///
/// Begins a session. After ten wrong passwords for an address within 15 minutes strangers are refused for it (429); devices
/// on which the person has signed in before are counted each for itself and go on, and `/auth/sign-in-link` is the way in
/// for others.
#[utoipa::path(post, path = "/auth/login", operation_id = "auth_login", tag = "auth", request_body = LoginForm,
    responses((status = 200, description = "The session", body = Success<SignInView>)))]
async fn sign_in(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<LoginForm>) -> Answered {
    let LoginForm { email, password, cookie, device_token } = form;
    let cookie = cookie.unwrap_or(false);
    if cookie {
        visitor.may_get_cookie()?;
    }
    step_answer(login::login(&api, &visitor, login::Attempt { email, password, device: device_token }).await?, cookie)
}

/// Show the second factor
///
/// For who was answered `second_factor_required`: the ticket, within five minutes, and a code of the app, a recovery code, or a passkey's answer
/// to what `/auth/second-factor/passkey` gives.
#[utoipa::path(post, path = "/auth/second-factor", operation_id = "auth_second_factor", tag = "auth", request_body = FactorForm,
    responses((status = 200, description = "The session", body = Success<SignInView>)))]
async fn second_step(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<FactorForm>) -> Answered {
    let cookie = form.cookie.unwrap_or(false);
    if cookie {
        visitor.may_get_cookie()?;
    }
    let shown = match form.passkey {
        Some(answer) => Shown::Passkey(answer),
        None => Shown::Code(form.code.unwrap_or_default()),
    };
    let signed_in = ticket::redeem(&api, &visitor, &form.ticket, &shown, form.device_token.as_ref()).await?;
    signed_in_answer(&signed_in, cookie)
}

/// Ask for a passkey as the second factor
///
/// For who was answered `second_factor_required`: what the browser is given, whose answer goes to `/auth/second-factor`.
#[utoipa::path(post, path = "/auth/second-factor/passkey", operation_id = "auth_ask_second_passkey", tag = "auth",
    request_body = TicketForm, responses((status = 200, description = "For the browser", body = Success<RequestOptions>)))]
async fn ask_second_passkey(State(api): State<Api>, Body(form, _): Body<TicketForm>) -> Answered {
    Ok(Answer::ok(&ticket::ask_passkey(&api, &form.ticket).await?)?.no_store())
}

/// Ask for a passkey to sign in by
///
/// What the browser is given, for whoever comes: the authenticator says whose it is. Its answer goes to
/// `/auth/passkey/confirm`, within five minutes.
#[utoipa::path(post, path = "/auth/passkey", operation_id = "auth_ask_passkey", tag = "auth",
    responses((status = 200, description = "For the browser", body = Success<RequestOptions>)))]
async fn ask_passkey(State(api): State<Api>, visitor: Visitor, Body(_nothing, _): Body<Nothing>) -> Answered {
    Ok(Answer::ok(&login::ask_passkey(&api, &visitor).await?)?.no_store())
}

/// Sign in by a passkey
///
/// Nothing else is asked for: the authenticator has verified who it is.
#[utoipa::path(post, path = "/auth/passkey/confirm", operation_id = "auth_by_passkey", tag = "auth", request_body = PasskeyForm,
    responses((status = 200, description = "The session", body = Success<SignInView>)))]
async fn by_passkey(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<PasskeyForm>) -> Answered {
    let cookie = form.cookie.unwrap_or(false);
    if cookie {
        visitor.may_get_cookie()?;
    }
    let signed_in = login::by_passkey(&api, &visitor, &form.passkey, form.device_token.as_ref()).await?;
    signed_in_answer(&signed_in, cookie)
}

/// Ask for a link to sign in by
///
/// It is mailed to the address, if that is somebody's, and is good once within 15 minutes.
#[utoipa::path(post, path = "/auth/sign-in-link", operation_id = "auth_ask_link", tag = "auth", request_body = EmailForm,
    responses((status = 202, description = "If the address is somebody's, a mail is on its way", body = Success<Done>)))]
async fn ask_link(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<EmailForm>) -> Answered {
    link::ask(&api, &visitor, &form.email).await?;
    mailed()
}

/// Sign in by a mailed link
///
/// The link works once, and for a short time. Where a second factor is asked for, the answer is a ticket for it.
#[utoipa::path(post, path = "/auth/sign-in-link/confirm", operation_id = "auth_follow_link", tag = "auth",
    request_body = FollowForm, responses((status = 200, description = "The session", body = Success<SignInView>)))]
async fn follow_link(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<FollowForm>) -> Answered {
    let cookie = form.cookie.unwrap_or(false);
    if cookie {
        visitor.may_get_cookie()?;
    }
    step_answer(link::follow(&api, &visitor, &form.token, form.device_token.as_ref()).await?, cookie)
}

/// Ask for a new password
///
/// A token is mailed to the address, if that is somebody's; it is good once within an hour.
#[utoipa::path(post, path = "/auth/reset-password", operation_id = "auth_ask_reset", tag = "auth", request_body = EmailForm,
    responses((status = 202, description = "If the address is somebody's, a mail is on its way", body = Success<Done>)))]
async fn ask_reset(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<EmailForm>) -> Answered {
    reset::ask(&api, &visitor, &form.email).await?;
    mailed()
}

/// Set a new password
///
/// Every session of the person ends, and every other mailed token with it. It signs nobody in.
#[utoipa::path(post, path = "/auth/reset-password/confirm", operation_id = "auth_reset_password", tag = "auth",
    request_body = ResetForm, responses((status = 200, description = "It is set", body = Success<Done>)))]
async fn set_password(State(api): State<Api>, visitor: Visitor, Body(form, _): Body<ResetForm>) -> Answered {
    reset::set(&api, &visitor, &form.token, form.password).await?;
    Answer::ok(&Done { status: "password_set" })
}

/// Refresh the session
///
/// Gives it a new token. The old one goes on working until the new one is first used, in case this answer is lost. The
/// session's end stays.
#[utoipa::path(post, path = "/auth/refresh", operation_id = "auth_refresh", tag = "auth", security(("session" = [])),
    responses((status = 200, description = "The new token", body = Success<SessionGiven>)))]
async fn refresh(State(api): State<Api>, person: Person, Body(_nothing, _): Body<Nothing>) -> Answered {
    let mut tx = api.db.begin().await?;
    let fresh = sessions::refresh(&mut tx, &api.world, person.session_id, &person.presented).await?;
    let fresh = fresh.ok_or_else(|| ApiError::new(ErrorCode::SessionExpired))?;
    tx.commit().await?;
    let by_cookie = person.csrf.is_some();
    let answer = Answer::ok(&SessionGiven::new(&fresh, by_cookie))?.no_store();
    Ok(if by_cookie { answer.header(header::SET_COOKIE, session_cookie(&fresh.token)) } else { answer })
}

/// Sign out
///
/// Ends the session that asks.
#[utoipa::path(post, path = "/auth/logout", operation_id = "auth_logout", tag = "auth", security(("session" = [])),
    responses((status = 200, description = "It has ended", body = Success<Done>)))]
async fn logout(State(api): State<Api>, person: Person, Body(_nothing, _): Body<Nothing>) -> Answered {
    let mut tx = api.db.begin().await?;
    let now_ms = api.world.now_ms();
    if sessions::end(&mut tx, person.user_id, person.session_id, now_ms).await? {
        let object_id = person.session_id.to_string();
        let event = Event {
            action: "session.ended",
            account_id: person.account_id,
            object_kind: "session",
            object_id: &object_id,
            changes: Changes::default().field("ended", false, true),
        };
        audit::record(&mut tx, &api.world, &Actor::from(&*person), event).await?;
    }
    tx.commit().await?;
    let gone = format!("{SESSION_COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
    let gone = HeaderValue::try_from(gone).expect("the words above are ASCII");
    Ok(Answer::ok(&Done { status: "signed_out" })?.header(header::SET_COOKIE, gone))
}

/// Read who is signed in
///
/// The person, the accounts where they are a member, and the CSRF token of a session that came in a cookie.
#[utoipa::path(get, path = "/auth/user", operation_id = "auth_user", tag = "auth", security(("session" = [])),
    responses((status = 200, description = "The person", body = Success<CurrentView>)))]
async fn current(State(api): State<Api>, person: Person) -> Answered {
    let user = users::find(&api.db, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    let memberships = members::of_person(&api.db, person.user_id, MEMBERSHIPS_MAX).await?;
    let view = CurrentView {
        user: (&user).into(),
        session_id: person.session_id.to_string(),
        account_id: person.account_id.to_string(),
        memberships: memberships.into_iter().map(MembershipView::from).collect(),
        csrf_token: person.csrf.as_ref().map(|token| token.to_string()),
        impersonator_id: person.impersonator.map(|id| id.to_string()),
    };
    Ok(Answer::ok(&view)?.no_store())
}

fn cookies(signed_in: &SignedIn) -> Vec<HeaderValue> {
    let session = session_cookie(&signed_in.begun.token);
    std::iter::once(session).chain(signed_in.device.as_ref().map(device_cookie)).collect()
}

fn mailed() -> Answered {
    Answer::with_status(StatusCode::ACCEPTED, &Done { status: "mailed" })
}

fn step_answer(step: Step, cookie: bool) -> Answered {
    match step {
        Step::SignedIn(signed_in) => signed_in_answer(&signed_in, cookie),
        Step::Waits(ticket) => Ok(Answer::ok(&SignInView::waits(&ticket))?.no_store()),
    }
}

fn signed_in_answer(signed_in: &SignedIn, cookie: bool) -> Answered {
    let mut answer = Answer::ok(&SignInView::signed_in(signed_in, cookie))?.no_store();
    if cookie {
        answer = answer.header(header::SET_COOKIE, session_cookie(&signed_in.begun.token));
        if let Some(device) = &signed_in.device {
            answer = answer.header(header::SET_COOKIE, device_cookie(device));
        }
    }
    Ok(answer)
}

fn device_cookie(device: &Once) -> HeaderValue {
    let life_s = KNOWN_MS / 1_000;
    let text = format!("{DEVICE_COOKIE}={}; Path=/; Max-Age={life_s}; Secure; HttpOnly; SameSite=Lax", device.reveal());
    HeaderValue::try_from(text).expect("a token is ASCII")
}

/// For as long as a session may last; the server ends it before.
fn session_cookie(token: &SessionToken) -> HeaderValue {
    let life_s = sessions::LIFE_MS / 1_000;
    let text = format!("{SESSION_COOKIE}={}; Path=/; Max-Age={life_s}; Secure; HttpOnly; SameSite=Lax", token.reveal());
    let mut value = HeaderValue::try_from(text).expect("a token is ASCII");
    value.set_sensitive(true);
    value
}
