//! What OAuth's endpoints refuse with: the words of RFC 6749, 5.2 and its kin, never the API's envelope.

use axum::response::{IntoResponse, Response};
use clearway_filters::jwt::Nonce;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::{params::Unreadable, resource::UnknownTarget};
use crate::{
    db,
    http::{ApiError, chain, nonce_header},
};

/// An error's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    InvalidRequest,
    /// The client is not known, or did not prove that it is itself. With a challenge where it tried by `Authorization`.
    InvalidClient {
        basic: bool,
    },
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    /// One of those that browsers are sent back with, where a client asks by itself (RFC 9126, 2.3).
    Authorization(&'static str),
    /// RFC 8707, 2.
    InvalidTarget,
    /// What is shown as a bearer is none, or no more (RFC 6750, 3.1).
    InvalidToken,
    /// RFC 9449, 5.
    InvalidDpopProof,
    /// RFC 9449, 8: this one.
    UseDpopNonce(Nonce),
    /// RFC 7591, 3.2.2, as is the next.
    InvalidRedirectUri,
    InvalidClientMetadata,
    ServerError,
    TemporarilyUnavailable,
    /// Too often from one address.
    SlowDown,
}

impl Word {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Word::InvalidRequest => "invalid_request",
            Word::InvalidClient { .. } => "invalid_client",
            Word::InvalidGrant => "invalid_grant",
            Word::UnauthorizedClient => "unauthorized_client",
            Word::UnsupportedGrantType => "unsupported_grant_type",
            Word::InvalidScope => "invalid_scope",
            Word::Authorization(word) => word,
            Word::InvalidTarget => "invalid_target",
            Word::InvalidToken => "invalid_token",
            Word::InvalidDpopProof => "invalid_dpop_proof",
            Word::UseDpopNonce(_) => "use_dpop_nonce",
            Word::InvalidRedirectUri => "invalid_redirect_uri",
            Word::InvalidClientMetadata => "invalid_client_metadata",
            Word::ServerError => "server_error",
            Word::TemporarilyUnavailable | Word::SlowDown => "temporarily_unavailable",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Word::InvalidClient { .. } | Word::InvalidToken => StatusCode::UNAUTHORIZED,
            Word::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Word::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Word::SlowDown => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A refusal of an endpoint that answers in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) word: Word,
    /// For a developer; no quotes or backslashes (RFC 6749, 5.2).
    pub(super) says: String,
}

impl Refusal {
    pub(super) fn new(word: Word, says: impl Into<String>) -> Self {
        Self { word, says: says.into() }
    }

    /// The same of what is shown as a bearer.
    pub(super) fn invalid_token() -> Self {
        Self::new(Word::InvalidToken, "The token is missing, unknown, used up or expired.")
    }

    /// Whatever is wrong with a code or a refresh token, in the same words: which it is is nobody's business.
    pub(super) fn invalid_grant() -> Self {
        Self::new(Word::InvalidGrant, "The grant is unknown, used, expired or revoked, or another client's.")
    }
}

impl From<UnknownTarget> for Refusal {
    fn from(unknown: UnknownTarget) -> Self {
        Self::new(Word::InvalidTarget, unknown.to_string())
    }
}

impl From<db::Error> for Refusal {
    fn from(error: db::Error) -> Self {
        let word = match &error {
            db::Error::Unavailable(_) | db::Error::Retry => Word::TemporarilyUnavailable,
            _ => Word::ServerError,
        };
        tracing::error!(error.cause = chain(&error), "an oauth request failed");
        Self::new(word, "Try again.")
    }
}

impl From<Unreadable> for Refusal {
    fn from(why: Unreadable) -> Self {
        Self::new(Word::InvalidRequest, format!("{why}."))
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let unavailable = error.code().status() == 503;
        Self::new(if unavailable { Word::TemporarilyUnavailable } else { Word::ServerError }, "Try again.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.word.as_str(), "error_description": self.says });
        let mut response = (self.word.status(), axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self.word, Word::InvalidClient { basic: true }) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"clearway\", charset=\"UTF-8\""));
        }
        if self.word == Word::InvalidToken {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        if let Word::UseDpopNonce(nonce) = &self.word {
            headers.extend([nonce_header(nonce)]);
        }
        if matches!(self.word, Word::TemporarilyUnavailable | Word::SlowDown) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
