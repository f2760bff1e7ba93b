//! What keys that require signatures sign by, found by the key's id. A table of its own: most keys sign nothing, and
//! their entries grow by nothing.

use std::sync::Arc;

use clearway_config::{KeyHash, KeyId};
use clearway_filters::signature::SECRET_BYTES;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// One secret of a key, and the signing secret beside it.
pub struct Signer {
    hash: KeyHash,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl Signer {
    /// The secret of the key that is rotated, revoked and ends together with the signing secret.
    pub fn hash(&self) -> &KeyHash {
        &self.hash
    }

    pub fn secret(&self) -> &[u8] {
        &*self.secret
    }
}

/// Never what it signs by.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// Changed by the writer alone; a key has few signers, as rotation bounds them.
#[derive(Default)]
pub(super) struct Signers {
    map: papaya::HashMap<KeyId, Arc<[Arc<Signer>]>>,
}

impl Signers {
    pub(super) fn of(&self, key: &KeyId) -> Option<Arc<[Arc<Signer>]>> {
        self.map.pin().get(key).cloned()
    }

    /// The signing secret beside the secret `hash` of a key.
    pub(super) fn beside(&self, key: &KeyId, hash: &KeyHash) -> Option<Arc<Signer>> {
        self.of(key)?.iter().find(|signer| signer.hash == *hash).cloned()
    }

    /// What is not 32 bytes is nothing: no signature is right then.
    pub(super) fn set(&self, key: KeyId, hash: KeyHash, secret: &[u8]) {
        let before = self.of(&key);
        let before = before.iter().flat_map(|signers| signers.iter());
        let held = before.clone().find(|signer| signer.hash == hash);
        if held.is_some_and(|held| held.secret.ct_eq(secret).into()) {
            return;
        }
        let others = before.filter(|signer| signer.hash != hash).cloned();
        let new = secret.try_into().ok().map(|secret| Arc::new(Signer { hash, secret: Zeroizing::new(secret) }));
        self.replace(key, others.chain(new).collect());
    }

    pub(super) fn remove(&self, key: KeyId, hash: &KeyHash) {
        if let Some(before) = self.of(&key) {
            self.replace(key, before.iter().filter(|signer| signer.hash != *hash).cloned().collect());
        }
    }

    fn replace(&self, key: KeyId, signers: Arc<[Arc<Signer>]>) {
        let map = self.map.pin();
        if signers.is_empty() {
            map.remove(&key);
        } else {
            map.insert(key, signers);
        }
    }
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signers({})", self.map.len())
    }
}
