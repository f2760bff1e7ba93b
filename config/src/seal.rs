//! Sealing: what both planes must be able to read again and nobody else may, such as signing secrets.
//!
//! AES-256-GCM under a key made for each sealing alone: HKDF (RFC 5869) of the sealing key, 32 random bytes
//! that are stored in front, and the context. So no nonce is ever used twice, however much one key seals. What
//! is sealed opens for its own context only: the context says what it is and whose, and is not stored.
//!
//! Where keys come from, and how long they are used, is for each plane to say.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use zeroize::Zeroizing;

/// Bytes in a key, and random bytes in front of what is sealed.
pub const KEY_BYTES: usize = 32;
/// The first byte of whatever is sealed: another way of sealing gets another.
const VERSION: u8 = 1;
/// What sealing adds to the bytes that are sealed.
pub const SEAL_BYTES: usize = 1 + KEY_BYTES + MAX_TAG_LEN;

/// Never printed; gone from memory when dropped.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; KEY_BYTES]>);

/// Sealed by another key, for another context, or changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is sealed does not open: another key, another place, or damage")]
pub struct Unopened;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {KEY_BYTES} bytes in base64")]
pub struct MalformedKey;

impl SealingKey {
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// As it stands in a file: what [`FromStr`] reads.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.0))
    }

    /// `fresh` must be random and is used once.
    pub fn seal(&self, context: &[u8], fresh: [u8; KEY_BYTES], plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(SEAL_BYTES + plain.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&fresh);
        let begin = sealed.len();
        sealed.extend_from_slice(plain);
        let tag = self
            .once(&fresh, context)
            .seal_in_place_separate_tag(no_nonce(), aad(context), &mut sealed[begin..])
            .expect("what is sealed is far below AES-GCM's 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(Unopened)?;
        let (fresh, sealed) = rest.split_first_chunk::<KEY_BYTES>().ok_or(Unopened)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let opened = self.once(fresh, context).open_in_place(no_nonce(), aad(context), &mut plain).map_err(|_| Unopened)?;
        let bytes = opened.len();
        plain.truncate(bytes);
        Ok(plain)
    }

    /// The key of one sealing.
    fn once(&self, fresh: &[u8; KEY_BYTES], context: &[u8]) -> LessSafeKey {
        let drawn = Salt::new(HKDF_SHA256, fresh).extract(&*self.0);
        let info = [context];
        let okm = drawn.expand(&info, &AES_256_GCM).expect("one key is less than HKDF gives");
        LessSafeKey::new(UnboundKey::from(okm))
    }
}

/// The key is used once, so its nonce need not differ from any other.
fn no_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn aad(context: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION], context].concat())
}

impl FromStr for SealingKey {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, MalformedKey> {
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| MalformedKey)?);
        bytes.as_slice().try_into().map(Self::new).map_err(|_| MalformedKey)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::new([byte; KEY_BYTES])
    }

    #[test]
    fn what_is_sealed_opens_for_its_key_and_context_only() {
        let sealed = key(1).seal(b"mine", [9; KEY_BYTES], b"plain");
        assert_eq!(sealed.len(), SEAL_BYTES + 5);
        assert_eq!(*key(1).open(b"mine", &sealed).unwrap(), b"plain");
        assert_eq!(key(2).open(b"mine", &sealed), Err(Unopened));
        assert_eq!(key(1).open(b"yours", &sealed), Err(Unopened));
        assert_eq!(*key(1).open(b"", &key(1).seal(b"", [8; KEY_BYTES], b"")).unwrap(), b"");
    }

    #[test]
    fn every_bit_of_it_counts() {
        let sealed = key(1).seal(b"mine", [9; KEY_BYTES], b"plain");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key(1).open(b"mine", &flipped), Err(Unopened), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(key(1).open(b"mine", &sealed[..len]), Err(Unopened), "{len} bytes");
        }
    }

    #[test]
    fn the_same_bytes_sealed_twice_look_unlike() {
        let [one, other] = [[1; KEY_BYTES], [2; KEY_BYTES]].map(|fresh| key(1).seal(b"", fresh, &[0; 64]));
        assert!(one[33..].iter().zip(&other[33..]).filter(|(a, b)| a == b).count() < 16);
    }

    #[test]
    fn a_key_is_32_bytes_in_base64_and_is_not_printed() {
        let text = key(7).reveal();
        assert_eq!(*text.parse::<SealingKey>().unwrap().0, [7; KEY_BYTES]);
        assert_eq!(format!("{:?}", key(7)), "SealingKey(…)");
        for wrong in ["", "AAAA", &text[1..], &format!("{}A", *text), "not base64, but of the length: forty-four...."] {
            assert_eq!(wrong.parse::<SealingKey>().err(), Some(MalformedKey), "{wrong}");
        }
    }
}
