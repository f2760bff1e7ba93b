//! The body that REST v1 answers with on both planes (seed 003, 2.3): always `id`, `status`, `code`,
//! `data` or `error`, and `meta`.

use serde::{Deserialize, Serialize};

/// A successful answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Success<T> {
    /// The request's id, `req_…`.
    pub id: String,
    /// Always `success`.
    #[cfg_attr(feature = "openapi", schema(example = "success"))]
    pub status: String,
    /// The HTTP status again.
    pub code: u16,
    pub data: T,
    pub meta: Meta,
}

/// A refusal or a fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// The request's id, `req_…`.
    pub id: String,
    /// Always `error`.
    #[cfg_attr(feature = "openapi", schema(example = "error"))]
    pub status: String,
    /// The HTTP status again.
    pub code: u16,
    pub error: Problem,
    pub meta: Meta,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The error code, for a program to match on.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence, for a person.
    pub message: String,
    /// What the code has to say beyond itself: the fields that are wrong, the limit that was met.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Meta {
    /// When the answer was made, RFC 3339 in UTC.
    pub timestamp: String,
    /// What is left of the limit nearest to exhaustion; absent where nothing was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// W3C trace id, 32 hexadecimal digits.
    pub trace_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RateLimit {
    pub limit: u64,
    pub remaining: u64,
    /// When the window ends, in seconds since 1970 UTC.
    pub reset: u64,
}

/// One field of a request that failed validation; `details` of a validation error is a list of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldIssue {
    /// The field's path in the body or query, with dots.
    pub field: String,
    /// A word for a program: `required`, `too_long`, `format_invalid`, `out_of_bounds`, `unknown`.
    pub issue: String,
    /// A sentence for a person.
    pub message: String,
}
