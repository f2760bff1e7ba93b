//! What a handler answers with: data, on its way into the v1 envelope.

use axum::response::{IntoResponse, Response};
use clearway_config::envelope::FieldIssue;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::ApiError;
use crate::db::Page;

/// One answer. [`super::envelope`] wraps it; by itself it has no body.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    data: Box<RawValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Clone)]
pub(super) struct Data(pub(super) Box<RawValue>);

pub type Answered = Result<Answer, ApiError>;

impl Answer {
    pub fn ok(data: &impl Serialize) -> Answered {
        Self::with_status(StatusCode::OK, data)
    }

    pub fn created(data: &impl Serialize) -> Answered {
        Self::with_status(StatusCode::CREATED, data)
    }

    pub fn with_status(status: StatusCode, data: &impl Serialize) -> Answered {
        let data = serde_json::value::to_raw_value(data).map_err(ApiError::internal)?;
        Ok(Self { status, data, headers: Vec::new() })
    }

    /// From JSON that was an answer's data before.
    pub(super) fn from_raw(status: StatusCode, data: Box<RawValue>) -> Self {
        Self { status, data, headers: Vec::new() }
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// For an answer that holds a secret.
    pub fn no_store(self) -> Self {
        self.header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Data(self.data));
        for (name, value) in self.headers {
            // Not put in the place of each other: an answer may set several cookies.
            response.headers_mut().append(name, value);
        }
        response
    }
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    /// How many there are over all pages; absent where counting them would cost too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Ask for the next page with `cursor` set to this; null on the last page.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    pub fn of<C: ToString>(page: Page<T, C>, total: Option<i64>) -> Self {
        Self { items: page.items, total, next_cursor: page.next.map(|cursor| cursor.to_string()) }
    }
}

/// A field issue, with less typing.
pub fn issue(field: &str, issue: &str, message: impl Into<String>) -> FieldIssue {
    FieldIssue { field: field.into(), issue: issue.into(), message: message.into() }
}
