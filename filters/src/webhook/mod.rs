//! Signed webhooks: what a sender puts into the headers of a message, and what a receiver makes of it.
//!
//! The scheme is Standard Webhooks 1.0: HMAC-SHA256 (`v1`) or Ed25519 (`v1a`) over `id.timestamp.body`. Beside it every
//! message carries `X-<Brand>-Signature: sha256=<hex>`, the HMAC of the body alone, for receivers that know that older
//! form. Both are keyed by the same bytes: what stands behind `whsec_`, decoded from base64.
//!
//! [`Signer`] signs, also while a body is still coming in; [`verify()`] says whether a message is right and, where it is
//! not, what is wrong with it. Nothing here reads a clock or compares a secret in other than constant time.

mod fault;
mod secret;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

use http::HeaderName;

pub use fault::{Change, Fault};
pub use secret::{HmacSecret, MalformedSecret, PublicKey, Seed, VerifyingSecret};
pub use sign::{Signatures, Signer, Signing, SigningKey};
pub use verify::{verify, verify_brand};

/// The message's id: the same at every attempt, and what a receiver drops duplicates by.
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// When the attempt was signed, in seconds since 1970 UTC.
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Signatures, separated by spaces, each `<version>,<base64>`.
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How far a message's timestamp may be from the receiver's clock, in seconds, either way.
pub const TOLERANCE_S: u64 = 300;
/// Characters of a message's id at most.
pub const ID_CHARS_MAX: usize = 128;
/// Characters of a brand at most.
pub const BRAND_CHARS_MAX: usize = 32;
/// Secrets that sign one message at most; more are left out, the oldest first.
pub const KEYS_MAX: usize = 10;

/// The header in which a brand's signature of the body stands. `None` where `brand` is not made of letters, digits and
/// single inner hyphens, or too long.
pub fn brand_header(brand: &str) -> Option<HeaderName> {
    let words = brand.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()));
    if brand.len() > BRAND_CHARS_MAX || !words {
        return None;
    }
    HeaderName::try_from(format!("x-{}-signature", brand.to_ascii_lowercase())).ok()
}

/// Whether `id` can be a message's id: visible ASCII without a dot, which is what separates the parts that are signed.
pub fn is_message_id(id: &[u8]) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.iter().all(|b| b.is_ascii_graphic() && *b != b'.')
}
