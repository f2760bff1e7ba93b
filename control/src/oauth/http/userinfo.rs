//! `/oauth/userinfo` (OpenID Connect Core, 5.3): who the person is that has signed in to an application.

use axum::{
    Extension, Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use clearway_config::UserId;
use clearway_filters::jwt;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Oauth, issuer};
use crate::{
    http::{Api, Context, nonce_header},
    oauth::{
        bearer, dpop,
        refusal::{Refusal, Word},
    },
    users,
};

/// Where it is, for tokens that are good for one path alone.
const PATH: &str = "/oauth/userinfo";

pub(super) async fn userinfo(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    request: Request,
) -> Result<Response, Refusal> {
    let now_ms = api.world.now_ms();
    let context = request.extensions().get::<Context>().ok_or_else(|| Refusal::new(Word::ServerError, "Try again."))?;
    if !oauth.pace.admit(context.address, now_ms) {
        return Err(Refusal::new(Word::SlowDown, "Too many requests from this address; wait a minute."));
    }
    let bound = shown_as("dpop", request.headers());
    let Some(token) = bound.or_else(|| presented(request.headers())) else {
        return Ok(challenged(StatusCode::UNAUTHORIZED, "Bearer"));
    };
    let held = bearer::live(&api.db, &issuer(&api), token, now_ms).await?.filter(|(access, _)| access.covers(PATH));
    let Some((access, _)) = held else {
        return Ok(challenged(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""));
    };
    if bound.is_some() || access.bound.is_some() {
        let key = match (bound, dpop::shown(request.headers())?) {
            (Some(_), Some(proof)) => dpop::proved_of(&api, proof, request.method().as_str(), PATH, token).await?,
            _ => Err(jwt::Refusal::Unproved),
        };
        if let Err(jwt::Refusal::Nonce(nonce)) = &key {
            let mut answer = challenged(StatusCode::UNAUTHORIZED, "DPoP error=\"use_dpop_nonce\", algs=\"ES256 EdDSA\"");
            answer.headers_mut().extend([nonce_header(nonce)]);
            return Ok(answer);
        }
        if key.ok().as_deref() != access.bound.as_deref() || access.bound.is_none() {
            return Ok(challenged(StatusCode::UNAUTHORIZED, "DPoP error=\"invalid_dpop_proof\", algs=\"ES256 EdDSA\""));
        }
    }
    let person = access.subject.parse::<UserId>().ok().filter(|_| access.identity.openid);
    let Some(person) = person else {
        return Ok(challenged(StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\", scope=\"openid\""));
    };
    let Some(user) = users::find(&api.db, person).await?.filter(|user| user.erased_at.is_none()) else {
        return Ok(challenged(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""));
    };
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, Json(access.identity.claims(&user))).into_response())
}

/// In the header, and nowhere else: addresses and forms are written down in too many places (RFC 6750, 2).
pub(super) fn presented(headers: &HeaderMap) -> Option<&str> {
    shown_as("bearer", headers)
}

fn shown_as<'h>(wanted: &str, headers: &'h HeaderMap) -> Option<&'h str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| token.trim())
}

fn challenged(status: StatusCode, challenge: &'static str) -> Response {
    let headers = [
        (header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers).into_response()
}
