//! Where answers are, by their keys. In parts, by resource: one lock finds all that is kept of a resource.

use std::{
    any::Any,
    collections::HashMap,
    hash::BuildHasher as _,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use pingora::{
    Error, ErrorType, Result,
    cache::{
        CacheEntryKey, CacheEntryKeyRef, CacheKey, CacheMeta, HitHandler, MissHandler, PurgeType, Storage,
        eviction::EvictionManager as _,
        key::{CacheHashKey as _, CompactCacheKey},
        storage::{HandleHit, PurgeOutcome, PurgeTarget},
        trace::SpanHandle,
    },
    http::ResponseHeader,
};

use super::{Lru, fill::Fill};
use crate::gateway::Bodies;

const PARTS: usize = 16;
/// Answers of one resource at most: by callers, headers and queries. Whoever asks for one more finds none kept.
const PER_RESOURCE_MAX: usize = 1024;
/// Besides its words and bytes, an answer takes about so many.
const ENTRY_BYTES: usize = 512;

/// An answer.
#[derive(Debug)]
pub(super) struct Entry {
    words: Vec<u8>,
    route: u64,
    head: ResponseHeader,
    body: Bytes,
    fresh_until: SystemTime,
    made: SystemTime,
    stale_while_revalidate_s: u32,
    stale_if_error_s: u32,
    weight: usize,
}

type Id = [u8; 16];

#[derive(Debug, Default)]
struct Part {
    entries: HashMap<Id, Entry, RandomState>,
    of_resource: HashMap<u64, Vec<Id>, RandomState>,
    asking: HashMap<u64, Vec<Weak<Asking>>, RandomState>,
}

/// What is not to be given out any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forget {
    Resource(u64),
    Route(u64),
}

/// A request that may bring an answer to be kept. It goes along with its key.
#[derive(Debug)]
pub(super) struct Asking {
    store: &'static Store,
    resource: u64,
    route: u64,
    /// What it asks for has been forgotten since: its answer may be of before.
    forgotten: AtomicBool,
}

impl Asking {
    pub(super) fn route(&self) -> u64 {
        self.route
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut part = self.store.part_of(self.resource).lock();
        if let Some(asking) = part.asking.get_mut(&self.resource) {
            asking.retain(|other| other.strong_count() > 0);
            if asking.is_empty() {
                part.asking.remove(&self.resource);
            }
        }
    }
}

pub(crate) struct Store {
    parts: [Mutex<Part>; PARTS],
    pub(super) bodies: Arc<Bodies>,
    lru: &'static Lru,
    hasher: RandomState,
}

impl Store {
    pub(super) fn new(lru: &'static Lru, bodies: Arc<Bodies>) -> Self {
        Self { parts: Default::default(), bodies, lru, hasher: RandomState::default() }
    }

    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    /// What is kept of a path, whatever its query.
    pub(crate) fn resource(&self, host: &str, path: &str) -> u64 {
        self.hasher.hash_one((host, path))
    }

    pub(crate) fn route(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    fn part(&self, id: Id) -> &Mutex<Part> {
        &self.parts[usize::from(id[7]) % PARTS]
    }

    /// Whether one more answer of that kind finds room.
    pub(crate) fn has_room(&self, key: &CacheKey) -> bool {
        let id = key.primary_bin();
        let part = self.part(id).lock();
        part.entries.contains_key(&id) || part.of_resource.get(&resource_of(id)).is_none_or(|all| all.len() < PER_RESOURCE_MAX)
    }

    /// Notes a request that may bring an answer to be kept.
    pub(super) fn ask(&'static self, resource: u64, route: u64) -> Arc<Asking> {
        let asking = Arc::new(Asking { store: self, resource, route, forgotten: false.into() });
        self.part_of(resource).lock().asking.entry(resource).or_default().push(Arc::downgrade(&asking));
        asking
    }

    /// Gives out nothing of this any more, not even what is under way. Says how many answers that were.
    pub(crate) fn forget(&self, what: Forget) -> usize {
        let ids: Vec<Id> = match what {
            Forget::Resource(resource) => forgotten(
                self.part_of(resource),
                |part| {
                    let asking = part.asking.get(&resource).into_iter().flatten().filter_map(Weak::upgrade).collect();
                    (part.of_resource.get(&resource).cloned().unwrap_or_default(), asking)
                },
                |_| true,
            ),
            Forget::Route(route) => {
                let of_route = |part: &Part| {
                    let ids = part.entries.iter().filter(|(_, entry)| entry.route == route).map(|(id, _)| *id).collect();
                    (ids, part.asking.values().flatten().filter_map(Weak::upgrade).collect())
                };
                self.parts.iter().flat_map(|part| forgotten(part, of_route, |asking| asking.route == route)).collect()
            }
        };
        ids.into_iter().filter(|id| self.remove(*id, true)).count()
    }

    fn part_of(&self, resource: u64) -> &Mutex<Part> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&resource.to_be_bytes());
        self.part(id)
    }

    fn remove(&self, id: Id, from_lru: bool) -> bool {
        let removed = self.part(id).lock().remove(id);
        if removed && from_lru {
            let key = CompactCacheKey { primary: id, ..CompactCacheKey::default() };
            self.lru.remove(CacheEntryKeyRef::from_entry_id(&key, None));
        }
        removed
    }

    /// Keeps an answer that is whole. `None`, where it has been forgotten since it was asked for; otherwise its weight.
    pub(super) fn keep(&self, id: Id, asking: &Asking, mut entry: Entry) -> Option<usize> {
        let headers = entry.head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        entry.weight = ENTRY_BYTES + entry.words.len() + headers + entry.body.len();
        let weight = entry.weight;
        let mut part = self.part(id).lock();
        if asking.forgotten.load(Ordering::Relaxed) {
            return None;
        }
        part.insert(id, entry);
        Some(weight)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Part {
    fn insert(&mut self, id: Id, entry: Entry) {
        if self.entries.insert(id, entry).is_none() {
            self.of_resource.entry(resource_of(id)).or_default().push(id);
        }
    }

    fn remove(&mut self, id: Id) -> bool {
        let removed = self.entries.remove(&id).is_some();
        if let Some(all) = self.of_resource.get_mut(&resource_of(id)) {
            all.retain(|other| *other != id);
            if all.is_empty() {
                self.of_resource.remove(&resource_of(id));
            }
        }
        removed
    }
}

/// Marks those who are asking for what is to be forgotten, and says what is there of it. `of` may name more who ask than
/// are meant: whoever it takes hold of is let go of here, where no lock is held.
fn forgotten(
    part: &Mutex<Part>,
    of: impl Fn(&Part) -> (Vec<Id>, Vec<Arc<Asking>>),
    is_meant: impl Fn(&Asking) -> bool,
) -> Vec<Id> {
    let guard = part.lock();
    let (ids, asking) = of(&guard);
    for asking in asking.iter().filter(|asking| is_meant(asking)) {
        asking.forgotten.store(true, Ordering::Relaxed);
    }
    // Before those who ask are let go of: the last one to do so takes the lock.
    drop(guard);
    ids
}

fn resource_of(id: Id) -> u64 {
    u64::from_be_bytes(id[..8].try_into().expect("eight bytes of sixteen"))
}

impl Entry {
    /// What it came to, when all of it is here.
    pub(super) fn complete(&mut self, body: Bytes) -> Result<()> {
        if self.head.status != http::StatusCode::NO_CONTENT {
            self.head.insert_header(http::header::CONTENT_LENGTH, body.len())?;
        }
        self.body = body;
        Ok(())
    }

    pub(super) fn new(key: &CacheKey, route: u64, meta: &CacheMeta, body: Bytes) -> Self {
        Self {
            words: key.primary_key().to_vec(),
            route,
            head: meta.response_header_copy(),
            body,
            fresh_until: meta.fresh_until(),
            made: meta.updated(),
            stale_while_revalidate_s: meta.stale_while_revalidate_sec(),
            stale_if_error_s: meta.stale_if_error_sec(),
            weight: 0,
        }
    }

    fn meta(&self) -> CacheMeta {
        CacheMeta::new(self.fresh_until, self.made, self.stale_while_revalidate_s, self.stale_if_error_s, self.head.clone())
    }
}

/// Who asks by this key.
pub(super) fn asking(key: &CacheKey) -> Result<Arc<Asking>> {
    let asking = key.extensions.get::<Arc<Asking>>().cloned();
    asking.ok_or_else(|| Error::explain(ErrorType::InternalError, "a key of somebody else's"))
}

#[async_trait]
impl Storage for Store {
    async fn lookup(&'static self, key: &CacheKey, _: &SpanHandle) -> Result<Option<(CacheMeta, HitHandler)>> {
        let id = key.primary_bin();
        let part = self.part(id).lock();
        let found = part.entries.get(&id).filter(|entry| entry.words == key.primary_key());
        Ok(found.map(|entry| {
            let hit: HitHandler = Box::new(Hit { body: Some(entry.body.clone()), weight: entry.weight });
            (entry.meta(), hit)
        }))
    }

    async fn get_miss_handler(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<MissHandler> {
        Ok(Box::new(Fill::new(self, key, meta)?))
    }

    async fn purge(&'static self, target: PurgeTarget<'_>, _: PurgeType, _: &SpanHandle) -> Result<PurgeOutcome> {
        if matches!(target, PurgeTarget::Exact(CacheEntryKey::Identified { .. })) {
            return Ok(PurgeOutcome::NotFound);
        }
        let removed = self.remove(target.key().primary, false);
        Ok(if removed { PurgeOutcome::Purged(None) } else { PurgeOutcome::NotFound })
    }

    async fn update_meta(&'static self, key: &CacheKey, meta: &CacheMeta, _: &SpanHandle) -> Result<bool> {
        let id = key.primary_bin();
        let mut part = self.part(id).lock();
        let found = part.entries.get_mut(&id).filter(|entry| entry.words == key.primary_key());
        Ok(found.is_some_and(|entry| {
            let fresh = Entry::new(key, entry.route, meta, entry.body.clone());
            *entry = Entry { weight: entry.weight, ..fresh };
            true
        }))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

/// An answer being given out.
struct Hit {
    body: Option<Bytes>,
    weight: usize,
}

#[async_trait]
impl HandleHit for Hit {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        Ok(self.body.take().filter(|body| !body.is_empty()))
    }

    async fn finish(self: Box<Self>, _: &'static (dyn Storage + Sync), _: &CacheKey, _: &SpanHandle) -> Result<()> {
        Ok(())
    }

    fn get_eviction_weight(&self) -> usize {
        self.weight
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }

    fn as_any_mut(&mut self) -> &mut (dyn Any + Send + Sync) {
        self
    }
}
