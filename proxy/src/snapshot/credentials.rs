//! The table of secrets: 80 bytes an entry, found by the first 8 bytes of the SHA-256 that is the key.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use clearway_config::{KeyHash, KeyId};

use super::{SlotCache, profile::Profile};

#[derive(Default)]
pub(super) struct Credentials {
    pub(super) map: papaya::HashMap<KeyHash, Credential, BuildHasherDefault<FirstEightBytes>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.map.len())
    }
}

/// One live secret of a key. Replaced whole, except for the two marks.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) key_id: KeyId,
    pub(super) profile: Arc<Profile>,
    expires_at: u64,
    /// Index into the accounts.
    pub(super) account: u32,
    pub(super) slot: SlotCache,
    /// The full snapshot that last named it; a later one sweeps it when it does not.
    generation: AtomicU32,
    pub(super) revoked: bool,
    /// Requests made with it must be signed, by a signing secret in the signers.
    pub(super) signs: bool,
}

/// In place of "never": no wire value reaches it and no clock does either.
const NEVER: u64 = u64::MAX;

impl Credential {
    pub(super) fn new(
        key_id: KeyId,
        profile: Arc<Profile>,
        expires_at: Option<u64>,
        account: u32,
        generation: u32,
        (revoked, signs): (bool, bool),
    ) -> Self {
        Self {
            key_id,
            profile,
            expires_at: expires_at.unwrap_or(NEVER),
            account,
            slot: SlotCache::default(),
            generation: AtomicU32::new(generation),
            revoked,
            signs,
        }
    }

    pub(super) fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at).filter(|&at| at != NEVER)
    }

    /// Whether both say the same; marks do not count.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key_id == other.key_id
            && Arc::ptr_eq(&self.profile, &other.profile)
            && self.expires_at == other.expires_at
            && self.account == other.account
            && self.revoked == other.revoked
            && self.signs == other.signs
    }

    pub(super) fn mark(&self, generation: u32) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }
}

/// A SHA-256 is as good a hash as any. Nobody outside chooses one: secrets are minted here.
#[derive(Debug, Default)]
pub(super) struct FirstEightBytes(u64);

impl Hasher for FirstEightBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some((first, _)) = bytes.split_first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_eighty_bytes() {
        assert_eq!(size_of::<(KeyHash, Credential)>(), 80);
    }
}
