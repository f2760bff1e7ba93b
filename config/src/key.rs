//! API keys: `clw_live_` or `clw_test_`, 43 characters of base62 (256 random bits), 6 characters of
//! CRC32 over all before them.
//!
//! The checksum lets both planes refuse a typo or a truncated paste without a look-up, and lets a
//! secret scanner tell a real key from a look-alike. [`PlainKey`] exists only between the mint or
//! the request header and the hash: it cannot be printed, and forgets its bytes when dropped.
//! The prefix is matched by scanners outside Clearway: it may never change.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::base62;

const RANDOM_DIGITS: usize = 43;
const CHECKSUM_DIGITS: usize = 6;
/// Characters in a key: prefix, random part, checksum.
pub const KEY_CHARS: usize = 9 + RANDOM_DIGITS + CHECKSUM_DIGITS;
/// Characters of a key that may be shown again: prefix and the first four of the random part.
pub const SHOWN_CHARS: usize = 13;

/// Whether a key is meant for real traffic or for trying things out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Live,
    Test,
}

impl Environment {
    pub const fn as_str(self) -> &'static str {
        match self {
            Environment::Live => "live",
            Environment::Test => "test",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Environment::Live => "clw_live_",
            Environment::Test => "clw_test_",
        }
    }
}

/// A whole key in clear.
pub struct PlainKey(Zeroizing<[u8; KEY_CHARS]>);

/// Prefix, alphabet, length or checksum is not that of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Clearway key")]
pub struct MalformedKey;

impl PlainKey {
    /// Makes a key from 32 random bytes.
    pub fn mint(environment: Environment, random: [u8; 32]) -> Self {
        let mut text = Zeroizing::new([0; KEY_CHARS]);
        let (head, checksum) = text.split_at_mut(KEY_CHARS - CHECKSUM_DIGITS);
        head[..9].copy_from_slice(environment.prefix().as_bytes());
        head[9..].copy_from_slice(&base62::encode_256::<RANDOM_DIGITS>(random));
        checksum.copy_from_slice(&checksum_of(head));
        Self(text)
    }

    /// Checks form and checksum; costs no look-up and no hash.
    pub fn parse(text: &[u8]) -> Result<Self, MalformedKey> {
        let text: &[u8; KEY_CHARS] = text.try_into().map_err(|_| MalformedKey)?;
        let (head, checksum) = text.split_at(KEY_CHARS - CHECKSUM_DIGITS);
        let known = head.starts_with(b"clw_live_") || head.starts_with(b"clw_test_");
        // The checksum is no secret: it is there to be computed by anyone.
        if !known || !head[9..].iter().copied().all(base62::is_digit) || checksum != checksum_of(head) {
            return Err(MalformedKey);
        }
        Ok(Self(Zeroizing::new(*text)))
    }

    pub fn environment(&self) -> Environment {
        if self.0.starts_with(b"clw_live_") { Environment::Live } else { Environment::Test }
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_slice()).into())
    }

    /// The beginning that may be stored and shown, so that people can tell their keys apart.
    pub fn shown(&self) -> &str {
        &self.reveal()[..SHOWN_CHARS]
    }

    /// The key itself: for the one answer that shows it, never for a log.
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(self.0.as_slice()).expect("a key is ASCII")
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({}…)", self.environment().prefix())
    }
}

fn checksum_of(head: &[u8]) -> [u8; CHECKSUM_DIGITS] {
    base62::encode_u128(u128::from(crc32fast::hash(head)))
}

/// SHA-256 of a key: all that is stored. 256 random bits need no salt and no slow hash.
#[derive(Clone, Copy, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// `None` unless exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for KeyHash {
    fn hash<H: std::hash::Hasher>(&self, to: &mut H) {
        to.write(&self.0);
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_minted_key_parses_and_keeps_its_hash(random: [u8; 32], live: bool) {
            let environment = if live { Environment::Live } else { Environment::Test };
            let key = PlainKey::mint(environment, random);
            let parsed = PlainKey::parse(key.reveal().as_bytes()).unwrap();
            prop_assert_eq!(parsed.environment(), environment);
            prop_assert_eq!(parsed.hash(), key.hash());
        }

        #[test]
        fn one_changed_character_is_noticed_without_a_look_up(random: [u8; 32], at in 0..KEY_CHARS, to in b'!'..=b'~') {
            let mut text = PlainKey::mint(Environment::Live, random).reveal().as_bytes().to_vec();
            prop_assume!(text[at] != to);
            text[at] = to;
            prop_assert_eq!(PlainKey::parse(&text).unwrap_err(), MalformedKey);
        }

        #[test]
        fn a_cut_or_lengthened_key_is_malformed(random: [u8; 32], cut in 0..KEY_CHARS, tail in "[a-zA-Z0-9]{1,9}") {
            let key = PlainKey::mint(Environment::Test, random);
            prop_assert!(PlainKey::parse(&key.reveal().as_bytes()[..cut]).is_err());
            let longer = format!("{}{tail}", key.reveal());
            prop_assert!(PlainKey::parse(longer.as_bytes()).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = PlainKey::parse(&bytes);
        }
    }

    #[test]
    fn the_format_is_fixed_for_ever() {
        let key = PlainKey::mint(Environment::Live, [0xab; 32]);
        assert_eq!(key.reveal(), "clw_live_ehv1hsdOHPxDuX3xn9YyIKbgl4yJuySCWzdimD4heup05bP4T");
        assert_eq!(key.shown(), "clw_live_ehv1");
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let key = PlainKey::mint(Environment::Test, [1; 32]);
        assert_eq!(format!("{key:?} {:?}", key.hash()), "PlainKey(clw_test_…) KeyHash(…)");
    }
}
