//! A webhook on the wire. Nothing secret is in it: that is shown once, by the operation that makes it, or never.

use std::collections::BTreeMap;

use clearway_config::{AccountId, WebhookId, WebhookSecretId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    model::{OauthMethod, Ordering, Status, Timeouts, Webhook},
    retry::RetryPolicy,
    secret::Secret,
};
use crate::{certificates, events::Pattern, http::time::rfc3339, sync::Propagation};

/// A webhook. The secret that its deliveries are signed by is not part of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "wh_1QjvzY8L2d0ZB9oU4hXwVn", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "url": "https://example.com/webhooks",
    "description": "", "events": ["product.*", "app.installed"], "filter": "data.price > 1000000",
    "headers": {"X-Custom-Header": "value"}, "has_authorization": false, "active": true, "status": "active",
    "retry_policy": {"preset": "standard"}, "rate_limit": null, "concurrency": 16, "ordering": "none", "brand": null,
    "signature_header": "X-Clearway-Signature", "ed25519": false,
    "timeouts": {"connect_ms": null, "first_byte_ms": null, "total_ms": null}, "client_certificate": null, "oauth": null,
    "secrets": [{"id": "whs_1QjvzY8L2d0ZB9oU4hXwVo", "created_at": "2026-11-20T12:00:00.000Z", "expires_at": null, "public_key": null}],
    "failing_since": null, "disabled_at": null, "disabled_reason": null, "version": 1,
    "created_at": "2026-11-20T12:00:00.000Z", "updated_at": "2026-11-20T12:00:00.000Z"
}))]
pub(super) struct WebhookView {
    #[schema(value_type = String)]
    id: WebhookId,
    #[schema(value_type = String)]
    account_id: AccountId,
    url: String,
    description: String,
    /// Types of events, and patterns such as `product.*`.
    #[schema(value_type = Vec<String>)]
    events: Vec<Pattern>,
    /// An expression of CEL that has to be true of an event.
    filter: Option<String>,
    headers: BTreeMap<String, String>,
    /// Whether `Authorization` is sent; its value is not shown.
    has_authorization: bool,
    /// As its owner wants it.
    active: bool,
    /// `active`, `inactive`, `failing` (no attempt has succeeded for a while) or `disabled` (nothing is posted until it is
    /// enabled).
    status: Status,
    retry_policy: RetryView,
    /// Attempts a second; null is any number.
    rate_limit: Option<u32>,
    /// Attempts at the same time.
    concurrency: u32,
    ordering: Ordering,
    /// Null is the account's.
    brand: Option<String>,
    /// Beside those of Standard Webhooks: the hexadecimal HMAC of the body alone.
    signature_header: String,
    /// Whether deliveries are signed by ed25519 too (`v1a`).
    ed25519: bool,
    timeouts: TimeoutsView,
    client_certificate: Option<ClientCertificateView>,
    oauth: Option<OauthView>,
    /// Those that sign, the current one first.
    secrets: Vec<SecretView>,
    failing_since: Option<String>,
    disabled_at: Option<String>,
    /// `gone` (the receiver answered 410) or `failing`.
    disabled_reason: Option<String>,
    /// Counts its changes; also its `ETag`.
    version: i64,
    /// RFC 3339 in UTC, as are all times.
    created_at: String,
    updated_at: String,
}

/// One of the three: a preset, delays, or delays that grow.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
enum RetryView {
    Preset {
        /// `standard`: 10 attempts over 75 hours; `fast`: 5 attempts within 15 seconds.
        preset: &'static str,
    },
    Delays {
        /// Seconds before each attempt after the first.
        delays: Vec<u32>,
    },
    Growing {
        /// Attempts after the first.
        max_retries: u32,
        backoff_multiplier: f64,
        initial_delay_ms: u32,
    },
}

/// Of one attempt; null is what the gateway's settings say.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct TimeoutsView {
    connect_ms: Option<u32>,
    first_byte_ms: Option<u32>,
    total_ms: Option<u32>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct ClientCertificateView {
    /// `sha256:` and the SHA-256 of the certificate.
    fingerprint: String,
    not_after: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct OauthView {
    token_url: String,
    client_id: String,
    scope: Option<String>,
    method: OauthMethod,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = WebhookSecretView)]
struct SecretView {
    #[schema(value_type = String)]
    id: WebhookSecretId,
    created_at: String,
    /// When it stops signing; null is the current one.
    expires_at: Option<String>,
    /// `whpk_` and the base64 of an ed25519 public key, where the webhook is signed by that too.
    public_key: Option<String>,
}

/// The answer that shows a secret, this once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct WebhookIssued {
    #[serde(flatten)]
    pub(super) webhook: WebhookView,
    /// `whsec_` and the base64 of what HMAC-SHA256 is keyed by. Null when the answer is a replay of an idempotency key.
    pub(super) secret: Option<String>,
    /// How far the change has come. Null in a replay.
    pub(super) propagation: Option<Propagation>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct WebhookChanged {
    #[serde(flatten)]
    pub(super) webhook: WebhookView,
    /// How far the change has come. Null in the replay of an idempotency key.
    pub(super) propagation: Option<Propagation>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct WebhookDeleted {
    #[schema(value_type = String)]
    pub(super) id: WebhookId,
    pub(super) propagation: Propagation,
}

impl From<&RetryPolicy> for RetryView {
    fn from(policy: &RetryPolicy) -> Self {
        match policy {
            RetryPolicy::Standard => Self::Preset { preset: "standard" },
            RetryPolicy::Fast => Self::Preset { preset: "fast" },
            RetryPolicy::Delays(delays) => Self::Delays { delays: delays.clone() },
            RetryPolicy::Exponential { max_attempts, initial_delay_ms, multiplier } => Self::Growing {
                max_retries: max_attempts.saturating_sub(1),
                backoff_multiplier: *multiplier,
                initial_delay_ms: *initial_delay_ms,
            },
        }
    }
}

impl WebhookView {
    /// `secrets` may be those of others too.
    pub(super) fn new(webhook: &Webhook, secrets: &[Secret], now_ms: i64) -> Self {
        let settings = &webhook.settings;
        let Timeouts { connect_ms, first_byte_ms, total_ms } = settings.timeouts;
        let certificate = settings.client_certificate.as_ref().and_then(|own| certificates::facts(&own.chain).ok());
        let live = secrets.iter().filter(|secret| secret.webhook_id == webhook.id && secret.is_live(now_ms));
        Self {
            id: webhook.id,
            account_id: webhook.account_id,
            url: settings.url.clone(),
            description: settings.description.clone(),
            events: settings.events.clone(),
            filter: settings.filter.clone(),
            headers: settings.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
            has_authorization: settings.sealed_authorization.is_some(),
            active: settings.active,
            status: webhook.status(),
            retry_policy: (&settings.retry_policy).into(),
            rate_limit: settings.rate_limit,
            concurrency: settings.concurrency,
            ordering: settings.ordering,
            brand: settings.brand.clone(),
            signature_header: format!("X-{}-Signature", webhook.brand()),
            ed25519: settings.ed25519,
            timeouts: TimeoutsView { connect_ms, first_byte_ms, total_ms },
            client_certificate: certificate.map(|facts| ClientCertificateView {
                fingerprint: facts.fingerprint,
                not_after: rfc3339(facts.not_after_s.saturating_mul(1000)),
            }),
            oauth: settings.oauth.as_ref().map(|oauth| OauthView {
                token_url: oauth.client.token_url.clone(),
                client_id: oauth.client.client_id.clone(),
                scope: oauth.client.scope.clone(),
                method: oauth.client.method,
            }),
            secrets: live
                .map(|secret| SecretView {
                    id: secret.id,
                    created_at: rfc3339(secret.created_at),
                    expires_at: secret.expires_at.map(rfc3339),
                    public_key: secret.public_key.clone(),
                })
                .collect(),
            failing_since: webhook.health.failing_since.map(rfc3339),
            disabled_at: webhook.health.disabled_at.map(rfc3339),
            disabled_reason: webhook.health.disabled_reason.clone(),
            version: webhook.version,
            created_at: rfc3339(webhook.created_at),
            updated_at: rfc3339(webhook.updated_at),
        }
    }
}
