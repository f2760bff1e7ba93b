//! A fleet's quotas, on this node. All of it is 0 where there is no store.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::register;
use crate::lease::Added;

#[derive(Debug)]
pub(crate) struct LeaseMetrics {
    pub(crate) store_up: IntGauge,
    pub(crate) members: IntGauge,
    pub(crate) excess_max: IntGauge,
    unspent: prometheus::IntGaugeVec,
    calls: IntCounterVec,
    granted: IntCounterVec,
    waits: IntCounterVec,
    wait: Histogram,
    refused: IntCounter,
}

impl LeaseMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let valid = "a constant name";
        let gauge = |name, help| register(registry, IntGauge::new(name, help).expect(valid));
        let counters =
            |name, help, labels: &[&str]| register(registry, IntCounterVec::new(Opts::new(name, help), labels).expect(valid));
        let wait = HistogramOpts::new("clearway_quota_wait_seconds", "How long requests waited for the store of quotas.")
            .buckets(vec![0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5]);
        let unspent = Opts::new("clearway_quota_unspent", "Requests that this node was granted and has not spent, by window.");
        Self {
            store_up: gauge("clearway_quota_store_up", "1 while the store of quotas answers; 0 without one."),
            members: gauge("clearway_quota_members", "Nodes of the fleet that the store of quotas has heard of lately."),
            excess_max: gauge(
                "clearway_quota_excess_max",
                "Requests that may have been admitted beyond limits at most, in days and months that still run: what plans let this node take while the store was lost.",
            ),
            unspent: register(registry, prometheus::IntGaugeVec::new(unspent, &["window"]).expect(valid)),
            calls: counters(
                "clearway_quota_calls_total",
                "Calls to the store of quotas, by what was called and how it was answered.",
                &["call", "result"],
            ),
            granted: counters(
                "clearway_quota_granted_total",
                "What the store has granted: requests of a second, a day and a month, requests a second (share), and slots.",
                &["kind"],
            ),
            waits: counters(
                "clearway_quota_waits_total",
                "Requests that this node held nothing for, by what came of it: answered, unanswered, or nothing, which was known.",
                &["result"],
            ),
            wait: register(registry, Histogram::with_opts(wait).expect(valid)),
            refused: register(
                registry,
                IntCounter::new(
                    "clearway_quota_refusals_total",
                    "Requests refused because the store of quotas could not be asked and their plan does not go on without it.",
                )
                .expect(valid),
            ),
        }
    }

    pub(crate) fn called(&self, call: &'static str, result: &'static str) {
        self.calls.with_label_values(&[call, result]).inc();
    }

    pub(crate) fn granted(&self, added: &Added) {
        let Added { day, month, tokens, share, slots } = *added;
        for (kind, more) in [("day", day), ("month", month), ("second", tokens), ("share", share), ("slots", slots)] {
            if more > 0 {
                self.granted.with_label_values(&[kind]).inc_by(more);
            }
        }
    }

    /// A request has waited for so long, or not at all.
    pub(crate) fn waited(&self, result: &'static str, waited: Option<Duration>) {
        self.waits.with_label_values(&[result]).inc();
        if let Some(waited) = waited {
            self.wait.observe(waited.as_secs_f64());
        }
    }

    pub(crate) fn refused_without_store(&self) {
        self.refused.inc();
    }

    pub(crate) fn unspent(&self, (day, month): (u64, u64)) {
        for (window, unspent) in [("day", day), ("month", month)] {
            self.unspent.with_label_values(&[window]).set(i64::try_from(unspent).unwrap_or(i64::MAX));
        }
    }
}
