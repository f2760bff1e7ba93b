//! Webhooks as values. No IO.

use clearway_config::{AccountId, WebhookId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{headers::Header, retry::RetryPolicy};
use crate::events::Pattern;

/// Webhooks of one account at most, whatever its plan.
pub(super) const WEBHOOKS_MAX: i64 = 100;
/// Secrets of a webhook that may be alive at the same time: each is a signature in every delivery's header.
pub(super) const LIVE_SECRETS_MAX: usize = 10;
/// Seconds for which older secrets go on signing unless a rotation says otherwise, and at most.
pub(super) const OVERLAP_DEFAULT: u64 = 24 * 60 * 60;
pub(super) const OVERLAP_MAX: u64 = 7 * 24 * 60 * 60;
/// Patterns of one webhook.
pub(super) const PATTERNS_MAX: usize = 64;
pub(super) const DESCRIPTION_CHARS_MAX: usize = 500;
/// Attempts a second.
pub(super) const RATE_LIMIT_MAX: u64 = 10_000;
/// Attempts at the same time.
pub(super) const CONCURRENCY_DEFAULT: u32 = 16;
pub(super) const CONCURRENCY_MAX: u64 = 256;

#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    pub id: WebhookId,
    pub account_id: AccountId,
    pub settings: Settings,
    /// The account's own brand.
    pub account_brand: String,
    pub account_suspended: bool,
    pub health: Health,
    /// Counts the changes of its settings, from 1.
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// What an owner sets. Secrets are sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub url: String,
    pub description: String,
    pub events: Vec<Pattern>,
    /// An expression; `None` takes every event of these types.
    pub filter: Option<String>,
    pub headers: Vec<Header>,
    pub sealed_authorization: Option<Vec<u8>>,
    /// As its owner wants it.
    pub active: bool,
    pub retry_policy: RetryPolicy,
    /// Attempts a second.
    pub rate_limit: Option<u32>,
    /// Attempts at the same time.
    pub concurrency: u32,
    pub ordering: Ordering,
    /// `None` is the account's.
    pub brand: Option<String>,
    /// Signs by v1a too.
    pub ed25519: bool,
    pub timeouts: Timeouts,
    pub client_certificate: Option<ClientCertificate>,
    pub oauth: Option<Oauth>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM, the leaf first.
    pub chain: String,
    pub sealed_key: Vec<u8>,
}

/// Where the receiver takes access tokens (RFC 6749, 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oauth {
    pub client: OauthClient,
    pub sealed_secret: Vec<u8>,
}

/// What of it is no secret. Stored as it serializes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OauthClient {
    pub token_url: String,
    pub client_id: String,
    pub scope: Option<String>,
    pub method: OauthMethod,
}

/// How the client shows who it is (RFC 6749, 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OauthMethod {
    #[default]
    ClientSecretBasic,
    ClientSecretPost,
}

/// Of one attempt, in milliseconds; `None` is what the gateway's settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeouts {
    pub connect_ms: Option<u32>,
    pub first_byte_ms: Option<u32>,
    pub total_ms: Option<u32>,
}

impl Timeouts {
    /// The longest that each may be.
    pub(super) const CONNECT_MS_MAX: u64 = 30_000;
    pub(super) const FIRST_BYTE_MS_MAX: u64 = 60_000;
    pub(super) const TOTAL_MS_MAX: u64 = 120_000;
    /// The shortest.
    pub(super) const MS_MIN: u64 = 100;
}

/// Whether deliveries of one object wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    #[default]
    None,
    /// First in, first out for each object.
    Object,
}

impl Ordering {
    /// As in `webhooks.ordering` and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Object => "object",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Object].into_iter().find(|ordering| ordering.as_str() == text)
    }
}

/// How its deliveries fare; written by them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// No attempt has succeeded since.
    pub failing_since: Option<i64>,
    pub warned_at: Option<i64>,
    pub disabled_at: Option<i64>,
    pub disabled_reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WebhookStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Active,
    /// Switched off by its owner.
    Inactive,
    /// No attempt has succeeded for a while.
    Failing,
    /// Nothing is posted until it is enabled.
    Disabled,
}

/// Why a webhook was disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledReason {
    /// The receiver answered 410.
    Gone,
    /// No attempt has succeeded for too long.
    Failing,
}

impl DisabledReason {
    /// As in `webhook_health.disabled_reason`, in events and in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

impl Webhook {
    pub fn status(&self) -> Status {
        if self.health.disabled_at.is_some() {
            Status::Disabled
        } else if !self.settings.active {
            Status::Inactive
        } else if self.health.failing_since.is_some() {
            Status::Failing
        } else {
            Status::Active
        }
    }

    /// What `X-<Brand>-Signature` is called.
    pub fn brand(&self) -> &str {
        self.settings.brand.as_deref().unwrap_or(&self.account_brand)
    }
}
