//! Nonces that proofs must carry where that is asked for (RFC 9449, 8 and 9): a proof that was made beforehand, for a moment that
//! was to come, has none that is good then.
//!
//! Nobody remembers a nonce. It is a MAC of the minute that it is given in, so that whoever has the key knows it: every process
//! of either plane takes what any other has given.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;

/// Seconds for which the same nonce is given.
const SLICE_S: u64 = 60;
/// Characters in a nonce: the 32 bytes of a MAC.
const CHARS: usize = 43;
/// Bytes in a key.
pub const NONCE_KEY_BYTES: usize = 32;

/// A nonce, in the characters of base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; CHARS]);

impl Nonce {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

/// What nonces are made by, and known again.
#[derive(Clone)]
pub struct Nonces([u8; NONCE_KEY_BYTES]);

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces(…)")
    }
}

impl Nonces {
    /// `None` where it is no key.
    pub fn new(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self)
    }

    /// The one to be given at `now_ms`.
    pub fn now(&self, now_ms: u64) -> Nonce {
        let tag = hmac::sign(&self.key(), &slice(now_ms).to_be_bytes());
        let mut text = [0; CHARS];
        URL_SAFE_NO_PAD.encode_slice(tag, &mut text).expect("32 bytes are 43 characters");
        Nonce(text)
    }

    /// Whether one was given within the last minute, or the one before. Clocks differ: that of the next is good, too.
    pub fn admit(&self, nonce: &str, now_ms: u64) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let now = slice(now_ms);
        let near = [now, now.saturating_sub(1), now.saturating_add(1)];
        near.iter().any(|slice| hmac::verify(&self.key(), &slice.to_be_bytes(), &tag).is_ok())
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

fn slice(now_ms: u64) -> u64 {
    now_ms / 1_000 / SLICE_S
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    #[test]
    fn a_nonce_is_good_for_a_minute_or_two_with_whoever_has_the_key() {
        let (one, same, other) = (Nonces::new(&[1; 32]).unwrap(), Nonces::new(&[1; 32]).unwrap(), Nonces::new(&[2; 32]).unwrap());
        let nonce = one.now(NOW_MS);
        assert_eq!((nonce.as_str().len(), nonce), (43, one.now(NOW_MS + 59_999)));
        assert_ne!(nonce, one.now(NOW_MS + 60_000));
        for near in [NOW_MS - 60_000, NOW_MS, NOW_MS + 119_999] {
            assert!(same.admit(nonce.as_str(), near), "{near}");
        }
        for far in [0, NOW_MS - 60_001, NOW_MS + 120_000, u64::MAX] {
            assert!(!same.admit(nonce.as_str(), far), "{far}");
        }
        assert!(!other.admit(nonce.as_str(), NOW_MS));
        for text in ["", "x", &nonce.as_str()[1..], &format!("{}=", nonce.as_str()), &nonce.as_str().to_lowercase()] {
            assert!(!one.admit(text, NOW_MS), "{text}");
        }
        assert!(Nonces::new(&[1; 31]).is_none());
        assert_eq!(format!("{one:?}"), "Nonces(…)");
    }
}
