//! Versions of objects as `ETag`s (RFC 9110, 8.8.3), so that two editors do not overwrite each other.

use axum::extract::FromRequestParts;
use clearway_config::ErrorCode;
use http::{HeaderMap, HeaderValue, header, request::Parts};

use super::{Answer, Api, ApiError, issue};

/// The version of an object that its caller has seen, from `If-Match`; 0 is none yet, for `If-None-Match: *`.
#[derive(Debug)]
pub struct IfMatch(pub Option<i64>);

impl IfMatch {
    /// Refuses whoever has seen another version than `version`, the one that is there now.
    pub fn check(&self, version: i64) -> Result<(), ApiError> {
        match self.0 {
            Some(seen) if seen != version => Err(ApiError::new(ErrorCode::PreconditionFailed)),
            _ => Ok(()),
        }
    }
}

impl FromRequestParts<Api> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let wrong = |name: &str, message: &str| ApiError::invalid(&[issue(name, "format_invalid", message)]);
        match (one(&parts.headers, &header::IF_MATCH), one(&parts.headers, &header::IF_NONE_MATCH)) {
            (None, None) => Ok(Self(None)),
            (None, Some("*")) => Ok(Self(Some(0))),
            (_, Some(_)) => Err(wrong("If-None-Match", "must be * and stand alone")),
            (Some(tag), None) => {
                let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).and_then(|n| n.parse().ok());
                version.map(|n| Self(Some(n))).ok_or_else(|| wrong("If-Match", "must be one ETag of this object"))
            }
        }
    }
}

fn one<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default().trim())
}

/// The answer with the object's version as its `ETag`.
pub fn tagged(answer: Answer, version: i64) -> Answer {
    answer.header(header::ETAG, HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes"))
}
