//! Why an act on an app is refused, and how that is said.

use clearway_config::ErrorCode;

use super::{
    content::Number,
    model::{APPS_MAX, VERSIONS_MAX},
    state::Refused,
};
use crate::{
    db,
    http::{ApiError, issue},
};

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("no such app")]
    NotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("the account has {APPS_MAX} apps")]
    Full,
    #[error("the app has {VERSIONS_MAX} versions")]
    TooManyVersions,
    #[error("another app has the slug {0}")]
    SlugTaken(String),
    #[error("no slug can be made from the name")]
    NoSlug,
    #[error("the app has a version {0}")]
    NumberTaken(Number),
    #[error("the account has no such OAuth client")]
    NoClient,
    #[error("the OAuth client is another app's")]
    ClientTaken,
    #[error(transparent)]
    State(#[from] Refused),
    #[error("the app could not be stored")]
    Store(#[from] db::Error),
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::NotFound => ApiError::not_found(),
            AppError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            AppError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The account has {APPS_MAX} apps already, which is the most."),
            ),
            AppError::TooManyVersions => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The app has {VERSIONS_MAX} versions already, which is the most."),
            ),
            AppError::SlugTaken(slug) => {
                ApiError::saying(ErrorCode::Conflict, format!("Another app has the slug {slug}; choose one by `slug`."))
            }
            AppError::NoSlug => ApiError::invalid(&[issue(
                "slug",
                "required",
                "must be given: 3 to 60 letters a to z, digits and single - between them, which the name does not make",
            )]),
            AppError::NumberTaken(number) => {
                ApiError::saying(ErrorCode::Conflict, format!("The app has a version {number} already."))
            }
            AppError::NoClient => {
                ApiError::invalid(&[issue("client_id", "format_invalid", "names no OAuth application of the app's account")])
            }
            AppError::ClientTaken => ApiError::saying(ErrorCode::Conflict, "The OAuth application is another app's."),
            AppError::State(refused) => {
                let said = refused.to_string();
                let mut chars = said.chars();
                let said = chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>();
                ApiError::saying(ErrorCode::Conflict, format!("{said}."))
                    .with_details(serde_json::json!({ "state": refused.state }))
            }
            AppError::Store(error) => error.into(),
        }
    }
}
