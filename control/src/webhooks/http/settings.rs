//! A webhook's settings as they are given.

use std::collections::BTreeMap;

use clearway_config::AccountId;
use clearway_filters::webhook::HmacSecret;
use serde_json::Value;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::super::{
    change::{NewCertificate, NewOauth, SettingsUpdate},
    filter::FILTER_CHARS_MAX,
    headers::{self, AUTHORIZATION_CHARS_MAX, HEADERS_MAX, Header},
    model::{
        CONCURRENCY_DEFAULT, CONCURRENCY_MAX, DESCRIPTION_CHARS_MAX, OauthClient, OauthMethod, Ordering, PATTERNS_MAX,
        RATE_LIMIT_MAX, Timeouts,
    },
    retry::{DELAY_S_MAX, RETRIES_MAX, RetryPolicy},
    target_url::URL_CHARS_MAX,
};
use crate::{
    events::Pattern,
    http::{
        Fields, Form,
        fields::{Wrong, list, number, parsed, text, text_or_none, yes_or_no},
    },
};

/// Bytes of a chain, and of a private key, at most.
const CHAIN_BYTES_MAX: usize = 16 * 1024;
const KEY_BYTES_MAX: usize = 8 * 1024;
/// Characters of what a client calls itself, of its secret, and of a scope.
const OAUTH_CHARS_MAX: usize = 1_024;
const MULTIPLIER_MAX: f64 = 10.0;

/// What a new webhook shall be: its settings, whose it is and what it is signed by.
#[derive(Debug)]
pub(crate) struct CreateForm {
    pub(crate) settings: SettingsUpdate,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) secret: Option<HmacSecret>,
}

/// What to change.
#[derive(Debug)]
pub(crate) struct UpdateForm(pub(crate) SettingsUpdate);

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

impl Form for CreateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let settings = settings(fields);
        let account_id = fields.optional("account_id", parsed);
        let secret = fields.optional("secret", parsed);
        if let Some(settings) = &settings {
            for (name, is_missing) in [("url", settings.url.is_none()), ("events", settings.events.is_none())] {
                if is_missing {
                    fields.refuse(name, ("required", "is required".into()));
                }
            }
        }
        Some(Self { settings: settings?, account_id: account_id?, secret: secret? })
    }
}

impl Form for UpdateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        settings(fields).map(Self)
    }
}

/// Null resets what can be reset.
fn settings(fields: &mut Fields) -> Option<SettingsUpdate> {
    fields.also_called("retry_policy", "retryPolicy");
    let url = fields.kept("url", text(URL_CHARS_MAX));
    let events = fields.kept("events", events);
    let description = fields.patch("description", text_or_none(DESCRIPTION_CHARS_MAX));
    let filter = fields.patch("filter", text(FILTER_CHARS_MAX));
    let headers = fields.patch("headers", custom_headers);
    let authorization = fields.patch("authorization", authorization);
    let active = fields.patch("active", yes_or_no);
    let retry_policy = fields.object::<RetryPolicy>("retry_policy");
    let rate_limit = fields.patch("rate_limit", narrow(1, RATE_LIMIT_MAX));
    let concurrency = fields.patch("concurrency", narrow(1, CONCURRENCY_MAX));
    let ordering = fields.patch("ordering", ordering);
    let brand = fields.patch("brand", parsed);
    let ed25519 = fields.patch("ed25519", yes_or_no);
    let timeouts = fields.object::<Timeouts>("timeouts");
    let client_certificate = fields.object::<NewCertificate>("client_certificate");
    let oauth = fields.object::<NewOauth>("oauth");
    Some(SettingsUpdate {
        url: url?,
        events: events?,
        description: description?.map(Option::unwrap_or_default),
        filter: filter?,
        headers: headers?.map(Option::unwrap_or_default),
        authorization: authorization?,
        active: active?.map(|active| active.unwrap_or(true)),
        retry_policy: retry_policy?.map(Option::unwrap_or_default),
        rate_limit: rate_limit?,
        concurrency: concurrency?.map(|concurrency| concurrency.unwrap_or(CONCURRENCY_DEFAULT)),
        ordering: ordering?.map(Option::unwrap_or_default),
        brand: brand?,
        ed25519: ed25519?.map(Option::unwrap_or_default),
        timeouts: timeouts?.map(Option::unwrap_or_default),
        client_certificate: client_certificate?,
        oauth: oauth?,
    })
}

impl Form for RetryPolicy {
    fn read(fields: &mut Fields) -> Option<Self> {
        fields.also_called("max_retries", "maxRetries");
        fields.also_called("backoff_multiplier", "backoffMultiplier");
        fields.also_called("initial_delay_ms", "initialDelayMs");
        let preset = fields.optional("preset", preset);
        let delays = fields.optional("delays", list(RETRIES_MAX, narrow(1, u64::from(DELAY_S_MAX))));
        let max_retries = fields.optional("max_retries", narrow(0, RETRIES_MAX as u64));
        let multiplier = fields.optional("backoff_multiplier", multiplier);
        let initial = fields.optional("initial_delay_ms", narrow(100, 3_600_000));
        let (preset, delays, max_retries, multiplier, initial) = (preset?, delays?, max_retries?, multiplier?, initial?);
        let grows = max_retries.is_some() || multiplier.is_some() || initial.is_some();
        match (preset, delays, grows) {
            (Some(preset), None, false) => Some(preset),
            (None, Some(delays), false) => Some(Self::Delays(delays)),
            (None, None, true) => Some(Self::Exponential {
                max_attempts: max_retries.unwrap_or(5) + 1,
                initial_delay_ms: initial.unwrap_or(1_000),
                multiplier: multiplier.unwrap_or(2.0),
            }),
            _ => {
                fields.refuse("preset", ("invalid", "one of preset, delays, or max_retries and its like must be given".into()));
                None
            }
        }
    }
}

impl Form for Timeouts {
    fn read(fields: &mut Fields) -> Option<Self> {
        let connect_ms = fields.optional("connect_ms", narrow(Self::MS_MIN, Self::CONNECT_MS_MAX));
        let first_byte_ms = fields.optional("first_byte_ms", narrow(Self::MS_MIN, Self::FIRST_BYTE_MS_MAX));
        let total_ms = fields.optional("total_ms", narrow(Self::MS_MIN, Self::TOTAL_MS_MAX));
        Some(Self { connect_ms: connect_ms?, first_byte_ms: first_byte_ms?, total_ms: total_ms? })
    }
}

impl Form for NewCertificate {
    fn read(fields: &mut Fields) -> Option<Self> {
        let chain = fields.required("chain", pem(CHAIN_BYTES_MAX));
        let key = fields.required("key", pem(KEY_BYTES_MAX));
        Some(Self { chain: chain?, key: Zeroizing::new(key?) })
    }
}

impl Form for NewOauth {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token_url = fields.required("token_url", text(URL_CHARS_MAX));
        let client_id = fields.required("client_id", text(OAUTH_CHARS_MAX));
        let client_secret = fields.optional("client_secret", text(OAUTH_CHARS_MAX));
        let scope = fields.optional("scope", text(OAUTH_CHARS_MAX));
        let method = fields.optional("method", method);
        Some(Self {
            client: OauthClient {
                token_url: token_url?,
                client_id: client_id?,
                scope: scope?,
                method: method?.unwrap_or_default(),
            },
            secret: client_secret?.map(Zeroizing::new),
        })
    }
}

fn events(value: &Value) -> Result<Vec<Pattern>, Wrong> {
    let mut events = list(PATTERNS_MAX, parsed::<Pattern>)(value)?;
    if events.is_empty() {
        return Err(("out_of_bounds", format!("must have 1 to {PATTERNS_MAX} entries")));
    }
    if let Some(unknown) = events.iter().find(|pattern| !pattern.is_known()) {
        return Err(("unknown", format!("{unknown} is no type of event; see /api/v1/events/types")));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn custom_headers(value: &Value) -> Result<Vec<Header>, Wrong> {
    let given = value.as_object().ok_or(("format_invalid", "must be an object of texts".to_owned()))?;
    if given.len() > HEADERS_MAX {
        return Err(("too_long", format!("must have at most {HEADERS_MAX} headers")));
    }
    let mut read = BTreeMap::new();
    for (name, value) in given {
        let value = value.as_str().ok_or(("format_invalid", "must be an object of texts".to_owned()))?;
        let header = headers::header(name, value).map_err(|why| ("invalid", why))?;
        let lower = name.to_ascii_lowercase();
        if read.insert(lower.clone(), header).is_some() {
            return Err(("invalid", format!("{lower} is given more than once")));
        }
    }
    Ok(read.into_values().collect())
}

fn authorization(value: &Value) -> Result<Zeroizing<String>, Wrong> {
    match value.as_str() {
        Some(text) if headers::is_authorization(text) => Ok(Zeroizing::new(text.to_owned())),
        _ => Err((
            "format_invalid",
            format!("must have 1 to {AUTHORIZATION_CHARS_MAX} visible ASCII characters and blanks between them"),
        )),
    }
}

fn preset(value: &Value) -> Result<RetryPolicy, Wrong> {
    match value.as_str() {
        Some("standard") => Ok(RetryPolicy::Standard),
        Some("fast") => Ok(RetryPolicy::Fast),
        _ => Err(("unknown", "must be standard or fast".into())),
    }
}

fn multiplier(value: &Value) -> Result<f64, Wrong> {
    let within = value.as_f64().filter(|number| (1.0..=MULTIPLIER_MAX).contains(number));
    within.ok_or(("out_of_bounds", format!("must be a number from 1 to {MULTIPLIER_MAX}")))
}

fn ordering(value: &Value) -> Result<Ordering, Wrong> {
    let read = value.as_str().and_then(Ordering::parse);
    read.ok_or(("unknown", "must be none or object".into()))
}

fn method(value: &Value) -> Result<OauthMethod, Wrong> {
    match value.as_str() {
        Some("client_secret_basic") => Ok(OauthMethod::ClientSecretBasic),
        Some("client_secret_post") => Ok(OauthMethod::ClientSecretPost),
        _ => Err(("unknown", "must be client_secret_basic or client_secret_post".into())),
    }
}

/// A number that fits into 32 bits, as `max` does.
fn narrow(min: u64, max: u64) -> impl Fn(&Value) -> Result<u32, Wrong> {
    move |value| number(min, max)(value).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn pem(bytes_max: usize) -> impl Fn(&Value) -> Result<String, Wrong> {
    move |value| {
        let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
        if text.len() > bytes_max {
            return Err(("too_long", format!("must have {bytes_max} bytes at most")));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use utoipa::PartialSchema;

    use super::*;

    /// The document describes a form by its struct, and the form is read by hand: they must name the same fields.
    #[test]
    fn the_document_names_the_fields_that_are_read() {
        fn named<T: PartialSchema>() -> BTreeSet<String> {
            let schema = serde_json::to_value(T::schema()).unwrap();
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        }
        fn read<T: Form>() -> BTreeSet<String> {
            Fields::names::<T>().into_iter().map(str::to_owned).collect()
        }
        assert_eq!(named::<CreateDocument>(), read::<CreateForm>());
        assert_eq!(named::<UpdateDocument>(), read::<UpdateForm>());
        assert_eq!(named::<RetryForm>(), read::<RetryPolicy>());
        assert_eq!(named::<TimeoutsForm>(), read::<Timeouts>());
        assert_eq!(named::<CertificateForm>(), read::<NewCertificate>());
        assert_eq!(named::<OauthForm>(), read::<NewOauth>());
    }

    fn retry(given: Value) -> Option<RetryPolicy> {
        let Value::Object(given) = given else { panic!("an object") };
        Fields::new(given).finish().ok()
    }

    #[test]
    fn a_retry_policy_is_read_in_our_words_and_in_the_seeds() {
        let seeds = RetryPolicy::Exponential { max_attempts: 6, initial_delay_ms: 1_000, multiplier: 2.0 };
        for (given, read) in [
            (json!({"maxRetries": 5, "backoffMultiplier": 2, "initialDelayMs": 1000}), Some(seeds.clone())),
            (json!({"max_retries": 5, "backoff_multiplier": 2.0, "initial_delay_ms": 1000}), Some(seeds.clone())),
            (json!({"maxRetries": 5}), Some(seeds)),
            (json!({"preset": "fast"}), Some(RetryPolicy::Fast)),
            (json!({"delays": [1, 259_200]}), Some(RetryPolicy::Delays(vec![1, 259_200]))),
            (json!({"delays": []}), Some(RetryPolicy::Delays(vec![]))),
            (json!({}), None),
            (json!({"preset": "slow"}), None),
            (json!({"preset": "fast", "delays": [1]}), None),
            (json!({"preset": "fast", "maxRetries": 1}), None),
            (json!({"maxRetries": 5, "max_retries": 5}), None),
            (json!({"maxRetries": 21}), None),
            (json!({"backoffMultiplier": 0.5}), None),
            (json!({"backoffMultiplier": 11}), None),
            (json!({"initialDelayMs": 99}), None),
            (json!({"delays": [0]}), None),
            (json!({"delays": [259_201]}), None),
            (json!({"delays": vec![1; 21]}), None),
        ] {
            assert_eq!(retry(given.clone()), read, "{given}");
        }
    }
}
