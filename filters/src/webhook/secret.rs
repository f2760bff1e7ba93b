//! Secrets as text: `whsec_` and 24 to 64 bytes for HMAC, `whsk_` and `whpk_` for the two halves of an Ed25519 pair, each
//! in base64.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Bytes that HMAC-SHA256 may be keyed by (Standard Webhooks).
const HMAC_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Characters of any secret's text at most.
const TEXT_CHARS_MAX: usize = 128;

const HMAC_PREFIX: &str = "whsec_";
const SEED_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// Padded when written; read with or without.
pub(super) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedSecret {
    #[error("a secret begins with whsec_, whpk_ or whsk_")]
    Prefix,
    #[error("what follows the prefix is not base64")]
    Base64,
    #[error("a whsec_ secret has 24 to 64 bytes, a whpk_ key 32, a whsk_ key 32 or 64")]
    Length,
    #[error("the two halves of the whsk_ key do not belong together")]
    Pair,
}

/// What HMAC-SHA256 is keyed by. Does not print.
#[derive(Clone)]
pub struct HmacSecret(Vec<u8>);

/// What an Ed25519 pair is made of. Does not print.
#[derive(Clone)]
pub struct Seed([u8; 32]);

/// What `v1a` signatures are verified by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// What a receiver verifies by.
#[derive(Debug, Clone)]
pub enum VerifyingSecret {
    Hmac(HmacSecret),
    Ed25519(PublicKey),
}

impl HmacSecret {
    pub fn new(bytes: &[u8]) -> Result<Self, MalformedSecret> {
        if HMAC_BYTES.contains(&bytes.len()) { Ok(Self(bytes.to_owned())) } else { Err(MalformedSecret::Length) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The one text of these bytes; for whoever may see the secret.
    pub fn reveal(&self) -> String {
        format!("{HMAC_PREFIX}{}", BASE64.encode(&self.0))
    }
}

impl Seed {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn public(&self) -> PublicKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.0).expect("every 32 bytes are a seed");
        PublicKey(pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes"))
    }

    /// Seed and public key, 64 bytes, as other senders write it; for whoever may see the secret.
    pub fn reveal(&self) -> String {
        format!("{SEED_PREFIX}{}", BASE64.encode([self.0, self.public().0].concat()))
    }
}

impl PublicKey {
    /// `None` unless exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", BASE64.encode(self.0))
    }
}

impl fmt::Debug for HmacSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSecret(…)")
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

fn decoded(text: &str, prefix: &str) -> Result<Vec<u8>, MalformedSecret> {
    let rest = text.strip_prefix(prefix).ok_or(MalformedSecret::Prefix)?;
    if rest.len() > TEXT_CHARS_MAX {
        return Err(MalformedSecret::Length);
    }
    BASE64.decode(rest).map_err(|_| MalformedSecret::Base64)
}

impl FromStr for HmacSecret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        Self::new(&decoded(text, HMAC_PREFIX)?)
    }
}

impl FromStr for Seed {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        let bytes = decoded(text, SEED_PREFIX)?;
        let (seed, public) = bytes.split_first_chunk::<32>().ok_or(MalformedSecret::Length)?;
        let seed = Self(*seed);
        match public.len() {
            0 => Ok(seed),
            32 if seed.public().0 == *public => Ok(seed),
            32 => Err(MalformedSecret::Pair),
            _ => Err(MalformedSecret::Length),
        }
    }
}

impl FromStr for PublicKey {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        Self::from_slice(&decoded(text, PUBLIC_PREFIX)?).ok_or(MalformedSecret::Length)
    }
}

/// Of any of the three forms: whoever has a private key can verify too.
impl FromStr for VerifyingSecret {
    type Err = MalformedSecret;

    fn from_str(text: &str) -> Result<Self, MalformedSecret> {
        if text.starts_with(PUBLIC_PREFIX) {
            text.parse().map(Self::Ed25519)
        } else if text.starts_with(SEED_PREFIX) {
            text.parse::<Seed>().map(|seed| Self::Ed25519(seed.public()))
        } else {
            text.parse().map(Self::Hmac)
        }
    }
}
