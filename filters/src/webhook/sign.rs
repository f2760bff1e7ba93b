//! Signing: every live secret signs, the newest first, so that a receiver that knows any of them can verify.

use base64::Engine as _;
use http::HeaderValue;
use ring::{hmac, signature::Ed25519KeyPair};

use super::{HmacSecret, KEYS_MAX, MalformedSecret, Seed, secret::BASE64};

/// `v1,` and 32 bytes in base64.
const V1_CHARS: usize = 3 + 44;
/// `v1a,` and 64 bytes in base64.
const V1A_CHARS: usize = 4 + 88;
/// `sha256=` and 32 bytes in hex.
const BRAND_CHARS: usize = 7 + 64;

/// A secret, ready to sign by.
pub struct SigningKey {
    hmac: hmac::Key,
    ed25519: Option<Ed25519KeyPair>,
    expires_at_ms: Option<u64>,
}

/// The secrets of a webhook.
#[derive(Debug)]
pub struct Signer {
    keys: Box<[SigningKey]>,
}

/// What is known of a message's signatures while its body comes in.
pub struct Signing<'s> {
    /// The live keys, and each one's HMAC so far.
    keys: Vec<(&'s SigningKey, hmac::Context)>,
    brand: hmac::Context,
    /// Id, timestamp and body so far; only where a key asks for `v1a`, which is made of the whole message at once.
    message: Option<Vec<u8>>,
}

/// Values of the two headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatures {
    /// Of `webhook-signature`.
    pub standard: HeaderValue,
    /// Of `X-<Brand>-Signature`.
    pub brand: HeaderValue,
}

impl SigningKey {
    /// `expires_at_ms`: from that moment on, in milliseconds since 1970 UTC, it signs nothing.
    pub fn new(secret: &HmacSecret, seed: Option<&Seed>, expires_at_ms: Option<u64>) -> Self {
        Self {
            hmac: hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()),
            ed25519: seed.map(|seed| Ed25519KeyPair::from_seed_unchecked(seed.bytes()).expect("every 32 bytes are a seed")),
            expires_at_ms,
        }
    }

    /// [`SigningKey::new`] of raw bytes; `seed` may be empty for none.
    pub fn from_slices(hmac: &[u8], seed: &[u8], expires_at_ms: Option<u64>) -> Result<Self, MalformedSecret> {
        let seed = match seed {
            [] => None,
            _ => Some(Seed::new(seed.try_into().map_err(|_| MalformedSecret::Length)?)),
        };
        Ok(Self::new(&HmacSecret::new(hmac)?, seed.as_ref(), expires_at_ms))
    }

    fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at| at > now_ms)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("expires_at_ms", &self.expires_at_ms).finish_non_exhaustive()
    }
}

impl Signer {
    /// `keys`: the newest first.
    pub fn new(keys: Vec<SigningKey>) -> Self {
        Self { keys: keys.into() }
    }

    /// Whether anything can be signed at this moment.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.keys.iter().any(|key| key.is_live(now_ms))
    }

    /// The beginning of a message's signatures; its body follows by [`Signing::update`]. `None` where no secret is live.
    pub fn begin(&self, id: &str, timestamp_s: u64, now_ms: u64) -> Option<Signing<'_>> {
        let live = self.keys.iter().filter(|key| key.is_live(now_ms)).take(KEYS_MAX);
        let mut keys: Vec<_> = live.map(|key| (key, hmac::Context::with_key(&key.hmac))).collect();
        let brand = keys.first()?.1.clone();
        let head = format!("{id}.{timestamp_s}.");
        for (_, context) in &mut keys {
            context.update(head.as_bytes());
        }
        let message = keys.iter().any(|(key, _)| key.ed25519.is_some()).then(|| head.into_bytes());
        Some(Signing { keys, brand, message })
    }

    /// A whole message's signatures; `None` where no secret is live.
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &[u8], now_ms: u64) -> Option<Signatures> {
        let mut signing = self.begin(id, timestamp_s, now_ms)?;
        signing.update(body);
        Some(signing.finish())
    }
}

impl Signing<'_> {
    /// Takes what follows of the body.
    pub fn update(&mut self, body: &[u8]) {
        self.brand.update(body);
        for (_, context) in &mut self.keys {
            context.update(body);
        }
        if let Some(message) = &mut self.message {
            message.extend_from_slice(body);
        }
    }

    /// The body has come to its end.
    pub fn finish(self) -> Signatures {
        let mut standard = String::with_capacity(self.keys.len() * (V1_CHARS + V1A_CHARS + 2));
        let mut add = |version: &str, signature: &[u8]| {
            if !standard.is_empty() {
                standard.push(' ');
            }
            standard.push_str(version);
            BASE64.encode_string(signature, &mut standard);
        };
        for (key, context) in self.keys {
            add("v1,", context.sign().as_ref());
            if let (Some(pair), Some(message)) = (&key.ed25519, &self.message) {
                add("v1a,", pair.sign(message).as_ref());
            }
        }
        let mut brand = String::with_capacity(BRAND_CHARS);
        brand.push_str("sha256=");
        push_hex(&mut brand, self.brand.sign().as_ref());
        let value = |text: String| HeaderValue::try_from(text).expect("base64 and hex are visible ASCII");
        Signatures { standard: value(standard), brand: value(brand) }
    }
}

impl std::fmt::Debug for Signing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

fn push_hex(to: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        to.push(char::from(DIGITS[usize::from(byte >> 4)]));
        to.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
}
