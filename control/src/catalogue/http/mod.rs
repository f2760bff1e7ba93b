//! The catalogue over HTTP: reading it takes no credential.

mod analytics;
mod collections;
mod read;
mod view;

use utoipa_axum::router::OpenApiRouter;

use crate::http::Api;

pub fn routes() -> OpenApiRouter<Api> {
    read::routes().merge(collections::routes()).merge(analytics::routes())
}

/// Below `/marketplace` as well.
pub fn aliases() -> OpenApiRouter<Api> {
    read::aliases()
}
