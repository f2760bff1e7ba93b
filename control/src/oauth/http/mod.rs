//! `/oauth` and what `/.well-known` says of it: the protocol's own endpoints, which answer in its words and in no envelope;
//! and `/api/v1/oauth`, where an account looks after its applications and after those that have access to it.

mod authorize;
mod clients;
mod config;
mod consent;
mod device;
mod forms;
mod grants;
mod metadata;
mod page;
mod pushed;
mod register;
mod registration_tokens;
mod sign_in;
mod tokens;
mod userinfo;

use axum::{
    Extension, Router,
    routing::{get, post},
};
use utoipa_axum::router::OpenApiRouter;

pub use config::{OauthConfigView, config_of};

use super::pace::Pace;
use crate::http::Api;

/// What the endpoints share besides [`Api`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Oauth {
    pub(super) pace: Pace,
}

/// The management API, below `/api/v1`.
pub fn routes() -> OpenApiRouter<Api> {
    clients::routes().merge(grants::routes()).merge(registration_tokens::routes())
}

/// The protocol. It is described by its metadata (RFC 8414), not by the API's document.
pub fn protocol() -> Router<Api> {
    Router::new()
        .route("/oauth/authorize", get(authorize::ask).post(authorize::decide))
        // Seed 001 has these two here as well.
        .route("/api/v1/marketplace/oauth/authorize", get(authorize::ask).post(authorize::decide))
        .route("/api/v1/marketplace/oauth/token", post(tokens::token))
        .route("/oauth/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route(sign_in::SCRIPT, get(sign_in::script))
        .route("/oauth/par", post(pushed::push))
        .route("/oauth/register", post(register::register))
        .route("/oauth/register/{id}", get(register::read_one).put(register::replace).delete(register::remove))
        .route("/oauth/device_authorization", post(device::begin))
        .route("/oauth/device", get(device::show).post(device::decide))
        .route("/oauth/token", post(tokens::token))
        .route("/oauth/revoke", post(tokens::revoke))
        .route("/oauth/introspect", post(tokens::introspect))
        .route("/oauth/jwks", get(metadata::jwks))
        .route("/oauth/userinfo", get(userinfo::userinfo).post(userinfo::userinfo))
        .route("/.well-known/oauth-authorization-server", get(metadata::read))
        .route("/.well-known/openid-configuration", get(metadata::read))
        .layer(Extension(Oauth::default()))
}

/// Who issues the tokens: where people find the gateway. Without a slash at its end, as it is compared letter by letter.
pub(super) fn issuer(api: &Api) -> String {
    issuer_of(&api.public_url)
}

pub(super) fn issuer_of(public_url: &str) -> String {
    public_url.trim_end_matches('/').to_owned()
}
