//! Keys of issuers, fetched in the background and kept.
//!
//! A request reads what is there and never waits. One task looks at all of them; an issuer's keys are
//! fetched by one fetch at a time, ahead of their time, and sooner where a token names a key that is not
//! known, but never more often than the issuer's settings allow: whoever sends tokens with invented keys
//! cannot make the gateway ask more. While fetching fails the last keys stay, for a bounded time.

mod fetch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use clearway_config::settings::gateway::{
    Algorithm, Issuer,
    issuer::{KeyPlace, KeySource},
};
use clearway_filters::jwt::Jwks;
use parking_lot::Mutex;

use crate::{metrics::Metrics, routes::RouteFiles};

/// How often it is looked whether keys are to be fetched.
const LOOK: Duration = Duration::from_millis(100);
/// A file is read this often, whatever the settings say: it costs nobody anything.
const FILE_EVERY: Duration = Duration::from_secs(1);

/// One issuer's keys.
#[derive(Debug)]
pub(crate) struct KeyCache {
    name: String,
    source: KeySource,
    algorithms: Vec<Algorithm>,
    held: ArcSwapOption<Held>,
    wanted: AtomicBool,
    timing: Mutex<Timing>,
}

#[derive(Debug)]
struct Held {
    keys: Arc<Jwks>,
    fetched: Instant,
}

#[derive(Debug)]
struct Timing {
    running: bool,
    last: Option<Instant>,
    next: Option<Instant>,
    failures: u32,
}

/// Whether keys are to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    NotYet,
}

/// What a fetch came to.
#[derive(Debug)]
pub(crate) enum Fetched {
    Document(Vec<u8>),
    Failed(String),
}

impl KeyCache {
    pub(crate) fn new(issuer: &Issuer) -> Self {
        Self {
            name: issuer.name.clone(),
            source: issuer.keys.clone(),
            algorithms: issuer.algorithms.clone(),
            held: ArcSwapOption::empty(),
            wanted: AtomicBool::new(false),
            timing: Mutex::new(Timing { running: false, last: None, next: None, failures: 0 }),
        }
    }

    /// Whether it holds what an issuer of these settings needs.
    pub(crate) fn is_of(&self, issuer: &Issuer) -> bool {
        self.name == issuer.name && self.source == issuer.keys && self.algorithms == issuer.algorithms
    }

    /// `None` before the first fetch has succeeded, and when the last success is too long ago.
    pub(crate) fn current(&self) -> Option<Arc<Jwks>> {
        self.current_at(Instant::now())
    }

    pub(crate) fn current_at(&self, now: Instant) -> Option<Arc<Jwks>> {
        let held = self.held.load();
        let held = held.as_ref().filter(|held| now.saturating_duration_since(held.fetched) < self.source.stale_for)?;
        Some(held.keys.clone())
    }

    /// Whether `keys` are the current ones.
    pub(crate) fn are(&self, keys: &Arc<Jwks>) -> bool {
        self.current().is_some_and(|current| Arc::ptr_eq(&current, keys))
    }

    /// Asks for the keys to be fetched as soon as that is allowed.
    pub(crate) fn want(&self) {
        if !self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn due_at(&self, now: Instant) -> Due {
        let timing = self.timing.lock();
        let wanted = self.wanted.load(Ordering::Relaxed);
        let may = timing.last.is_none_or(|last| now >= last + self.source.refetch_after);
        let must = timing.next.is_none_or(|next| now >= next);
        if !timing.running && (must || (wanted && may)) { Due::Now } else { Due::NotYet }
    }

    /// Begins a fetch, unless one runs or none is due.
    fn begin(&self) -> bool {
        let now = Instant::now();
        if self.due_at(now) == Due::NotYet {
            return false;
        }
        let mut timing = self.timing.lock();
        timing.running = true;
        timing.last = Some(now);
        // Who wants keys from here on may want newer ones than this fetch brings.
        self.wanted.store(false, Ordering::Relaxed);
        true
    }

    /// Takes what a fetch came to; says whether it brought keys.
    pub(crate) fn finish(&self, fetched: Fetched) -> bool {
        let read = match fetched {
            Fetched::Document(json) => Jwks::read(&json, &self.algorithms).map_err(|fault| fault.to_string()),
            Fetched::Failed(why) => Err(why),
        };
        let now = Instant::now();
        let mut timing = self.timing.lock();
        timing.running = false;
        timing.last.get_or_insert(now);
        let every = match self.source.place {
            KeyPlace::Url { .. } => self.source.refresh,
            KeyPlace::File(_) => FILE_EVERY,
        };
        match read {
            Ok(keys) => {
                timing.failures = 0;
                // Ahead of time, and not at the same moment on every proxy.
                timing.next = Some(now + every.mul_f64(rand::random_range(0.8..1.0)));
                self.hold(keys, now);
                true
            }
            Err(why) => {
                let wait = self.source.refetch_after.min(every) * 2_u32.saturating_pow(timing.failures.min(10));
                timing.failures += 1;
                timing.next = Some(now + wait.min(every));
                let has_keys = self.held.load().is_some();
                tracing::warn!(issuer = self.name, why, has_keys, "keys of an issuer cannot be fetched");
                false
            }
        }
    }

    fn hold(&self, keys: Jwks, now: Instant) {
        let held = self.held.load();
        // What was verified by the same keys stays verified.
        let keys = match held.as_ref().filter(|held| *held.keys == keys) {
            Some(same) => same.keys.clone(),
            None => {
                tracing::info!(issuer = self.name, keys = keys.len(), "keys of an issuer fetched");
                Arc::new(keys)
            }
        };
        self.held.store(Some(Arc::new(Held { keys, fetched: now })));
    }
}

/// Ends when each issuer of the current routes has been asked for its keys, or `within` has passed. While [`keep`] runs.
pub(crate) async fn asked(routes: &RouteFiles, within: Duration) {
    let all_asked = async {
        let mut looks = tokio::time::interval(LOOK / 4);
        loop {
            looks.tick().await;
            let table = routes.current();
            if table.callers.key_caches().all(|cache| cache.timing.lock().next.is_some()) {
                return;
            }
        }
    };
    // A request that needs the others' keys is told that they are not there.
    let _ = tokio::time::timeout(within, all_asked).await;
}

/// Keeps the keys of the current routes' issuers fresh, for ever.
pub(crate) async fn keep(routes: Arc<RouteFiles>, metrics: Arc<Metrics>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for cache in routes.current().callers.key_caches().filter(|cache| cache.begin()) {
            let (cache, metrics) = (cache.clone(), metrics.clone());
            tokio::spawn(async move {
                let ok = cache.finish(fetch::fetch(&cache.source.place).await);
                metrics.jwks_fetched(&cache.name, ok);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(refetch_after_s: u64) -> KeyCache {
        let issuer = clearway_config::settings::gateway::IssuerSpec {
            name: "a".into(),
            issuer: "a".into(),
            audiences: vec!["api".into()],
            jwks_url: Some("https://a.example/keys".into()),
            algorithms: vec![Algorithm::EdDSA],
            account_claim: Some("org".into()),
            refetch_after: Some(Duration::from_secs(refetch_after_s)),
            ..Default::default()
        };
        KeyCache::new(&issuer.resolve().unwrap())
    }

    #[test]
    fn a_flood_of_unknown_keys_has_them_fetched_once_in_the_time_that_settings_say() {
        let cache = cache(10);
        assert!(cache.begin(), "the first fetch is due at once");
        let began = cache.timing.lock().last.unwrap();
        for _ in 0..1_000 {
            cache.want();
            assert!(!cache.begin(), "one at a time");
        }
        cache.finish(Fetched::Failed("refused".into()));
        cache.want();
        assert_eq!(cache.due_at(began + Duration::from_secs(9)), Due::NotYet);
        assert_eq!(cache.due_at(began + Duration::from_secs(11)), Due::Now);
    }

    #[test]
    fn keys_that_nobody_asks_for_are_fetched_ahead_of_their_time() {
        let cache = cache(10);
        assert!(cache.begin());
        let key = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}";
        assert!(cache.finish(Fetched::Document(key.into())));
        let now = Instant::now();
        assert_eq!(cache.due_at(now + Duration::from_secs(200)), Due::NotYet);
        assert_eq!(cache.due_at(now + Duration::from_secs(300)), Due::Now);
    }
}
