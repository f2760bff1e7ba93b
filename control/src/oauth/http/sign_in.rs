//! `/oauth/sign-in`: for a browser without a session that an application has sent here, or that comes with a device's code; and
//! for one that comes back from a provider, where that is not all. It leads back to where the browser came from, and to
//! nowhere else. By password and code it needs no script.

mod forms;

use axum::{
    Extension,
    extract::{FromRequestParts, Request, State},
    response::{IntoResponse, Response},
};
use clearway_config::ErrorCode;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{
    Oauth,
    authorize::{failed, is_anew, too_often, unreadable},
    page::{Escaped, page, see_other, wrong},
};
use crate::{
    auth::{
        FormStep, TICKET_COOKIE, Visitor, code_by_form, held_for, no_ticket_cookie, passkey_by_form, second_passkey_by_form,
        sign_in_by_form,
    },
    http::{Api, ApiError},
    identities,
    oauth::params::Params,
};

/// What has a browser show a passkey.
pub(super) const SCRIPT: &str = "/oauth/sign-in.js";

/// The page's script. Browsers ask whether it is still the same: it belongs to the page.
pub(super) async fn script() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, include_str!("sign_in/passkey.js"))
}

pub(super) async fn show(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (mut parts, _) = request.into_parts();
    let Ok(visitor) = Visitor::from_request_parts(&mut parts, &api).await else { return unknown() };
    let params = match Params::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        Ok(params) => params,
        Err(why) => return unreadable(&why),
    };
    let Some(return_to) = return_to(&params) else { return lost() };
    if let Some(ticket) = visitor.cookie(TICKET_COOKIE) {
        // A provider has said who it is, and a second factor is asked for.
        let mut response = second(&api, StatusCode::OK, return_to, ticket, None).await;
        response.headers_mut().append(header::SET_COOKIE, no_ticket_cookie());
        return response;
    }
    let told = params.get("error").and_then(|word| ErrorCode::ALL.iter().find(|code| code.as_str() == word));
    forms::first(&api, StatusCode::OK, return_to, told.map(|code| code.meaning()))
}

pub(super) async fn sign_in(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (mut parts, body) = request.into_parts();
    let Ok(visitor) = Visitor::from_request_parts(&mut parts, &api).await else { return unknown() };
    let params = match Params::of_body(Request::from_parts(parts, body)).await {
        Ok(params) => params,
        Err(why) => return unreadable(&why),
    };
    let Some(return_to) = return_to(&params) else { return lost() };
    if let Some(name) = params.get("provider") {
        return match away(&api, &visitor, name, return_to).await {
            Ok(away) => away,
            Err(error) => refused(&api, return_to, None, &error).await,
        };
    }
    let ticket = params.get("ticket");
    match step(&api, &visitor, &params, ticket).await {
        Ok(FormStep::SignedIn(cookies)) => {
            let mut response = see_other(return_to);
            for cookie in cookies {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Ok(FormStep::Waits(ticket)) => second(&api, StatusCode::OK, return_to, ticket.reveal(), None).await,
        Err(error) => refused(&api, return_to, ticket, &error).await,
    }
}

/// The page once more. A ticket whose code or passkey was wrong is still good.
async fn refused(api: &Api, return_to: &str, ticket: Option<&str>, error: &ApiError) -> Response {
    let says = Some(error.code().meaning());
    let status = StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match ticket.filter(|_| error.code() == ErrorCode::SecondFactorInvalid) {
        Some(ticket) => second(api, status, return_to, ticket, says).await,
        None if status == StatusCode::INTERNAL_SERVER_ERROR => failed(error),
        None => forms::first(api, status, return_to, says),
    }
}

async fn step(api: &Api, visitor: &Visitor, params: &Params, ticket: Option<&str>) -> Result<FormStep, ApiError> {
    let said = |name: &str| params.get(name).unwrap_or_default();
    let cookies = match (ticket, params.get("passkey")) {
        (None, None) => return sign_in_by_form(api, visitor, said("email"), said("password")).await,
        (None, Some(answer)) => passkey_by_form(api, visitor, answer).await?,
        (Some(ticket), None) => code_by_form(api, visitor, ticket, said("code")).await?,
        (Some(ticket), Some(answer)) => second_passkey_by_form(api, visitor, ticket, answer).await?,
    };
    Ok(FormStep::SignedIn(cookies))
}

/// Asks for the second factor of whoever has the ticket.
async fn second(api: &Api, status: StatusCode, return_to: &str, ticket: &str, says: Option<&str>) -> Response {
    match held_for(api, ticket).await {
        Ok(Some(held)) => forms::second(api, status, return_to, (ticket, held), says),
        Ok(None) => forms::first(api, StatusCode::BAD_REQUEST, return_to, Some("That has taken too long. Begin anew.")),
        Err(error) => failed(&error),
    }
}

/// On to a provider. Not by a redirect: browsers hold one that follows a form to the form's page's policy, and with it
/// wherever the provider leads on to.
async fn away(api: &Api, visitor: &Visitor, name: &str, return_to: &str) -> Result<Response, ApiError> {
    let provider = api.providers.find(name).ok_or_else(ApiError::not_found)?;
    let anew = is_anew(api, return_to).await;
    let (url, cookie) = identities::begin_by_form(api, visitor, provider, return_to, anew).await?;
    let (url, title) = (url.as_str(), Escaped(&provider.title));
    let body = format!("<p><a href=\"{}\" rel=\"noreferrer\">Go on to {title}</a></p>\n", Escaped(url));
    let mut response = page(StatusCode::OK, "Sign in", &body, None);
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, cookie);
    if let Ok(at_once) = HeaderValue::try_from(format!("0;url={url}")) {
        headers.insert(HeaderName::from_static("refresh"), at_once);
    }
    Ok(response)
}

fn return_to(params: &Params) -> Option<&str> {
    params.get("return_to").filter(|to| identities::is_page(to))
}

fn lost() -> Response {
    wrong(StatusCode::BAD_REQUEST, "It is not known where to go afterwards. Go back to the application, and begin anew.")
}

fn unknown() -> Response {
    wrong(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong on our side. Try again.")
}
