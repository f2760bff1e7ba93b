//! The parts of a webhook's settings that are objects themselves.

use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    super::super::{
        change::{NewCertificate, NewOauth},
        model::{OauthClient, OauthMethod, Timeouts},
        retry::{DELAY_S_MAX, RETRIES_MAX, RetryPolicy},
        target_url::URL_CHARS_MAX,
    },
    narrow,
};
use crate::http::{
    Fields, Form,
    fields::{Wrong, list, text},
};

/// Bytes of a chain, and of a private key, at most.
const CHAIN_BYTES_MAX: usize = 16 * 1024;
const KEY_BYTES_MAX: usize = 8 * 1024;
/// Characters of what a client calls itself, of its secret, and of a scope.
const OAUTH_CHARS_MAX: usize = 1_024;
const MULTIPLIER_MAX: f64 = 10.0;

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

fn method(value: &Value) -> Result<OauthMethod, Wrong> {
    match value.as_str() {
        Some("client_secret_basic") => Ok(OauthMethod::ClientSecretBasic),
        Some("client_secret_post") => Ok(OauthMethod::ClientSecretPost),
        _ => Err(("unknown", "must be client_secret_basic or client_secret_post".into())),
    }
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
    use serde_json::json;

    use super::*;

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
