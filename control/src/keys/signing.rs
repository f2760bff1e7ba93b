//! The signing secrets of keys that require signatures: 32 random bytes beside each secret of the key.
//!
//! A signing secret is used by both sides, so it cannot be stored as a hash: it is stored sealed, and shown once.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clearway_config::{SecretId, seal::Unopened};
use clearway_filters::signature::SECRET_BYTES;
use zeroize::Zeroizing;

use crate::{
    secrets::{Purpose, Secrets},
    world::World,
};

const PURPOSE: Purpose = Purpose("key_secrets.signing_secret");

/// Never printed but by [`SigningSecret::reveal`].
pub struct SigningSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl SigningSecret {
    pub(super) fn mint(world: &World) -> Self {
        Self(Zeroizing::new(world.random()))
    }

    /// In base64: what is shown once. Signers use the bytes that it stands for.
    pub fn reveal(&self) -> String {
        STANDARD.encode(*self.0)
    }

    /// As it is stored beside the secret `of`.
    pub(super) fn sealed(&self, secrets: &Secrets, of: SecretId) -> Vec<u8> {
        secrets.seal(PURPOSE, &of.to_string(), &*self.0)
    }
}

/// The bytes of a signing secret that is stored beside the secret with this id.
pub(super) fn open(secrets: &Secrets, of: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    secrets.open(PURPOSE, of, sealed)
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}
