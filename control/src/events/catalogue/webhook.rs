//! `webhook.*`: how an account's own webhooks fare. Never delivered to the webhook that it is about.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Emission::Emitted, Time};

/// A webhook, and since when nothing has reached its receiver.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Endpoint {
    /// `wh_…`
    pub webhook_id: String,
    pub url: String,
}

impl Endpoint {
    fn example() -> Self {
        Self { webhook_id: "wh_1QjvzY8L2d0ZB9oU4hXwVe".into(), url: "https://example.com/hooks/clearway".into() }
    }
}

events! {
    /// A webhook was disabled, because nothing has reached its receiver for too long or because the receiver said that
    /// it is gone.
    WebhookEndpointDisabled = "webhook.endpoint.disabled" v 1; Emitted; of endpoint.webhook_id; {
        #[serde(flatten)]
        endpoint: Endpoint = Endpoint::example(),
        /// `failing` or `gone`.
        reason: String = "failing".into(),
        disabled_at: Time = Time(1_795_176_000_000),
    }

    /// Nothing has reached a webhook's receiver for a day.
    WebhookEndpointFailing = "webhook.endpoint.failing" v 1 also "webhook.failed"; Emitted; of endpoint.webhook_id; {
        #[serde(flatten)]
        endpoint: Endpoint = Endpoint::example(),
        failing_since: Time = Time(1_795_089_600_000),
        /// When it will be disabled, unless something reaches its receiver before.
        disabled_from: Time = Time(1_795_521_600_000),
    }

    /// A webhook that had been failing has been reached again.
    WebhookEndpointRecovered = "webhook.endpoint.recovered" v 1; Emitted; of endpoint.webhook_id; {
        #[serde(flatten)]
        endpoint: Endpoint = Endpoint::example(),
        recovered_at: Time = Time(1_795_176_000_000),
    }
}
