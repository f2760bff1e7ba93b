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
    identity::{Identity, NONCE_CHARS_MAX},
    params::Params,
    pushed, redirect,
    resource::Resource,
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
    pub(super) wanted: Wanted,
    /// What names it, where it was pushed.
    pub(super) request_uri: Option<String>,
    pub(super) code_challenge: String,
    pub(super) resource: Resource,
    /// The thumbprint of the key that the code is to be bound to (RFC 9449, 10).
    pub(super) jkt: Option<String>,
    /// For the ID token (OpenID Connect Core, 3.1.2.1), as are the following.
    pub(super) nonce: Option<String>,
    /// Nobody is to be asked: then nothing can be given.
    pub(super) silent: bool,
    /// The person is to sign in, although they have.
    pub(super) sign_in: bool,
    /// How long ago they may have signed in, in milliseconds.
    pub(super) max_age_ms: Option<i64>,
}

/// What is asked for by scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) scopes: Scopes,
    pub(super) identity: Identity,
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
    match params.get("request_uri") {
        None => of_client(client, params, issuer),
        Some(request_uri) => {
            let pushed = pushed::find(&api.db, id, request_uri, api.world.now_ms()).await?;
            let pushed = pushed.ok_or(Faulty::Page("The request has expired, or was decided on already."))?;
            let asked = of_client(client, &pushed, issuer)?;
            Ok(Asked { request_uri: Some(request_uri.to_owned()), ..asked })
        }
    }
}

/// Reads a request of a client that is known.
pub(super) fn of_client(client: Client, params: &Params, issuer: &str) -> Result<Asked, Faulty> {
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
    check(&client, params).map_err(|(word, says)| back(word, says))?;
    let resource = Resource::read(issuer, params.get("resource"));
    let resource = resource.map_err(|_| back("invalid_target", "The resource must be the issuer, or a path below it."))?;
    let wanted = wanted(&client, params.get("scope")).map_err(|says| back("invalid_scope", says))?;
    let invalid = |says| back("invalid_request", says);
    let prompts: Vec<&str> = params.get("prompt").map(|prompt| prompt.split(' ').collect()).unwrap_or_default();
    let (silent, sign_in) = (prompts.contains(&"none"), prompts.contains(&"login"));
    if silent && prompts.len() > 1 {
        return Err(invalid("prompt is none, and something else."));
    }
    let max_age = params.get("max_age").map(str::parse::<u32>).transpose();
    let max_age = max_age.map_err(|_| invalid("max_age must be a number of seconds."))?;
    let max_age_ms = max_age.map(|seconds| i64::from(seconds) * 1_000);
    let nonce = params.get("nonce").map(str::to_owned);
    if nonce.as_ref().is_some_and(|nonce| nonce.chars().count() > NONCE_CHARS_MAX) {
        return Err(invalid("The nonce is too long."));
    }
    let jkt = params.get("dpop_jkt").map(str::to_owned);
    // A SHA-256 in base64url, as a challenge is.
    if jkt.as_deref().is_some_and(|jkt| !is_challenge(jkt)) {
        return Err(invalid("dpop_jkt must be 43 characters of base64url."));
    }
    let code_challenge = params.get("code_challenge").unwrap_or_default().to_owned();
    let resource = resource.unwrap_or_default();
    Ok(Asked {
        client,
        redirect_uri,
        state,
        wanted,
        request_uri: None,
        code_challenge,
        resource,
        jkt,
        nonce,
        silent,
        sign_in,
        max_age_ms,
    })
}

fn check(client: &Client, params: &Params) -> Result<(), (&'static str, &'static str)> {
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
    Ok(())
}

/// What is asked for, or all that the client may ask for where nothing is said.
pub(super) fn wanted(client: &Client, asked: Option<&str>) -> Result<Wanted, &'static str> {
    let (identity, words) = Identity::take(asked.unwrap_or_default().split(' ').filter(|word| !word.is_empty()));
    if words.len() > SCOPES_MAX {
        return Err("Too many scopes.");
    }
    if !identity.is_none() && !identity.openid {
        return Err("profile and email go with openid.");
    }
    let scopes: Result<Scopes, _> = words.into_iter().map(str::parse::<Scope>).collect();
    let scopes = scopes.map_err(|_| "A scope is malformed.")?;
    if scopes.is_empty() && identity.is_none() {
        return Ok(Wanted { scopes: client.scopes.clone(), identity });
    }
    if scopes.iter().any(|scope| scope.as_str() == ADMIN || !client.scopes.contains(scope.as_str())) {
        return Err("The client is not registered for a scope that it asks for.");
    }
    Ok(Wanted { scopes, identity })
}
