//! Webhooks as this proxy posts to them: read once, when control tells of them, and found by their ids.
//!
//! One that cannot be read is not held at all, and one without its secrets is held without: nothing is posted to either.
//! What is posted, and to which addresses, is for `crate::egress` to say.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use clearway_config::{AccountId, WebhookId, settings::process::EgressSettings, sync::v1};
use http::{HeaderName, HeaderValue, Uri, uri::Scheme};
use zeroize::Zeroizing;

use crate::egress::Endpoint;

/// Bytes in the seed of an Ed25519 key.
pub const SEED_BYTES: usize = 32;
/// Bytes that HMAC-SHA256 is keyed by (Standard Webhooks).
const HMAC_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Where events are posted to, and how. Replaced as a whole when anything of it changes.
#[derive(Debug)]
pub struct Webhook {
    pub id: WebhookId,
    pub account: AccountId,
    /// `http` or `https`, with a host and without user information.
    pub url: Uri,
    /// Neither switched off by its owner nor disabled after failures.
    pub active: bool,
    /// What the signature of the older kind is called: `x-<brand>-signature`. `None` where there is no brand.
    pub brand_header: Option<HeaderName>,
    brand: Box<str>,
    /// The webhook's own, in the order in which they are sent.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    timeouts_ms: [u32; 3],
    /// PEM, the leaf first; empty where the receiver asks for none.
    pub client_certificate: Box<[u8]>,
    /// Where the receiver takes access tokens.
    pub oauth: Option<Oauth>,
    /// `None`: they could not be had, and nothing can be posted.
    pub secrets: Option<Secrets>,
    /// Made of all this when it is first posted to.
    endpoint: OnceLock<Endpoint>,
}

/// The client credentials grant (RFC 6749, 4.4), but for the secret.
#[derive(Debug)]
pub struct Oauth {
    /// As [`Webhook::url`].
    pub token_url: Uri,
    pub client_id: Box<str>,
    pub scope: Option<Box<str>>,
    /// `client_secret_post` instead of `client_secret_basic`.
    pub secret_in_body: bool,
}

/// Never printed; gone from memory when dropped.
pub struct Secrets {
    /// Newest first; [`Secrets::live`] are those that sign.
    signing: Box<[SigningSecret]>,
    authorization: Option<Zeroizing<String>>,
    /// PEM, of the client certificate; empty for none.
    pub client_key: Zeroizing<Vec<u8>>,
    pub oauth_client_secret: Zeroizing<String>,
}

/// One secret of a webhook.
pub struct SigningSecret {
    /// 24 to 64 bytes.
    pub hmac_key: Zeroizing<Vec<u8>>,
    /// `None` where the webhook asks for no `v1a`.
    pub ed25519_seed: Option<Zeroizing<[u8; SEED_BYTES]>>,
    /// Milliseconds since 1970; from then on it signs no more.
    pub expires_at: Option<u64>,
}

/// How long an attempt may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection and its TLS are there.
    pub connect: Duration,
    /// From the request sent to the first byte of the answer.
    pub first_byte: Duration,
    /// For the whole attempt.
    pub total: Duration,
}

impl Webhook {
    /// What posting to it takes.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.endpoint.get_or_init(|| Endpoint::of(self))
    }

    /// Its own where it says so, the settings' otherwise.
    pub fn timeouts(&self, settings: &EgressSettings) -> Timeouts {
        let [connect, first_byte, total] = self.timeouts_ms;
        let or = |ms: u32, default| if ms == 0 { default } else { Duration::from_millis(ms.into()) };
        Timeouts {
            connect: or(connect, settings.connect_timeout),
            first_byte: or(first_byte, settings.first_byte_timeout),
            total: or(total, settings.total_timeout),
        }
    }
}

impl Secrets {
    /// All of them, newest first, those that have expired meanwhile included.
    pub fn signing(&self) -> &[SigningSecret] {
        &self.signing
    }

    /// Those that sign at `now_ms`, newest first.
    pub fn live(&self, now_ms: u64) -> impl Iterator<Item = &SigningSecret> {
        self.signing.iter().filter(move |secret| secret.expires_at.is_none_or(|at| now_ms < at))
    }

    /// The value of `Authorization`, marked as what is not to be shown; `None` for none.
    pub fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.authorization.as_ref()?).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("signing", &self.signing).finish_non_exhaustive()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// All of them. Changed by the writer alone.
#[derive(Default)]
pub(super) struct Webhooks {
    map: papaya::HashMap<WebhookId, Held>,
}

struct Held {
    /// The whole snapshot that named it last.
    generation: u32,
    webhook: Arc<Webhook>,
}

impl Webhooks {
    pub(super) fn of(&self, id: &WebhookId) -> Option<Arc<Webhook>> {
        self.map.pin().get(id).map(|held| held.webhook.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it was understood. One that is not goes, rather than staying as it was before.
    pub(super) fn put(&self, wire: &v1::Webhook, generation: u32) -> bool {
        let Some(id) = WebhookId::from_slice(&wire.id) else { return false };
        match read(id, wire) {
            Ok(webhook) => {
                self.map.pin().insert(id, Held { generation, webhook: Arc::new(webhook) });
                true
            }
            Err(reason) => {
                tracing::error!(webhook.id = %id, reason, "webhook not understood");
                self.map.pin().remove(&id);
                false
            }
        }
    }

    pub(super) fn remove(&self, id: &[u8]) -> bool {
        let Some(id) = WebhookId::from_slice(id) else { return false };
        self.map.pin().remove(&id);
        true
    }

    /// Removes what the whole snapshot of this generation has not named.
    pub(super) fn retain(&self, generation: u32) {
        self.map.pin().retain(|_, held| held.generation == generation);
    }

    /// As the messages they came in, secrets and all, at most `max` at a time: for the disk, which seals them.
    pub(super) fn export<E>(&self, max: usize, mut write: impl FnMut(Vec<v1::Webhook>) -> Result<(), E>) -> Result<(), E> {
        let map = self.map.pin();
        let mut webhooks = map.values().map(|held| wire(&held.webhook));
        loop {
            let chunk: Vec<_> = webhooks.by_ref().take(max).collect();
            if chunk.is_empty() {
                return Ok(());
            }
            write(chunk)?;
        }
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhooks({})", self.map.len())
    }
}

fn read(id: WebhookId, wire: &v1::Webhook) -> Result<Webhook, &'static str> {
    let header = |header: &v1::Header| {
        let name = HeaderName::try_from(&header.name).map_err(|_| "a header's name is not one")?;
        let value = HeaderValue::from_str(&header.value).map_err(|_| "a header's value is not one")?;
        Ok::<_, &'static str>((name, value))
    };
    let brand_header = match wire.brand.as_str() {
        "" => None,
        brand => Some(HeaderName::try_from(format!("x-{brand}-signature")).map_err(|_| "its brand fits in no header")?),
    };
    Ok(Webhook {
        id,
        account: AccountId::from_slice(&wire.account_id).ok_or("its account has no id")?,
        url: read_url(&wire.url)?,
        active: wire.active,
        brand_header,
        brand: wire.brand.as_str().into(),
        headers: wire.headers.iter().map(header).collect::<Result<_, _>>()?,
        timeouts_ms: [wire.connect_timeout_ms, wire.first_byte_timeout_ms, wire.total_timeout_ms],
        client_certificate: wire.client_certificate.as_slice().into(),
        oauth: wire.oauth.as_ref().map(read_oauth).transpose()?,
        secrets: wire.secrets.as_ref().map(read_secrets).transpose()?,
        endpoint: OnceLock::new(),
    })
}

fn read_url(text: &str) -> Result<Uri, &'static str> {
    let url: Uri = text.parse().map_err(|_| "its URL is not one")?;
    if !url.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS) {
        return Err("its URL is neither http nor https");
    }
    match url.authority() {
        Some(authority) if !authority.host().is_empty() && !authority.as_str().contains('@') => Ok(url),
        _ => Err("its URL names no host, or a user"),
    }
}

fn read_oauth(wire: &v1::OauthClient) -> Result<Oauth, &'static str> {
    Ok(Oauth {
        token_url: read_url(&wire.token_url)?,
        client_id: wire.client_id.as_str().into(),
        scope: wire.scope.as_deref().map(Into::into),
        secret_in_body: wire.secret_in_body,
    })
}

fn read_secrets(wire: &v1::WebhookSecrets) -> Result<Secrets, &'static str> {
    let signing = |wire: &v1::WebhookSecret| {
        if !HMAC_KEY_BYTES.contains(&wire.hmac_key.len()) {
            return Err("a secret is not of 24 to 64 bytes");
        }
        let ed25519_seed = match wire.ed25519_seed.as_slice() {
            [] => None,
            seed => Some(Zeroizing::new(seed.try_into().map_err(|_| "a seed is not of 32 bytes")?)),
        };
        Ok(SigningSecret { hmac_key: Zeroizing::new(wire.hmac_key.clone()), ed25519_seed, expires_at: wire.expires_at })
    };
    let authorization = (!wire.authorization.is_empty()).then(|| Zeroizing::new(wire.authorization.clone()));
    if authorization.as_ref().is_some_and(|value| HeaderValue::from_str(value).is_err()) {
        return Err("its authorization fits in no header");
    }
    Ok(Secrets {
        signing: wire.signing.iter().map(signing).collect::<Result<_, _>>()?,
        authorization,
        client_key: Zeroizing::new(wire.client_key.clone()),
        oauth_client_secret: Zeroizing::new(wire.oauth_client_secret.clone()),
    })
}

fn wire(webhook: &Webhook) -> v1::Webhook {
    let header = |(name, value): &(HeaderName, HeaderValue)| v1::Header {
        name: name.as_str().to_owned(),
        value: value.to_str().unwrap_or_default().to_owned(),
    };
    let [connect_timeout_ms, first_byte_timeout_ms, total_timeout_ms] = webhook.timeouts_ms;
    v1::Webhook {
        id: webhook.id.to_vec(),
        account_id: webhook.account.to_vec(),
        url: webhook.url.to_string(),
        active: webhook.active,
        brand: webhook.brand.to_string(),
        headers: webhook.headers.iter().map(header).collect(),
        connect_timeout_ms,
        first_byte_timeout_ms,
        total_timeout_ms,
        client_certificate: webhook.client_certificate.to_vec(),
        oauth: webhook.oauth.as_ref().map(|oauth| v1::OauthClient {
            token_url: oauth.token_url.to_string(),
            client_id: oauth.client_id.to_string(),
            scope: oauth.scope.as_ref().map(ToString::to_string),
            secret_in_body: oauth.secret_in_body,
        }),
        secrets: webhook.secrets.as_ref().map(|secrets| v1::WebhookSecrets {
            signing: secrets
                .signing
                .iter()
                .map(|secret| v1::WebhookSecret {
                    hmac_key: secret.hmac_key.to_vec(),
                    ed25519_seed: secret.ed25519_seed.as_ref().map(|seed| seed.to_vec()).unwrap_or_default(),
                    expires_at: secret.expires_at,
                })
                .collect(),
            authorization: secrets.authorization.as_ref().map(|value| value.to_string()).unwrap_or_default(),
            client_key: secrets.client_key.to_vec(),
            oauth_client_secret: secrets.oauth_client_secret.to_string(),
        }),
        sealed_secrets: Vec::new(),
    }
}

#[cfg(test)]
pub(super) mod tests;
