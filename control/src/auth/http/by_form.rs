//! Signing in on a page of ours, which sends forms and is answered by pages: the same acts as those of the JSON API.

use clearway_config::ErrorCode;
use http::HeaderValue;

use super::{
    cookies,
    forms::{email, factor_code, password},
};
use crate::{
    auth::{
        Once, Visitor, devices,
        login::{self, Step},
        ticket::{self, Shown},
    },
    db::Tx,
    factors::{Held, passkeys::Assertion},
    http::{Api, ApiError},
    users::User,
};

/// The cookie that brings a ticket from a provider to the page on which people sign in; gone once it has been read.
pub const TICKET_COOKIE: &str = "__Host-clearway_ticket";

/// What a sign-in by a page of ours has come to.
#[derive(Debug)]
pub enum FormStep {
    /// The cookies to set.
    SignedIn(Vec<HeaderValue>),
    /// A second factor is asked for, and comes with this ticket.
    Waits(Once),
}

/// Signs in by address and password.
pub async fn sign_in_by_form(api: &Api, visitor: &Visitor, address: &str, secret: &str) -> Result<FormStep, ApiError> {
    visitor.may_get_cookie()?;
    let refused = |_| ApiError::new(ErrorCode::CredentialsInvalid);
    let email = email(&address.into()).map_err(refused)?;
    let password = password(&secret.into()).map_err(refused)?;
    Ok(login::login(api, visitor, login::Attempt { email, password, device: None }).await?.into())
}

/// Signs in by what a passkey has answered: the cookies to set.
pub async fn passkey_by_form(api: &Api, visitor: &Visitor, answer: &str) -> Result<Vec<HeaderValue>, ApiError> {
    visitor.may_get_cookie()?;
    Ok(cookies(&login::by_passkey(api, visitor, &assertion(answer)?, None).await?))
}

/// Signs in whom somebody else has proved it to be: a session, or the ticket for it where a second factor is asked for.
pub async fn sign_in_proved(tx: &mut Tx, api: &Api, visitor: &Visitor, user: User) -> Result<FormStep, ApiError> {
    let device = match &visitor.device {
        Some(device) => devices::owner(&mut *tx, &api.world, device).await?.filter(|owner| *owner == user.id).map(|_| device),
        None => None,
    };
    Ok(login::first(tx, api, visitor, user, device).await?.into())
}

/// The second step, by a code of the app or a recovery code: the cookies to set.
pub async fn code_by_form(api: &Api, visitor: &Visitor, ticket: &str, code: &str) -> Result<Vec<HeaderValue>, ApiError> {
    visitor.may_get_cookie()?;
    let code = factor_code(&code.into()).map_err(|_| wrong())?;
    redeem(api, visitor, ticket, Shown::Code(code)).await
}

/// The second step, by what a passkey has answered: the cookies to set.
pub async fn second_passkey_by_form(
    api: &Api,
    visitor: &Visitor,
    ticket: &str,
    answer: &str,
) -> Result<Vec<HeaderValue>, ApiError> {
    visitor.may_get_cookie()?;
    redeem(api, visitor, ticket, Shown::Passkey(assertion(answer)?)).await
}

async fn redeem(api: &Api, visitor: &Visitor, ticket: &str, shown: Shown) -> Result<Vec<HeaderValue>, ApiError> {
    let ticket = Once::parse(ticket).ok_or_else(|| ApiError::new(ErrorCode::OneTimeTokenInvalid))?;
    Ok(cookies(&ticket::redeem(api, visitor, &ticket, &shown, None).await?))
}

/// What the ticket's person can show; `None` where it is good no more.
pub async fn held_for(api: &Api, ticket: &str) -> Result<Option<Held>, ApiError> {
    match Once::parse(ticket) {
        Some(ticket) => ticket::held(api, &ticket).await,
        None => Ok(None),
    }
}

/// Takes a ticket along to the page on which people sign in.
pub fn ticket_cookie(ticket: &Once) -> HeaderValue {
    let life_s = ticket::GOOD_MS / 1_000;
    cookie(&format!("{TICKET_COOKIE}={}; Path=/; Max-Age={life_s}; Secure; HttpOnly; SameSite=Lax", ticket.reveal()))
}

/// In the place of [`ticket_cookie`], once it has been read.
pub fn no_ticket_cookie() -> HeaderValue {
    cookie(&format!("{TICKET_COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"))
}

fn cookie(text: &str) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("a token is ASCII");
    value.set_sensitive(true);
    value
}

impl From<Step> for FormStep {
    fn from(step: Step) -> Self {
        match step {
            Step::SignedIn(signed_in) => Self::SignedIn(cookies(&signed_in)),
            Step::Waits(ticket) => Self::Waits(ticket.token),
        }
    }
}

fn assertion(text: &str) -> Result<Assertion, ApiError> {
    let value = serde_json::from_str(text).map_err(|_| wrong())?;
    Assertion::read(&value).map_err(|_| wrong())
}

fn wrong() -> ApiError {
    ApiError::new(ErrorCode::SecondFactorInvalid)
}
