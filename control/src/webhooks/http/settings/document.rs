//! The forms as the API's document describes them. What is read is [`super::CreateForm`] and [`super::UpdateForm`]; that both
//! name the same fields is tested.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::super::super::model::{OauthMethod, Ordering};

macro_rules! settings {
    ($(#[$outer:meta])* $name:ident { $($more:tt)* }) => {
        #[derive(Debug, ToSchema)]
        $(#[$outer])*
        #[expect(dead_code, reason = "describes the body for the document; SettingsUpdate is what is read")]
        pub(crate) struct $name {
            $($more)*
            /// At most 500 characters.
            #[schema(max_length = 500)]
            description: Option<String>,
            /// An expression of CEL over `id`, `type`, `timestamp` and `data` of an event, such as `data.price > 1000000`; events
            /// of which it is not true are not posted. At most 512 characters.
            #[schema(max_length = 512)]
            filter: Option<String>,
            /// At most 16, sent with every delivery and shown to whoever may read the webhook. Those that say how a message is
            /// to be read, and those of the signature, are refused.
            headers: Option<BTreeMap<String, String>>,
            /// The value of `Authorization`. Stored sealed and never shown.
            #[schema(write_only, max_length = 4096)]
            authorization: Option<String>,
            /// Whether anything is posted; true when left out of a new one.
            active: Option<bool>,
            /// When a failed delivery is attempted again: a preset, delays, or delays that grow. `standard` when left out of a new
            /// one. Also read as `retryPolicy`.
            retry_policy: Option<RetryForm>,
            /// Attempts a second at most; null is any number.
            #[schema(minimum = 1, maximum = 10000)]
            rate_limit: Option<u32>,
            /// Attempts at the same time at most; 16 when left out of a new one.
            #[schema(minimum = 1, maximum = 256)]
            concurrency: Option<u32>,
            /// `object`: events of one object are posted one after another, in order. `none` when left out of a new one.
            ordering: Option<Ordering>,
            /// What `X-<Brand>-Signature` is called: 1 to 32 letters, digits and `-` between them; null is the account's.
            #[schema(max_length = 32)]
            brand: Option<String>,
            /// Whether deliveries are signed by ed25519 too (`v1a`).
            ed25519: Option<bool>,
            timeouts: Option<TimeoutsForm>,
            /// What is shown to a receiver that asks for a certificate; null is none.
            client_certificate: Option<CertificateForm>,
            /// Where an access token is to be had for the receiver (RFC 6749, 4.4); null is nowhere.
            oauth: Option<OauthForm>,
        }
    };
}

settings! {
    /// What a new webhook shall be.
    #[schema(as = WebhookCreateForm, example = json!({"url": "https://example.com/webhooks", "events": ["app.installed", "product.*"],
        "retry_policy": {"max_retries": 5, "backoff_multiplier": 2, "initial_delay_ms": 1000},
        "headers": {"X-Custom-Header": "value"}}))]
    CreateDocument {
        /// Where events are posted to: `https://`, without user name or fragment, at most 2,048 characters. An address that is not
        /// public is refused.
        #[schema(max_length = 2048)]
        url: String,
        /// Types of events, patterns such as `product.*`, or `*`; 1 to 64.
        #[schema(min_items = 1, max_items = 64)]
        events: Vec<String>,
        /// What deliveries are signed by, as `whsec_` and the base64 of 24 to 64 random bytes; made here when left out.
        #[schema(write_only)]
        secret: Option<String>,
        /// The account that the webhook is for; an admin may name another than its own.
        account_id: Option<String>,
    }
}

settings! {
    /// What to change; a field left out stays, null resets it.
    #[schema(as = WebhookUpdateForm, example = json!({"active": false}))]
    UpdateDocument {
        /// As for a new one. Cannot be cleared.
        #[schema(max_length = 2048)]
        url: Option<String>,
        /// As for a new one. Cannot be cleared.
        #[schema(min_items = 1, max_items = 64)]
        events: Option<Vec<String>>,
    }
}

/// `preset`, or `delays`, or any of the other three. The words of seed 003 are read too: `maxRetries`, `backoffMultiplier`,
/// `initialDelayMs`.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"preset": "fast"}))]
#[expect(dead_code, reason = "describes the body for the document; RetryPolicy is what is read")]
pub(crate) struct RetryForm {
    /// `standard`: 10 attempts over 75 hours; `fast`: 5 attempts within 15 seconds.
    preset: Option<String>,
    /// Seconds before each attempt after the first, each 1 to 259,200 (3 days); at most 20.
    #[schema(max_items = 20)]
    delays: Option<Vec<u32>>,
    /// Attempts after the first; 5 when left out.
    #[schema(minimum = 0, maximum = 20)]
    max_retries: Option<u32>,
    /// Each delay is the one before it times this, and a day at most; 2 when left out.
    #[schema(minimum = 1, maximum = 10)]
    backoff_multiplier: Option<f64>,
    /// 1,000 when left out.
    #[schema(minimum = 100, maximum = 3600000)]
    initial_delay_ms: Option<u32>,
}

/// Of one attempt; one left out is what the gateway's settings say.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body for the document; Timeouts is what is read")]
pub(crate) struct TimeoutsForm {
    /// Until the connection and its TLS are there.
    #[schema(minimum = 100, maximum = 30000)]
    connect_ms: Option<u32>,
    /// From the request sent to the first byte of the answer.
    #[schema(minimum = 100, maximum = 60000)]
    first_byte_ms: Option<u32>,
    /// For the whole attempt.
    #[schema(minimum = 100, maximum = 120000)]
    total_ms: Option<u32>,
}

#[derive(Debug, ToSchema)]
#[schema(as = WebhookCertificateForm)]
#[expect(dead_code, reason = "describes the body for the document; NewCertificate is what is read")]
pub(crate) struct CertificateForm {
    /// PEM, the certificate first; at most 16 KiB.
    chain: String,
    /// PEM, without a password. Stored sealed and never shown.
    #[schema(write_only)]
    key: String,
}

#[derive(Debug, ToSchema)]
#[schema(as = WebhookOauthForm)]
#[expect(dead_code, reason = "describes the body for the document; NewOauth is what is read")]
pub(crate) struct OauthForm {
    /// As the webhook's URL.
    token_url: String,
    client_id: String,
    /// Stored sealed and never shown. Left out, the one there is stays, if the `token_url` does.
    #[schema(write_only)]
    client_secret: Option<String>,
    scope: Option<String>,
    /// `client_secret_basic` when left out.
    method: Option<OauthMethod>,
}
