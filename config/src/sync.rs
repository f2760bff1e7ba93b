//! The sync contract's messages (`proto/clearway/sync/v1/sync.proto`) and its mutual handshake.
//!
//! Both sides prove that they know the token of the data directory without sending it: each answers
//! the other's random nonce with an HMAC, under a label of its own so that no answer can be played
//! back to the side that asked.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits::{Limits, OutOfBounds};

/// The generated messages.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/clearway.sync.v1.rs"));
}

/// Bytes in a handshake nonce and in a shared token.
pub const NONCE_BYTES: usize = 32;

/// How often a proxy sends a heartbeat.
pub const HEARTBEAT_INTERVAL_MS: u64 = 1_000;

/// Credentials in one snapshot chunk at most; keeps a message well under gRPC's 4 MiB default.
pub const CHUNK_CREDENTIALS_MAX: usize = 1_000;

/// Totals in one usage batch at most.
pub const USAGE_BATCH_TOTALS_MAX: usize = 4_000;

/// Objects that a proxy names of those it refuses, at most.
pub const REFUSED_NAMED_MAX: usize = 64;

/// Characters of a reason at most.
pub const REFUSED_REASON_CHARS_MAX: usize = 200;

/// What control answers to a proxy's hello.
pub fn control_mac(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8]) -> [u8; 32] {
    mac_of(token, [b"clearway control", proxy_nonce, control_nonce])
}

/// What a proxy answers to control's challenge.
pub fn proxy_mac(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8]) -> [u8; 32] {
    mac_of(token, [b"clearway proxy", control_nonce, proxy_nonce])
}

/// Whether `got` is control's answer, in constant time.
pub fn verify_control(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8], got: &[u8]) -> bool {
    verify_mac(token, [b"clearway control", proxy_nonce, control_nonce], got)
}

/// Whether `got` is the proxy's answer, in constant time.
pub fn verify_proxy(token: &[u8], proxy_nonce: &[u8], control_nonce: &[u8], got: &[u8]) -> bool {
    verify_mac(token, [b"clearway proxy", control_nonce, proxy_nonce], got)
}

pub(crate) fn mac_of(token: &[u8], parts: [&[u8]; 3]) -> [u8; 32] {
    mac(token, parts).finalize().into_bytes().into()
}

/// In constant time.
pub(crate) fn verify_mac(token: &[u8], parts: [&[u8]; 3], got: &[u8]) -> bool {
    mac(token, parts).verify_slice(got).is_ok()
}

fn mac(token: &[u8], parts: [&[u8]; 3]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Without what nonces are made by.
impl fmt::Debug for v1::TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Without what it signs by.
impl fmt::Debug for v1::Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("key_id", &self.key_id)
            .field("account_id", &self.account_id)
            .field("revoked", &self.revoked)
            .field("expires_at", &self.expires_at)
            .field("require_signature", &self.require_signature)
            .finish_non_exhaustive()
    }
}

/// Without what they are.
impl fmt::Debug for v1::WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSecrets").field("signing", &self.signing).finish_non_exhaustive()
    }
}

/// Without what it signs by.
impl fmt::Debug for v1::WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSecret").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Without its key.
impl fmt::Debug for v1::Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<Limits> for v1::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            per_second: limits.per_second.map(u64::from),
            per_day: limits.per_day,
            per_month: limits.per_month,
            concurrent: limits.concurrent.map(u64::from),
            overage: limits.overage,
        }
    }
}

impl TryFrom<v1::Limits> for Limits {
    type Error = OutOfBounds;

    fn try_from(wire: v1::Limits) -> Result<Self, OutOfBounds> {
        Limits::new(wire.per_second, wire.per_day, wire.per_month, wire.concurrent, wire.overage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_accepts_only_the_other_sides_answer() {
        let (token, a, b) = ([7; 32], [1; 32], [2; 32]);
        assert!(verify_control(&token, &a, &b, &control_mac(&token, &a, &b)));
        assert!(verify_proxy(&token, &a, &b, &proxy_mac(&token, &a, &b)));

        let reflected = control_mac(&token, &a, &b);
        assert!(!verify_proxy(&token, &a, &b, &reflected), "an answer played back must not authenticate");
        assert!(!verify_control(&token, &b, &a, &reflected), "an answer holds for its own nonces only");
        assert!(!verify_control(&[8; 32], &a, &b, &reflected), "another token must not authenticate");
        assert!(!verify_control(&token, &a, &b, &reflected[..31]));
    }
}
