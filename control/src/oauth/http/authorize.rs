//! `/oauth/authorize`: the consent page, and what a person decides on it.

use std::fmt::Write as _;

use axum::{
    Extension,
    extract::{FromRequestParts, Request, State},
    response::Response,
};
use clearway_config::{AccountId, scope::REGISTRY};
use http::StatusCode;

use super::{
    Oauth, issuer,
    page::{Escaped, hidden, page, see_other, wrong},
};
use crate::{
    audit::Actor,
    db,
    http::{Api, ApiError, Browser, Context},
    members,
    oauth::{
        authorize::{self, Asked, Faulty},
        code::{self, Agreed},
        params::{Params, Unreadable},
        redirect,
        store::grants,
    },
};

/// Accounts that a person chooses among at most.
const ACCOUNTS_MAX: i64 = 100;
/// What a request is made of, and so what the page's form carries on.
const CARRIED: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
    "resource",
];

pub(super) async fn ask(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (mut parts, _) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let params = match Params::parse(query.as_bytes()) {
        Ok(params) => params,
        Err(why) => return unreadable(&why),
    };
    let asked = authorize::read(&api, &params, &issuer(&api)).await;
    let browser = Browser::from_request_parts(&mut parts, &api).await;
    let asked = match (asked, &browser) {
        (Ok(asked), _) => asked,
        // Whoever is sent to an application, with whatever news, has signed in here before (RFC 9700, 4.11.2): a link to us
        // alone does not lead elsewhere.
        (Err(Faulty::Back { .. }), Err(error)) => return sign_in(&query, error),
        (Err(faulty), _) => return told(&api, faulty),
    };
    if asked.silent {
        // Somebody is always asked.
        let word = if browser.is_ok() { "consent_required" } else { "login_required" };
        return back(&api, &asked, &[("error", word)]);
    }
    match browser {
        Ok(browser) => consent(&api, &params, &asked, &browser).await.unwrap_or_else(|error| failed(&error)),
        Err(error) => sign_in(&query, &error),
    }
}

pub(super) async fn decide(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (mut parts, body) = request.into_parts();
    let browser = Browser::from_request_parts(&mut parts, &api).await;
    let params = match Params::of_body(Request::from_parts(parts, body)).await {
        Ok(params) => params,
        Err(why) => return unreadable(&why),
    };
    let browser = match browser {
        Ok(browser) => browser,
        Err(error) if error.code().status() == 503 => return failed(&error),
        Err(_) => return wrong(StatusCode::FORBIDDEN, "You are signed in no more. Go back to the application, and begin anew."),
    };
    if !browser.sent(params.get("csrf_token").unwrap_or_default()) {
        return wrong(StatusCode::FORBIDDEN, "This was not sent from our page. Go back to the application, and begin anew.");
    }
    if browser.impersonator.is_some() {
        return wrong(StatusCode::FORBIDDEN, "Whoever acts as somebody else gives no application access in their name.");
    }
    let asked = match authorize::read(&api, &params, &issuer(&api)).await {
        Ok(asked) => asked,
        Err(faulty) => return told(&api, faulty),
    };
    match params.get("decision") {
        Some("allow") => allow(&api, &params, &asked, &browser).await.unwrap_or_else(|error| failed(&error)),
        // Whatever is not a clear yes is a no.
        _ => back(&api, &asked, &[("error", "access_denied")]),
    }
}

async fn allow(api: &Api, params: &Params, asked: &Asked, browser: &Browser) -> Result<Response, ApiError> {
    let account = match params.get("account_id") {
        Some(text) => text.parse::<AccountId>().map_err(|_| ApiError::not_found())?,
        None => browser.account_id,
    };
    let mut tx = api.db.begin().await?;
    let standing = grants::standing(&mut tx, account, Some(browser.user_id)).await?;
    let scopes = standing.and_then(|standing| standing.by_person(&asked.scopes));
    let Some(scopes) = scopes.filter(|given| asked.scopes.is_empty() || !given.is_empty()) else {
        return Ok(back(api, asked, &[("error", "access_denied"), ("error_description", "The person may not give that.")]));
    };
    let agreed = Agreed {
        client: &asked.client,
        account_id: account,
        scopes,
        redirect_uri: &asked.redirect_uri,
        code_challenge: &asked.code_challenge,
    };
    let code = code::agree(&mut tx, &api.world, &Actor::from(&**browser), agreed).await?;
    tx.commit().await?;
    Ok(back(api, asked, &[("code", code.reveal())]))
}

async fn consent(api: &Api, params: &Params, asked: &Asked, browser: &Browser) -> Result<Response, ApiError> {
    let memberships = members::of_person(&api.db, browser.user_id, ACCOUNTS_MAX).await?;
    let mut body = String::new();
    let text = "a String takes everything";
    writeln!(body, "<p><strong>{}</strong> asks for access to your account:</p>\n<ul>", Escaped(&asked.client.name)).expect(text);
    for scope in asked.scopes.iter() {
        let says = REGISTRY.iter().find(|known| known.name == scope.as_str()).map_or("", |known| known.says);
        writeln!(body, "<li>{} <small>{}</small></li>", Escaped(says), Escaped(scope.as_str())).expect(text);
    }
    writeln!(
        body,
        "</ul>\n<p><small>No more than your role in the account allows is given. Afterwards you go to {}.</small></p>",
        Escaped(&redirect::origin(&asked.redirect_uri))
    )
    .expect(text);
    body.push_str("<form method=\"post\" action=\"/oauth/authorize\" autocomplete=\"off\">\n");
    for name in CARRIED {
        if let Some(value) = params.get(name) {
            hidden(&mut body, name, value);
        }
    }
    hidden(&mut body, "csrf_token", &browser.csrf);
    body.push_str("<label for=\"account_id\">Account</label>\n<select name=\"account_id\" id=\"account_id\">\n");
    for membership in &memberships {
        let chosen = if membership.account_id == browser.account_id { " selected" } else { "" };
        let id = membership.account_id.to_string();
        writeln!(body, "<option value=\"{}\"{chosen}>{}</option>", Escaped(&id), Escaped(&membership.name)).expect(text);
    }
    body.push_str(
        "</select>\n<button name=\"decision\" value=\"allow\">Allow</button>\n\
         <button name=\"decision\" value=\"deny\">Deny</button>\n</form>\n",
    );
    let origin = redirect::origin(&asked.redirect_uri);
    Ok(page(StatusCode::OK, &format!("Allow {}?", asked.client.name), &body, Some(&origin)))
}

/// Back to the client, with its state and with who we are (RFC 9207).
fn back(api: &Api, asked: &Asked, more: &[(&str, &str)]) -> Response {
    answered(api, &asked.redirect_uri, asked.state.as_deref(), more)
}

fn answered(api: &Api, redirect_uri: &str, state: Option<&str>, more: &[(&str, &str)]) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(more);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    query.append_pair("iss", &issuer(api));
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    see_other(&format!("{redirect_uri}{joint}{}", query.finish()))
}

fn told(api: &Api, faulty: Faulty) -> Response {
    match faulty {
        Faulty::Page(says) => wrong(StatusCode::BAD_REQUEST, says),
        Faulty::Back { redirect_uri, state, word, says } => {
            answered(api, &redirect_uri, state.as_deref(), &[("error", word), ("error_description", says)])
        }
        Faulty::Store(error) => failed(&db_error(error)),
    }
}

fn db_error(error: db::Error) -> ApiError {
    error.into()
}

/// To the sign-in page, and from there back here.
fn sign_in(query: &str, error: &ApiError) -> Response {
    match error.code().status() {
        401 | 403 => {
            let here = format!("/oauth/authorize?{query}");
            let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", &here).finish();
            see_other(&format!("/oauth/sign-in?{query}"))
        }
        _ => failed(error),
    }
}

fn failed(error: &ApiError) -> Response {
    match error.code().status() {
        404 => wrong(StatusCode::NOT_FOUND, "There is no such account of yours."),
        503 => wrong(StatusCode::SERVICE_UNAVAILABLE, "Clearway cannot be used at the moment. Try again soon."),
        _ => {
            tracing::error!(error.code = error.code().as_str(), error.cause = ?error, "a page failed");
            wrong(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong on our side. Try again.")
        }
    }
}

pub(super) fn unreadable(why: &Unreadable) -> Response {
    wrong(StatusCode::BAD_REQUEST, &format!("The request cannot be read: {why}."))
}

pub(super) fn too_often(api: &Api, oauth: &Oauth, request: &Request) -> Option<Response> {
    let context = request.extensions().get::<Context>()?;
    let admitted = oauth.pace.admit(context.address, api.world.now_ms());
    (!admitted).then(|| wrong(StatusCode::TOO_MANY_REQUESTS, "Too many requests from your address. Wait a minute."))
}
