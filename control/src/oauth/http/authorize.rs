//! `/oauth/authorize`: the consent page, and what a person decides on it.

use std::fmt::Write as _;

use axum::{
    Extension,
    extract::{FromRequestParts, Request, State},
    response::Response,
};
use http::StatusCode;

use super::{
    Oauth, consent, issuer,
    page::{Escaped, hidden, page, see_other, wrong},
};
use crate::{
    audit::Actor,
    db::{self, Tx},
    http::{Api, ApiError, Browser, Context},
    oauth::{
        authorize::{self, Asked, Faulty},
        code::{self, Agreed},
        params::{Params, Unreadable},
        pushed, redirect,
    },
    sessions,
};

/// What a request is made of, and so what the page's form carries on.
const CARRIED: &[&str] = &[
    "response_type",
    "client_id",
    "request_uri",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
    "resource",
    "dpop_jkt",
    "nonce",
    "prompt",
    "max_age",
    SENT_AT,
];
/// In a request that has come back from signing in: when it was sent there, in milliseconds since 1970.
const SENT_AT: &str = "clearway_sent_at";
/// How long afterwards it may come back.
const SENT_MS_MAX: i64 = 10 * 60 * 1_000;

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
        (Err(Faulty::Back { .. }), Err(error)) => return sign_in(&api, &query, error),
        (Err(faulty), _) => return told(&api, faulty),
    };
    let browser = match browser {
        Ok(browser) => browser,
        Err(error) if asked.silent && error.code().status() < 500 => return back(&api, &asked, &[("error", "login_required")]),
        Err(error) => return sign_in(&api, &query, &error),
    };
    match signed_in(&api, &params, &asked, &browser).await {
        Ok(Some(_)) => {}
        Ok(None) if asked.silent => return back(&api, &asked, &[("error", "login_required")]),
        Ok(None) => return to_sign_in(&api, &query),
        Err(error) => return failed(&error.into()),
    }
    if asked.silent {
        // Somebody is always asked.
        return back(&api, &asked, &[("error", "consent_required")]);
    }
    consent(&api, &params, &asked, &browser).await.unwrap_or_else(|error| failed(&error))
}

/// When the person signed in; `None` where that is not recent enough for what is asked for (OpenID Connect Core, 3.1.2.1).
async fn signed_in(api: &Api, params: &Params, asked: &Asked, browser: &Browser) -> db::Result<Option<i64>> {
    let now_ms = api.world.now_ms();
    let sent =
        params.get(SENT_AT).and_then(|at| at.parse::<i64>().ok()).filter(|at| (now_ms - SENT_MS_MAX..=now_ms).contains(at));
    let earliest = match (asked.sign_in, asked.max_age_ms) {
        (false, None) => i64::MIN,
        // Whoever has signed in for this very request is not sent to it again, however long they then think about it.
        _ if sent.is_some() => sent.unwrap_or(i64::MAX),
        (true, _) => i64::MAX,
        (false, Some(max_age_ms)) => now_ms - max_age_ms,
    };
    let began_at = sessions::began_at(&api.db, browser.session_id).await?;
    Ok(began_at.filter(|began_at| *began_at >= earliest))
}

/// Whether what a person comes back to from signing in wants them to sign in anew, although they may have elsewhere.
pub(super) async fn is_anew(api: &Api, return_to: &str) -> bool {
    let Some(query) = return_to.strip_prefix("/oauth/authorize?") else { return false };
    let Ok(params) = Params::parse(query.as_bytes()) else { return false };
    let asked = authorize::read(api, &params, &issuer(api)).await;
    asked.is_ok_and(|asked| asked.sign_in || asked.max_age_ms.is_some())
}

pub(super) async fn decide(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (params, browser) = match from_our_page(&api, request).await {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    let asked = match authorize::read(&api, &params, &issuer(&api)).await {
        Ok(asked) => asked,
        Err(faulty) => return told(&api, faulty),
    };
    match params.get("decision") {
        Some("allow") => allow(&api, &params, &asked, &browser).await.unwrap_or_else(|error| failed(&error)),
        // Whatever is not a clear yes is a no.
        _ => deny(&api, &asked).await.unwrap_or_else(|error| failed(&error)),
    }
}

/// A form that somebody has sent from a page of ours, for themselves.
pub(super) async fn from_our_page(api: &Api, request: Request) -> Result<(Params, Browser), Response> {
    let (mut parts, body) = request.into_parts();
    let browser = Browser::from_request_parts(&mut parts, api).await;
    let params = Params::of_body(Request::from_parts(parts, body)).await.map_err(|why| unreadable(&why))?;
    let forbidden = |says| wrong(StatusCode::FORBIDDEN, says);
    let browser = browser.map_err(|error| match error.code().status() {
        503 => failed(&error),
        _ => forbidden("You are signed in no more. Go back to where you came from, and begin anew."),
    })?;
    if !browser.sent(params.get("csrf_token").unwrap_or_default()) {
        return Err(forbidden("This was not sent from our page. Go back to where you came from, and begin anew."));
    }
    if browser.impersonator.is_some() {
        return Err(forbidden("Whoever acts as somebody else gives no application access in their name."));
    }
    Ok((params, browser))
}

async fn deny(api: &Api, asked: &Asked) -> Result<Response, ApiError> {
    let mut tx = api.db.begin().await?;
    if !is_first(&mut tx, api, asked).await? {
        return Ok(decided());
    }
    tx.commit().await?;
    Ok(back(api, asked, &[("error", "access_denied")]))
}

/// Whether nobody has decided on the request before, as far as that is known of it.
async fn is_first(tx: &mut Tx, api: &Api, asked: &Asked) -> db::Result<bool> {
    match &asked.request_uri {
        Some(request_uri) => pushed::take(tx, request_uri, api.world.now_ms()).await,
        None => Ok(true),
    }
}

fn decided() -> Response {
    wrong(StatusCode::BAD_REQUEST, "The request was decided on already. Go back to the application, and begin anew.")
}

async fn allow(api: &Api, params: &Params, asked: &Asked, browser: &Browser) -> Result<Response, ApiError> {
    let Some(authenticated_at) = signed_in(api, params, asked, browser).await? else {
        return Ok(wrong(StatusCode::FORBIDDEN, "You have to sign in anew. Go back to the application, and begin anew."));
    };
    let mut tx = api.db.begin().await?;
    let given = consent::given(&mut tx, params, browser, asked.client.id, &asked.wanted).await?;
    let Some((account_id, scopes)) = given else {
        return Ok(back(api, asked, &[("error", "access_denied"), ("error_description", "The person may not give that.")]));
    };
    let agreed = Agreed {
        client: &asked.client,
        account_id,
        scopes,
        identity: asked.wanted.identity,
        redirect_uri: &asked.redirect_uri,
        code_challenge: &asked.code_challenge,
        resource: &asked.resource,
        nonce: asked.nonce.as_deref(),
        authenticated_at,
        jkt: asked.jkt.as_deref(),
    };
    if !is_first(&mut tx, api, asked).await? {
        return Ok(decided());
    }
    let code = code::agree(&mut tx, &api.world, &Actor::from(&**browser), agreed).await?;
    tx.commit().await?;
    Ok(back(api, asked, &[("code", code.reveal())]))
}

async fn consent(api: &Api, params: &Params, asked: &Asked, browser: &Browser) -> Result<Response, ApiError> {
    let origin = redirect::origin(&asked.redirect_uri);
    let mut body = String::new();
    consent::asks(&mut body, &asked.client, &asked.wanted);
    writeln!(
        body,
        "<p><small>No more than your role in the account allows is given. Afterwards you go to {}.</small></p>",
        Escaped(&origin)
    )
    .expect("a String takes everything");
    body.push_str("<form method=\"post\" action=\"/oauth/authorize\" autocomplete=\"off\">\n");
    // Of a pushed request nothing that stands beside its name is looked at.
    let carried = if asked.request_uri.is_some() { &["client_id", "request_uri", SENT_AT][..] } else { CARRIED };
    for name in carried {
        if let Some(value) = params.get(name) {
            hidden(&mut body, name, value);
        }
    }
    consent::decision(&mut body, api, browser).await?;
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

/// To the sign-in page, where that is what is missing.
fn sign_in(api: &Api, query: &str, error: &ApiError) -> Response {
    match error.code().status() {
        401 | 403 => to_sign_in(api, query),
        _ => failed(error),
    }
}

/// The same for a page of ours that is at a path.
pub(super) fn sign_in_at(path: &str, error: &ApiError) -> Response {
    match error.code().status() {
        401 | 403 => from_sign_in_to(path),
        _ => failed(error),
    }
}

/// To the sign-in page, and from there back here.
fn to_sign_in(api: &Api, query: &str) -> Response {
    let mut here = form_urlencoded::Serializer::new(String::new());
    here.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != SENT_AT));
    here.append_pair(SENT_AT, &api.world.now_ms().to_string());
    from_sign_in_to(&format!("/oauth/authorize?{}", here.finish()))
}

fn from_sign_in_to(path: &str) -> Response {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", path).finish();
    see_other(&format!("/oauth/sign-in?{query}"))
}

pub(super) fn failed(error: &ApiError) -> Response {
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
