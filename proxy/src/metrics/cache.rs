//! What is counted of the cache.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::register;

#[derive(Debug)]
pub(crate) struct CacheMetrics {
    answers: IntCounterVec,
    pub(crate) bytes: IntGauge,
    pub(crate) entries: IntGauge,
}

impl CacheMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register(registry, IntGauge::new(name, help).expect("a constant name"));
        let answers = Opts::new(
            "clearway_cache_answers_total",
            "Answers to requests that the cache was asked for, by route and result: hit, stale, revalidated, expired, miss, bypass.",
        );
        Self {
            answers: register(registry, IntCounterVec::new(answers, &["route", "result"]).expect("a constant name and labels")),
            bytes: gauge("clearway_cache_bytes", "Memory that kept answers take."),
            entries: gauge("clearway_cache_entries", "Answers that are kept."),
        }
    }

    pub(crate) fn answered(&self, route: &str, result: &'static str) {
        self.answers.with_label_values(&[route, result]).inc();
    }

    /// Forgets the routes that are no longer there.
    pub(super) fn retain(&self, gone: impl Iterator<Item = String>) {
        for route in gone {
            for result in ["hit", "stale", "revalidated", "expired", "miss", "bypass"] {
                // It may never have come to that.
                let _ = self.answers.remove_label_values(&[&route, result]);
            }
        }
    }
}
