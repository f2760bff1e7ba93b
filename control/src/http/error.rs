//! What the API refuses with: a code of [`ErrorCode`], words that may be shown, and a source that may not.

use std::{borrow::Cow, error::Error as StdError};

use axum::response::{IntoResponse, Response};
use clearway_config::{
    ErrorCode, Scope,
    envelope::{FieldIssue, Problem},
};
use clearway_filters::jwt::Nonce;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::db;

type Source = Box<dyn StdError + Send + Sync>;

#[derive(Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: Cow<'static, str>,
    details: Option<Box<serde_json::Value>>,
    /// Seconds, for `Retry-After`.
    retry_after: Option<u64>,
    /// The scope that a better key would have, for the challenge of a 403.
    scope: Option<Scope>,
    /// For the next proof (RFC 9449, 9).
    nonce: Option<Box<Nonce>>,
    source: Option<Source>,
}

/// Rides in the response's extensions to [`super::envelope`], which writes the body and the one line of the log.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) problem: Problem,
    /// The source and its sources; for the log only.
    pub(super) cause: Option<String>,
}

impl ApiError {
    /// With the code's own meaning as its words.
    pub fn new(code: ErrorCode) -> Self {
        Self::saying(code, code.meaning())
    }

    pub fn saying(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: None, retry_after: None, scope: None, nonce: None, source: None }
    }

    /// A body or a query that fails validation, every field at once.
    pub fn invalid(issues: &[FieldIssue]) -> Self {
        let message = match issues {
            [one] => format!("`{}`: {}", one.field, one.message),
            many => format!("{} fields are not as they must be.", many.len()),
        };
        Self::saying(ErrorCode::ValidationError, message).with_details(serde_json::json!(issues))
    }

    /// An object that is not there, and the same for one of another account, so that ids cannot be tried out.
    pub fn not_found() -> Self {
        Self::new(ErrorCode::NotFound)
    }

    pub fn scope_missing(scope: &Scope) -> Self {
        Self::lacking(scope, format!("The key lacks the scope {scope}."))
    }

    /// The same of a person whose role in the account does not have it.
    pub fn role_lacks(scope: &Scope) -> Self {
        Self::lacking(scope, format!("Your role in this account lacks the scope {scope}."))
    }

    /// The same of an application's access token.
    pub fn token_lacks(scope: &Scope) -> Self {
        Self::lacking(scope, format!("The access token lacks the scope {scope}."))
    }

    fn lacking(scope: &Scope, message: String) -> Self {
        let error = Self::saying(ErrorCode::ScopeMissing, message).with_details(serde_json::json!({ "scope": scope }));
        Self { scope: Some(scope.clone()), ..error }
    }

    pub fn internal(source: impl Into<Source>) -> Self {
        Self { source: Some(source.into()), ..Self::new(ErrorCode::InternalError) }
    }

    pub fn with_details(self, details: serde_json::Value) -> Self {
        Self { details: Some(Box::new(details)), ..self }
    }

    /// Says what the next proof must carry.
    pub fn with_nonce(self, nonce: Nonce) -> Self {
        Self { nonce: Some(nonce.into()), ..self }
    }

    /// Says when to try again.
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// `WWW-Authenticate` (RFC 6750), `DPoP-Nonce` and `Retry-After`.
    fn headers(&self) -> HeaderMap {
        use ErrorCode::{TokenNonceRequired, TokenProofInvalid, TokenProofMissing};
        let mut headers = HeaderMap::new();
        headers.extend(self.nonce.as_deref().map(nonce_header));
        let challenge = match (self.code.status(), &self.scope) {
            (401, _) if self.code == ErrorCode::KeyMissing => Some(String::new()),
            // Neither is asked for as a bearer.
            (401, _) if matches!(self.code, ErrorCode::CredentialsInvalid | ErrorCode::SecondFactorInvalid) => None,
            (401, _) if matches!(self.code, TokenProofMissing | TokenProofInvalid | TokenNonceRequired) => {
                headers.insert(header::WWW_AUTHENTICATE, by_proof(self.code));
                None
            }
            (401, _) => Some(", error=\"invalid_token\"".to_owned()),
            (_, Some(scope)) => Some(format!(", error=\"insufficient_scope\", scope=\"{scope}\"")),
            _ => None,
        };
        if let Some(why) = challenge {
            let challenge = HeaderValue::try_from(format!("Bearer realm=\"clearway\"{why}"));
            headers.insert(header::WWW_AUTHENTICATE, challenge.expect("a scope is ASCII"));
        }
        match self.retry_after {
            Some(seconds) => drop(headers.insert(header::RETRY_AFTER, seconds.into())),
            None if self.code.status() == 503 => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
            None => {}
        }
        headers
    }
}

/// RFC 9449, 8.1.
pub fn nonce_header(nonce: &Nonce) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(nonce.as_str()).expect("base64url stands in headers");
    (HeaderName::from_static("dpop-nonce"), value)
}

/// RFC 9449, 7.1 and 9.
fn by_proof(code: ErrorCode) -> HeaderValue {
    HeaderValue::from_static(match code {
        ErrorCode::TokenProofMissing => "DPoP realm=\"clearway\", error=\"invalid_token\", algs=\"ES256 EdDSA\"",
        ErrorCode::TokenNonceRequired => "DPoP realm=\"clearway\", error=\"use_dpop_nonce\", algs=\"ES256 EdDSA\"",
        _ => "DPoP realm=\"clearway\", error=\"invalid_dpop_proof\", algs=\"ES256 EdDSA\"",
    })
}

impl From<db::Error> for ApiError {
    fn from(error: db::Error) -> Self {
        let code = match &error {
            db::Error::Unavailable(_) | db::Error::Retry => ErrorCode::StoreUnavailable,
            db::Error::Conflict { .. } | db::Error::MissingReference | db::Error::Markers { .. } | db::Error::Other(_) => {
                ErrorCode::InternalError
            }
        };
        Self { source: Some(error.into()), ..Self::new(code) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).expect("a code's status is valid");
        let headers = self.headers();
        let details = self.details.map(|details| *details).unwrap_or_default();
        let problem = Problem { kind: self.code.as_str().into(), message: self.message.into(), details };
        let cause = self.source.map(|source| chain(source.as_ref()));
        let mut response = (status, headers).into_response();
        response.extensions_mut().insert(Refusal { code: self.code, problem, cause });
        response
    }
}

/// An error and its sources, in one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        line = format!("{line}: {source}");
        next = source.source();
    }
    line
}
