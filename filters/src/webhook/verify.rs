//! Verifying, for whoever receives: the signature first, so that a clock is blamed only for a message that is right
//! otherwise.

use std::borrow::Cow;

use base64::Engine as _;
use http::{HeaderMap, HeaderName};
use ring::{
    hmac,
    signature::{ED25519, UnparsedPublicKey},
};

use super::{Change, Fault, HmacSecret, ID, SIGNATURE, TIMESTAMP, TOLERANCE_S, VerifyingSecret, is_message_id, secret::BASE64};

/// Signatures of one message that are looked at.
const SIGNATURES_MAX: usize = 32;

/// Whether any of `secrets` has signed this message, not more than [`TOLERANCE_S`] from `now_s`.
pub fn verify(headers: &HeaderMap, body: &[u8], secrets: &[VerifyingSecret], now_s: u64) -> Result<(), Fault> {
    let head = Head::read(headers)?;
    if secrets.is_empty() {
        return Err(Fault::NoSecret);
    }
    if !head.is_signed(body, secrets)? {
        return Err(why(&head, headers, body, secrets));
    }
    let (age_s, ahead_s) = (now_s.saturating_sub(head.timestamp_s), head.timestamp_s.saturating_sub(now_s));
    match () {
        () if age_s > TOLERANCE_S => Err(Fault::TooOld { age_s }),
        () if ahead_s > TOLERANCE_S => Err(Fault::TooNew { ahead_s }),
        () => Ok(()),
    }
}

/// Whether `value`, of an `X-<Brand>-Signature`, is that of the body. It says nothing about when it was made.
pub fn verify_brand(value: &[u8], body: &[u8], secrets: &[VerifyingSecret]) -> Result<(), Fault> {
    const NAME: &str = "X-<Brand>-Signature";
    let malformed = |why| Fault::Malformed { name: NAME, why };
    let hex = value.strip_prefix(b"sha256=").ok_or(malformed("it does not begin with sha256="))?;
    let signature = from_hex(hex).ok_or(malformed("64 hexadecimal digits are wanted behind sha256="))?;
    let right = |secret: &HmacSecret| hmac::verify(&hmac_key(secret), body, &signature).is_ok();
    match secrets.iter().any(|secret| matches!(secret, VerifyingSecret::Hmac(secret) if right(secret))) {
        true => Ok(()),
        false => Err(Fault::Mismatch),
    }
}

/// What a message says of itself.
struct Head<'h> {
    id: &'h str,
    timestamp: &'h str,
    timestamp_s: u64,
    signatures: Vec<(&'h str, &'h str)>,
}

impl<'h> Head<'h> {
    fn read(headers: &'h HeaderMap) -> Result<Self, Fault> {
        let malformed = |name, why| Err(Fault::Malformed { name, why });
        let id = text(headers, &ID, "webhook-id")?;
        if !is_message_id(id.as_bytes()) {
            return malformed("webhook-id", "1 to 128 visible characters without a dot are wanted");
        }
        let timestamp = text(headers, &TIMESTAMP, "webhook-timestamp")?;
        let digits = (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
        let Some(timestamp_s) = timestamp.parse().ok().filter(|_| digits) else {
            return malformed("webhook-timestamp", "seconds since 1970 are wanted, in digits");
        };
        let all = text(headers, &SIGNATURE, "webhook-signature")?;
        let signatures: Vec<_> = all.split(' ').filter_map(|one| one.split_once(',')).take(SIGNATURES_MAX).collect();
        if signatures.is_empty() {
            return malformed("webhook-signature", "signatures such as v1,<base64> are wanted, separated by spaces");
        }
        Ok(Self { id, timestamp, timestamp_s, signatures })
    }

    /// What is signed.
    fn message(&self, body: &[u8]) -> Vec<u8> {
        [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", body].concat()
    }

    /// An error: no signature is of a kind that any of the secrets verifies.
    fn is_signed(&self, body: &[u8], secrets: &[VerifyingSecret]) -> Result<bool, Fault> {
        let message = self.message(body);
        let mut looked = false;
        for secret in secrets {
            let version = version(secret);
            for (_, signature) in self.signatures.iter().filter(|(of, _)| *of == version) {
                looked = true;
                let Ok(signature) = BASE64.decode(signature) else { continue };
                if is_by(secret, &message, &signature) {
                    return Ok(true);
                }
            }
        }
        match secrets.first() {
            Some(secret) if !looked => Err(Fault::NoSuchVersion { wanted: version(secret) }),
            _ => Ok(false),
        }
    }
}

fn version(secret: &VerifyingSecret) -> &'static str {
    match secret {
        VerifyingSecret::Hmac(_) => "v1",
        VerifyingSecret::Ed25519(_) => "v1a",
    }
}

fn is_by(secret: &VerifyingSecret, message: &[u8], signature: &[u8]) -> bool {
    match secret {
        VerifyingSecret::Hmac(secret) => hmac::verify(&hmac_key(secret), message, signature).is_ok(),
        VerifyingSecret::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key.bytes()).verify(message, signature).is_ok(),
    }
}

fn hmac_key(secret: &HmacSecret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.bytes())
}

/// A header that stands once.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName, shown: &'static str) -> Result<&'h str, Fault> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Fault::Missing(shown))?;
    if values.next().is_some() {
        return Err(Fault::Malformed { name: shown, why: "it stands more than once" });
    }
    value.to_str().map_err(|_| Fault::Malformed { name: shown, why: "it is not ASCII" })
}

/// The fault of a message that is not signed right.
fn why(head: &Head<'_>, headers: &HeaderMap, body: &[u8], secrets: &[VerifyingSecret]) -> Fault {
    let brand = headers.iter().find(|(name, value)| is_brand(name) && value.as_bytes().starts_with(b"sha256="));
    if brand.is_some_and(|(_, value)| verify_brand(value.as_bytes(), body, secrets).is_ok()) {
        return Fault::HeadChanged;
    }
    for (change, before) in befores(body) {
        if head.is_signed(&before, secrets) == Ok(true) {
            return Fault::BodyChanged(change);
        }
    }
    Fault::Mismatch
}

fn is_brand(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-") && name.as_str().ends_with("-signature")
}

/// What a body may have been before software changed it that often does.
fn befores(body: &[u8]) -> impl Iterator<Item = (Change, Cow<'_, [u8]>)> {
    let trimmed = body.trim_ascii();
    let with_newline = || [body, b"\n"].concat();
    let crlf_to_lf = || {
        let mut out = Vec::with_capacity(body.len());
        for (at, byte) in body.iter().enumerate() {
            if !(*byte == b'\r' && body.get(at + 1) == Some(&b'\n')) {
                out.push(*byte);
            }
        }
        out
    };
    let compact = without_whitespace(body);
    [
        (Change::Padded, Cow::Borrowed(trimmed)),
        (Change::Rewritten, Cow::Owned(compact)),
        (Change::Trimmed, Cow::Owned(with_newline())),
        (Change::LineEnds, Cow::Owned(crlf_to_lf())),
    ]
    .into_iter()
}

/// JSON as it is written without any whitespace between its words.
fn without_whitespace(json: &[u8]) -> Vec<u8> {
    let (mut out, mut in_string, mut escaped) = (Vec::with_capacity(json.len()), false, false);
    for &byte in json {
        if in_string {
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}

fn from_hex(hex: &[u8]) -> Option<[u8; 32]> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let mut out = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(out)
}
