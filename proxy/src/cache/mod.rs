//! Answers that are kept and given out again: Pingora's cache, over a storage of our own in memory.
//!
//! What may be kept is decided by [`clearway_filters::cache`]; when it is asked is `gateway::caching`. Pingora has a
//! storage in memory too, but one for tests: nothing bounds it, and it hands out answers that are still coming. This
//! one holds whole answers only, and no more bytes than it is given; who is out of use longest goes first, by
//! Pingora's own LRU.

mod fill;
mod store;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use pingora::cache::{
    CacheKey,
    eviction::{EvictionManager as _, lru::Manager},
    lock::{CacheKeyLockImpl, CacheLock},
    predictor::Predictor,
};

use crate::gateway::Bodies;
pub(crate) use store::{Forget, Store};

/// Parts of the LRU, each with a lock of its own.
const SHARDS: usize = 16;
/// Answers that are kept at most, however small.
const ENTRIES_MAX: usize = 1_000_000;
/// How long one request may keep others waiting for what it fetches; then another one tries.
const FETCH_MAX: Duration = Duration::from_secs(30);
/// Answers that are remembered not to be kept, so that nobody waits for another's.
const UNKEPT_REMEMBERED: usize = 256;

/// What bounds the store.
pub(super) type Lru = Manager<SHARDS>;

/// Of one process. Pingora wants all of it for as long as the process lives.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    pub(crate) store: &'static Store,
    pub(crate) lru: &'static Lru,
    pub(crate) lock: &'static CacheKeyLockImpl,
    pub(crate) predictor: &'static Predictor<SHARDS>,
}

impl Cache {
    /// Holds `bytes_max` bytes; answers that are still coming are among `bodies`.
    pub(crate) fn new(bytes_max: u64, bodies: Arc<Bodies>) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let lru: &'static Lru = Box::leak(Box::new(Manager::with_capacity_and_watermark(bytes_max, 64, Some(ENTRIES_MAX))));
        Self {
            store: Box::leak(Box::new(Store::new(lru, bodies))),
            lru,
            lock: Box::leak(CacheLock::new_boxed(FETCH_MAX)),
            predictor: Box::leak(Box::new(Predictor::new(UNKEPT_REMEMBERED, None))),
        }
    }

    /// Bytes and answers that are held.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.lru.total_size(), self.lru.total_items())
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("held", &self.held()).finish_non_exhaustive()
    }
}

/// What an answer is kept under. Two keys are the same only where all their words are.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    /// All that tells answers apart, each word behind its length.
    words: Vec<u8>,
    /// Of which resource: what a change to it makes worthless, whoever asked for it and how.
    resource: u64,
    route: u64,
}

impl Words {
    pub(crate) fn new(store: &Store, route: &str, host: &str, path: &str) -> Self {
        Self { words: Vec::with_capacity(256), resource: store.resource(host, path), route: store.route(route) }
    }

    #[must_use]
    pub(crate) fn and(mut self, word: &[u8]) -> Self {
        self.words.extend_from_slice(&(word.len() as u64).to_be_bytes());
        self.words.extend_from_slice(word);
        self
    }

    pub(crate) fn key(self, store: &'static Store) -> CacheKey {
        let mut bin = [0; 16];
        bin[..8].copy_from_slice(&self.resource.to_be_bytes());
        bin[8..].copy_from_slice(&store.hash(&self.words).to_be_bytes());
        let mut key = CacheKey::new(self.words, "");
        // Of one resource all are in one part of the store; the words themselves are compared as well.
        key.set_primary_bin_override(bin);
        key.extensions.insert(store.ask(self.resource, self.route));
        key
    }
}
