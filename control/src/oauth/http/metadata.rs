//! What a client has to know beforehand: metadata (RFC 8414) and keys (RFC 7517).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use clearway_config::scope::{ADMIN, CLEARWAY_SCOPES};
use http::header;
use serde_json::json;

use super::issuer;
use crate::{
    http::Api,
    oauth::{
        clients::{AuthMethod, GrantType},
        code::unsigned,
        refusal::Refusal,
        signing::{self, Signer},
    },
};

/// Both change seldom, and a new key is shown a day before it signs.
const CACHED: &str = "public, max-age=300";

pub(super) async fn read(State(api): State<Api>) -> Response {
    let issuer = issuer(&api);
    let at = |path: &str| format!("{issuer}/oauth/{path}");
    let secret = [AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost].map(AuthMethod::as_str);
    let document = json!({
        "issuer": issuer,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "revocation_endpoint": at("revoke"),
        "introspection_endpoint": at("introspect"),
        "jwks_uri": at("jwks"),
        "scopes_supported": CLEARWAY_SCOPES.iter().filter(|scope| **scope != ADMIN).collect::<Vec<_>>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": GrantType::ALL.map(GrantType::as_str),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": AuthMethod::ALL.map(AuthMethod::as_str),
        "revocation_endpoint_auth_methods_supported": AuthMethod::ALL.map(AuthMethod::as_str),
        "introspection_endpoint_auth_methods_supported": secret,
        "authorization_response_iss_parameter_supported": true,
    });
    ([(header::CACHE_CONTROL, CACHED)], Json(document)).into_response()
}

pub(super) async fn jwks(State(api): State<Api>) -> Result<Response, Refusal> {
    // Whoever asks before anything was signed is shown the key that will sign.
    Signer::current(&api).await.map_err(unsigned)?;
    let keys = signing::published(&api.db).await?;
    let headers = [(header::CACHE_CONTROL, CACHED), (header::CONTENT_TYPE, "application/jwk-set+json")];
    Ok((headers, keys.to_string()).into_response())
}
