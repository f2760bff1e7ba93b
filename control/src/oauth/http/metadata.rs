//! What a client has to know beforehand: metadata (RFC 8414, and OpenID Connect Discovery 1.0, which are one document here) and
//! keys (RFC 7517).

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use clearway_config::{
    scope::{ADMIN, CLEARWAY_SCOPES},
    settings::{gateway::Algorithm, process::ClientRegistration},
};
use clearway_filters::jwt::PROOF_ALGORITHMS;
use http::header;
use serde_json::json;

use super::issuer;
use crate::{
    http::Api,
    oauth::{
        assertion,
        clients::{AuthMethod, GrantType},
        code::unsigned,
        identity::Identity,
        refusal::Refusal,
        signing::{self, Signer},
    },
};

/// Both change seldom, and a new key is shown a day before it signs.
const CACHED: &str = "public, max-age=300";

pub(super) async fn read(State(api): State<Api>) -> Response {
    let issuer = issuer(&api);
    let at = |path: &str| format!("{issuer}/oauth/{path}");
    let proved = AuthMethod::ALL.map(AuthMethod::as_str).into_iter().filter(|method| *method != AuthMethod::None.as_str());
    let algorithms: Vec<&str> = assertion::ALGORITHMS.iter().map(|algorithm| algorithm.as_str()).collect();
    let identity = Identity::SCOPES.into_iter().map(|(word, _)| word);
    let scopes = identity.chain(CLEARWAY_SCOPES.iter().copied().filter(|scope| *scope != ADMIN));
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"),
        "pushed_authorization_request_endpoint": at("par"),
        "require_pushed_authorization_requests": false,
        "revocation_endpoint": at("revoke"),
        "introspection_endpoint": at("introspect"),
        "jwks_uri": at("jwks"),
        "userinfo_endpoint": at("userinfo"),
        "device_authorization_endpoint": at("device_authorization"),
        "scopes_supported": scopes.collect::<Vec<_>>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": GrantType::ALL.map(GrantType::as_str),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": AuthMethod::ALL.map(AuthMethod::as_str),
        "revocation_endpoint_auth_methods_supported": AuthMethod::ALL.map(AuthMethod::as_str),
        "introspection_endpoint_auth_methods_supported": proved.collect::<Vec<_>>(),
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "dpop_signing_alg_values_supported": PROOF_ALGORITHMS.map(Algorithm::as_str),
        "authorization_response_iss_parameter_supported": true,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "auth_time", "nonce", "at_hash", "name", "email", "email_verified"],
        "prompt_values_supported": ["none", "login", "consent"],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    if api.oauth.registration != ClientRegistration::Closed {
        document["registration_endpoint"] = at("register").into();
    }
    ([(header::CACHE_CONTROL, CACHED)], Json(document)).into_response()
}

pub(super) async fn jwks(State(api): State<Api>) -> Result<Response, Refusal> {
    // Whoever asks before anything was signed is shown the key that will sign.
    Signer::current(&api).await.map_err(unsigned)?;
    let keys = signing::published(&api.db).await?;
    let headers = [(header::CACHE_CONTROL, CACHED), (header::CONTENT_TYPE, "application/jwk-set+json")];
    Ok((headers, keys.to_string()).into_response())
}
