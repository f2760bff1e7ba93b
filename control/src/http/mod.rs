//! What every operation of the REST API shares: callers, bodies, paging, idempotency, envelopes and errors.
//!
//! Plumbing: it imports no feature.

mod answer;
mod caller;
mod context;
mod envelope;
mod error;
pub mod fields;
pub mod idempotency;
pub mod openapi;
mod paging;
pub mod time;
mod unread;
mod versions;

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRequestParts, Path},
    middleware,
};
use clearway_config::settings::process::{EgressSettings, OauthSettings, Registration};
use http::request::Parts;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;

pub use answer::{Answer, Answered, List, issue};
pub use caller::{
    ACCOUNT_HEADER, AdminPlatform, Asked, Browser, CSRF_HEADER, Caller, DeleteApps, Held, HeldSession, HeldToken, KeyDirectory,
    Permit, Person, Principal, ReadAnalytics, ReadApps, ReadAudit, ReadBilling, ReadEvents, ReadKeys, ReadStores, ReadUser,
    ReadWebhooks, SessionDirectory, TokenDirectory, Wanted, WriteApps, WriteEvents, WriteKeys, WriteMarketplace, WriteStores,
    WriteUser, WriteWebhooks,
};
pub(crate) use context::hex;
pub use context::{Context, RATE_LIMIT};
pub(crate) use envelope::class as status_class;
pub use error::{ApiError, chain, nonce_header};
pub use fields::{Body, Fields, Form, JsonObject, Query};
pub use idempotency::{Repeatable, Turn};
pub use paging::{PageParams, Paging};
pub use versions::{IfMatch, tagged};

use crate::{
    db::Db, egress::Egress, mail::Outbox, metrics::Metrics, passwords::Passwords, providers::Providers, secrets::Secrets,
    sync::Hub, world::World,
};

/// What handlers are given. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub db: Db,
    pub world: World,
    pub secrets: Secrets,
    pub hub: Hub,
    pub egress: Egress,
    pub keys: Arc<dyn KeyDirectory>,
    pub sessions: Arc<dyn SessionDirectory>,
    pub tokens: Arc<dyn TokenDirectory>,
    pub metrics: Metrics,
    pub mail: Outbox,
    pub passwords: Passwords,
    /// Where else people may show who they are.
    pub providers: Providers,
    /// Who may become a user.
    pub registration: Registration,
    /// Which applications may register themselves.
    pub oauth: Arc<OauthSettings>,
    /// Where people find the gateway.
    pub public_url: Arc<str>,
    pub in_flight: idempotency::InFlight,
    pub request_timeout: Duration,
    /// Says true once the process is stopping: a request that only waits for something ends then.
    pub stopping: Arc<watch::Sender<bool>>,
    /// Where webhooks may be posted to, as far as this process knows: the proxies have settings of their own.
    pub egress_settings: Arc<EgressSettings>,
    /// When a proxy that is silent is no longer listed.
    pub forget_proxies_after: Duration,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("db", &self.db).field("world", &self.world).finish_non_exhaustive()
    }
}

/// Puts the shared layers around the features' routes. From the outside in: bodies that
/// are not read, envelope, panics, time limit.
pub fn serve(routes: Router<Api>, api: Api) -> Router {
    routes
        .fallback(envelope::no_such_path)
        .method_not_allowed_fallback(envelope::no_such_method)
        .layer(middleware::from_fn_with_state(api.clone(), envelope::limit_time))
        .layer(CatchPanicLayer::custom(envelope::panicked))
        .layer(middleware::from_fn_with_state(api.clone(), envelope::wrap))
        .layer(middleware::from_fn(unread::close))
        .with_state(api)
}

/// The two ids in a path, of an object and of what it is part of. Those that are malformed name nothing.
#[derive(Debug)]
pub struct Ids<A, B>(pub A, pub B);

impl<A: FromStr + Send, B: FromStr + Send> FromRequestParts<Api> for Ids<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, api).await;
        let Path((outer, inner)) = path.map_err(|_| ApiError::not_found())?;
        match (outer.parse(), inner.parse()) {
            (Ok(outer), Ok(inner)) => Ok(Self(outer, inner)),
            _ => Err(ApiError::not_found()),
        }
    }
}

/// The id in a path. One that is malformed names nothing, and so is not found.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T: FromStr + Send> FromRequestParts<Api> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, api).await.map_err(|_| ApiError::not_found())?;
        text.parse().map(Self).map_err(|_| ApiError::not_found())
    }
}
