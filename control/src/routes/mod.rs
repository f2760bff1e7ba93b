//! What the gateway is told by the control plane: routes, upstreams and the other objects of a gateway
//! document, each by its name, in the words of `gateway.toml`.
//!
//! An object is checked together with what it names and with the routes at its place before it is
//! stored, so that the proxies' document is right after every single change. A whole document is applied
//! as one transaction, in an order that keeps it right in between.

mod apply;
mod check;
mod document_http;
mod feed;
mod http;
mod named;
mod put;
mod remove;
mod store;

use clearway_config::{
    ErrorCode,
    settings::{
        Fault,
        gateway::{Object, ObjectKind},
    },
};
use utoipa_axum::router::OpenApiRouter;

pub use feed::RouteFeed;
pub use named::name_policies;

use crate::{
    db,
    http::{Api, ApiError, issue},
};

/// Every operation on objects and on the whole document.
pub fn routes() -> OpenApiRouter<Api> {
    http::routes().merge(document_http::routes())
}

/// An object as it is stored.
#[derive(Debug, Clone, PartialEq)]
struct Stored {
    object: Object,
    /// Counts its changes, from 1.
    version: i64,
    created_at: i64,
    updated_at: i64,
}

/// What an object is called in `changes` and in the audit log.
fn id(kind: ObjectKind, name: &str) -> String {
    format!("{kind}/{name}")
}

#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error("no such object")]
    NotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("it is named by another object")]
    InUse(Vec<(String, String)>),
    #[error("there are too many: {0}")]
    Full(String),
    #[error("it is wrong")]
    Invalid(Fault),
    #[error("the object could not be stored")]
    Store(#[from] db::Error),
}

impl From<Fault> for RouteError {
    fn from(fault: Fault) -> Self {
        Self::Invalid(fault)
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NotFound => ApiError::not_found(),
            RouteError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            RouteError::InUse(by) => {
                let names: Vec<_> = by.iter().map(|(kind, name)| format!("{kind} `{name}`")).collect();
                ApiError::saying(ErrorCode::Conflict, format!("It is named by {}.", names.join(", ")))
            }
            RouteError::Full(bound) => ApiError::saying(ErrorCode::ObjectLimitReached, bound),
            RouteError::Invalid(fault) => {
                let field = if fault.place().is_empty() { "body".to_owned() } else { fault.place_text() };
                ApiError::invalid(&[issue(&field, "invalid", fault.message())])
            }
            RouteError::Store(error) => error.into(),
        }
    }
}
