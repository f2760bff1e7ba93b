//! An authorization request: what is wrong with it, and to whom that may be told.
//!
//! Until the client is known and the redirect is one of its own, nobody is sent anywhere (RFC 6749, 4.1.2.1; RFC 9700, 4.11).

use clearway_config::{
    ClientId, Scope, Scopes,
    scope::{ADMIN, SCOPES_MAX},
};

use super::{
    clients::{Client, GrantType},
    code::is_challenge,
    params::Params,
    redirect,
    store::clients as store,
};
use crate::{db, http::Api};

/// Characters of a state at most.
const STATE_CHARS_MAX: usize = 1_024;

/// A request that a person can be asked about.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) client: Client,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) scopes: Scopes,
    pub(super) code_challenge: String,
    /// Nobody is to be asked: then nothing can be given.
    pub(super) silent: bool,
}

/// Why it cannot.
#[derive(Debug)]
pub(super) enum Faulty {
    /// Told to the person, on a page.
    Page(&'static str),
    /// Told to the client.
    Back {
        redirect_uri: String,
        state: Option<String>,
        word: &'static str,
        says: &'static str,
    },
    Store(db::Error),
}

impl From<db::Error> for Faulty {
    fn from(error: db::Error) -> Self {
        Faulty::Store(error)
    }
}

/// Reads a request. Everything in it is a stranger's.
pub(super) async fn read(api: &Api, params: &Params, issuer: &str) -> Result<Asked, Faulty> {
    let id = params.get("client_id").and_then(|id| id.parse::<ClientId>().ok());
    let id = id.ok_or(Faulty::Page("The link names no application."))?;
    let client = store::find(&api.db, None, id).await?.filter(|client| client.disabled_at.is_none());
    let client = client.ok_or(Faulty::Page("The application is not known, or has been switched off."))?;
    let redirect_uri = params.get("redirect_uri").ok_or(Faulty::Page("The link does not say where to go afterwards."))?;
    if !redirect::is_registered(&client.redirect_uris, redirect_uri) {
        return Err(Faulty::Page("The link leads to an address that the application has not registered."));
    }
    let redirect_uri = redirect_uri.to_owned();
    let too_long = params.get("state").is_some_and(|state| state.chars().count() > STATE_CHARS_MAX);
    let state = params.get("state").filter(|_| !too_long).map(str::to_owned);
    let back = |word, says| Faulty::Back { redirect_uri: redirect_uri.clone(), state: state.clone(), word, says };
    if too_long {
        return Err(back("invalid_request", "The state is too long."));
    }
    check(&client, params, issuer).map_err(|(word, says)| back(word, says))?;
    let scopes = scopes(&client, params.get("scope")).map_err(|says| back("invalid_scope", says))?;
    let code_challenge = params.get("code_challenge").unwrap_or_default().to_owned();
    let silent = params.get("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "none"));
    Ok(Asked { client, redirect_uri, state, scopes, code_challenge, silent })
}

fn check(client: &Client, params: &Params, issuer: &str) -> Result<(), (&'static str, &'static str)> {
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(("unsupported_response_type", "Only code is supported.")),
        None => return Err(("invalid_request", "response_type is missing.")),
    }
    if !client.may(GrantType::AuthorizationCode) {
        return Err(("unauthorized_client", "The client is not registered for authorization_code."));
    }
    if params.get("request").is_some() {
        return Err(("request_not_supported", "Request objects are not supported."));
    }
    if params.get("request_uri").is_some() {
        return Err(("request_uri_not_supported", "Request objects are not supported."));
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(("invalid_request", "response_mode must be query."));
    }
    // Without a method RFC 7636 means plain, which shows the verifier to whoever sees the request.
    if params.get("code_challenge_method") != Some("S256") {
        return Err(("invalid_request", "PKCE is required, with code_challenge_method=S256."));
    }
    if !params.get("code_challenge").is_some_and(is_challenge) {
        return Err(("invalid_request", "code_challenge must be 43 characters of base64url."));
    }
    if params.get("resource").is_some_and(|resource| resource != issuer) {
        return Err(("invalid_target", "The only resource is the issuer itself."));
    }
    Ok(())
}

/// What is asked for, or all that the client may ask for where nothing is said.
pub(super) fn scopes(client: &Client, asked: Option<&str>) -> Result<Scopes, &'static str> {
    let Some(asked) = asked else { return Ok(client.scopes.clone()) };
    let words: Vec<&str> = asked.split(' ').filter(|word| !word.is_empty()).collect();
    if words.len() > SCOPES_MAX {
        return Err("Too many scopes.");
    }
    let scopes: Result<Scopes, _> = words.into_iter().map(str::parse::<Scope>).collect();
    let scopes = scopes.map_err(|_| "A scope is malformed.")?;
    if scopes.is_empty() {
        return Ok(client.scopes.clone());
    }
    if scopes.iter().any(|scope| scope.as_str() == ADMIN || !client.scopes.contains(scope.as_str())) {
        return Err("The client is not registered for a scope that it asks for.");
    }
    Ok(scopes)
}
