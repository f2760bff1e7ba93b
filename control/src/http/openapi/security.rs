//! Who may call an operation, and what they show.

use clearway_config::{
    scope::{ADMIN, REGISTRY},
    session::SESSION_COOKIE,
};
use serde_json::{Map, Value, json};

const OAUTH: &str = "An access token of an application that was let act for an account; PKCE by S256 always.";
const SESSION: &str = "The token of a person who has signed in. What it allows is what their role in the account does. Without \
    `X-Clearway-Account` that is the account which the session was begun for; with it, that one of those where they are a member.";
const SESSION_IN_COOKIE: &str = "The same token, as browsers keep it. What changes something needs `X-CSRF-Token` beside it.";

/// Whom an operation is for.
pub(super) enum Callers {
    /// Keys with these scopes, and whoever else may stand in for one.
    Keys(Value),
    /// People who have signed in.
    People,
    /// People who sign in, or are about to.
    SigningIn,
    /// Everyone; they are counted by address.
    Anyone,
}

impl Callers {
    /// As the feature says: a key's scopes, or a session, or nothing.
    pub(super) fn of(path: &str, operation: &Map<String, Value>) -> Self {
        let said = |scheme: &str| operation.get("security").and_then(|security| security.pointer(&format!("/0/{scheme}")));
        match (said("key"), said("session")) {
            (Some(scopes), _) => Self::Keys(scopes.clone()),
            (None, Some(_)) => Self::People,
            (None, None) if path.starts_with("/api/v1/auth/") => Self::SigningIn,
            (None, None) => Self::Anyone,
        }
    }

    pub(super) fn requirement(&self, method: &str) -> Value {
        let cookie = if method == "get" { json!({ "session_cookie": [] }) } else { json!({ "session_cookie": [], "csrf": [] }) };
        match self {
            // No application is given that scope.
            Self::Keys(scopes) if scopes.as_array().is_some_and(|scopes| scopes.iter().any(|scope| scope == ADMIN)) => {
                json!([{ "key": scopes }, { "key_header": scopes }, { "session": [] }, cookie])
            }
            Self::Keys(scopes) => {
                json!([{ "key": scopes }, { "key_header": scopes }, { "oauth": scopes }, { "session": [] }, cookie])
            }
            Self::People => json!([{ "session": [] }, cookie]),
            Self::SigningIn | Self::Anyone => json!([]),
        }
    }
}

pub(super) fn schemes() -> Value {
    let given = REGISTRY.iter().filter(|scope| scope.name != ADMIN);
    let scopes: Map<String, Value> = given.map(|scope| (scope.name.to_owned(), scope.says.into())).collect();
    json!({
        "key": { "type": "http", "scheme": "bearer", "bearerFormat": "clw_live_… or clw_test_…", "description": "An API key." },
        "key_header": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key in another header." },
        "oauth": { "type": "oauth2", "description": OAUTH, "flows": {
            "authorizationCode": {
                "authorizationUrl": "/oauth/authorize", "tokenUrl": "/oauth/token", "refreshUrl": "/oauth/token", "scopes": scopes
            },
            "clientCredentials": { "tokenUrl": "/oauth/token", "scopes": scopes },
        } },
        "session": { "type": "http", "scheme": "bearer", "bearerFormat": "clws_…", "description": SESSION },
        "session_cookie": { "type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": SESSION_IN_COOKIE },
        "csrf": { "type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "The session's, beside its cookie." },
    })
}
