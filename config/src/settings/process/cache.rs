//! `[gateway.cache]`: what all kept answers together may take.

use bytesize::ByteSize;
use serde::Deserialize;

const SIZE_MIN: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Memory that answers are kept in, those of all routes with a cache. What is out of use longest makes room.
    pub size: ByteSize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { size: ByteSize::mib(64) }
    }
}

impl CacheSettings {
    /// What does not go together: the key to look at, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        (self.size.as_u64() < SIZE_MIN).then_some(("gateway.cache.size", "must be at least 1MiB"))
    }
}
