//! Webhooks: an account's subscriptions to events, each with the URL that they are posted to.
//!
//! A webhook names the types of events that it wants, and may narrow them by an expression. What is posted is signed by each
//! of its live secrets: one is current, older ones overlap it after a rotation. Secrets are stored sealed, shown once, and go
//! to the proxies, which sign and post; nothing here reaches out.
//!
//! A webhook is active or inactive as its owner wants it, and beside that it may be failing or disabled: that is for
//! deliveries to say ([`disable`]), and for its owner to end ([`enable`]).

mod brand;
mod change;
mod create;
mod feed;
mod filter;
mod headers;
mod health;
mod http;
mod matching;
mod model;
mod retry;
mod rotate;
mod secret;
mod store;
mod sweep;
mod target_url;
#[cfg(test)]
mod tests;
mod update;
mod view;

use clearway_config::{AccountId, ErrorCode, WebhookId, settings::process::EgressSettings};

pub use brand::set_brand;
pub use change::{NewCertificate, NewOauth, SettingsUpdate, Wrong};
pub use create::{WithSecret, create};
pub use feed::WebhookFeed;
pub use filter::{Filter, FilterFault, Filters};
pub use headers::{Brand, Header};
pub use health::{disable, enable};
pub use http::{brand_routes, routes};
pub use matching::{Matcher, Occurrence, Target, matching, targets};
pub use model::{DisabledReason, Health, Oauth, OauthClient, OauthMethod, Ordering, Settings, Status, Timeouts, Webhook};
pub use retry::RetryPolicy;
pub use rotate::rotate;
pub use secret::Secret;
pub use store::lock;
pub use sweep::sweep;
pub use update::{remove, update};

use self::model::{LIVE_SECRETS_MAX, WEBHOOKS_MAX};
use crate::{
    db::{self, On, Tx},
    events::{self, Pattern},
    http::{ApiError, issue},
    secrets::Secrets,
    world::World,
};

/// What acts need beside their transaction.
#[derive(Debug, Clone, Copy)]
pub struct Means<'a> {
    pub world: &'a World,
    pub secrets: &'a Secrets,
    /// Where may be posted to, as far as control knows.
    pub egress: &'a EgressSettings,
}

/// The webhook, if it is of `account`; `None` is every account, for admins.
pub async fn find<'c>(on: impl On<'c>, account: Option<AccountId>, id: WebhookId) -> db::Result<Option<Webhook>> {
    store::find(on, account, id).await
}

/// What is wanted anew must be there to be had: somebody who mistypes a name would wait for ever, and hear of nothing. What was
/// wanted before stays, also where an operator has taken the type away since.
async fn check_events(tx: &mut Tx, old: &[Pattern], new: &[Pattern]) -> Result<(), WebhookError> {
    let added: Vec<Pattern> = new.iter().filter(|pattern| !old.contains(pattern)).cloned().collect();
    match events::unmatched(tx, &added).await?.into_iter().next() {
        Some(unknown) => Err(WebhookError::EventsUnknown(unknown)),
        None => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("no such webhook")]
    NotFound,
    #[error("no such account")]
    AccountNotFound,
    /// The caller's picture of it is old.
    #[error("it is not at the version that was expected")]
    Changed,
    #[error("the account has {WEBHOOKS_MAX} webhooks")]
    Full,
    #[error("the webhook has {LIVE_SECRETS_MAX} live secrets")]
    TooManySecrets,
    #[error("there are no events that {0} takes")]
    EventsUnknown(Pattern),
    #[error("it cannot be so: {0}")]
    Wrong(#[from] Wrong),
    #[error("the webhook could not be stored")]
    Store(#[from] db::Error),
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound | WebhookError::AccountNotFound => ApiError::not_found(),
            WebhookError::Changed => ApiError::new(ErrorCode::PreconditionFailed),
            WebhookError::Full => ApiError::saying(
                ErrorCode::ObjectLimitReached,
                format!("The account has {WEBHOOKS_MAX} webhooks already, which is the most."),
            ),
            WebhookError::TooManySecrets => ApiError::saying(
                ErrorCode::Conflict,
                format!(
                    "The webhook has {LIVE_SECRETS_MAX} secrets that still sign; wait for one to end, or rotate without overlap."
                ),
            ),
            WebhookError::EventsUnknown(pattern) => {
                let kind = if pattern.as_str().ends_with('*') { "takes no type of event" } else { "is no type of event" };
                ApiError::invalid(&[issue("events", "unknown", format!("{pattern} {kind}; see /api/v1/events/types"))])
            }
            WebhookError::Wrong(Wrong { field, why }) => ApiError::invalid(&[issue(field, "invalid", why)]),
            WebhookError::Store(error) => error.into(),
        }
    }
}
