//! Attempts at webhooks that control has had posted from here.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use super::register;

#[derive(Debug)]
pub(crate) struct Egress {
    pub(crate) attached: IntGauge,
    pub(crate) in_flight: IntGauge,
    attempts: IntCounterVec,
    duration: Histogram,
}

/// The outcome of an attempt whose stream ended first.
const GIVEN_UP: &str = "given_up";

impl Egress {
    pub(super) fn new(registry: &Registry) -> Self {
        let valid = "a constant name";
        let gauge = |name, help| register(registry, IntGauge::new(name, help).expect(valid));
        let attempts = Opts::new(
            "clearway_egress_attempts_total",
            "Attempts at webhooks for control, by outcome: the class of the receiver's status, why there was none, or given_up with the stream.",
        );
        let duration =
            HistogramOpts::new("clearway_egress_attempt_duration_seconds", "How long attempts at webhooks for control took.")
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 120.0]);
        Self {
            attached: gauge("clearway_egress_attached", "1 while control has webhooks posted from here."),
            in_flight: gauge("clearway_egress_in_flight", "Attempts at webhooks for control that have not ended."),
            attempts: register(registry, IntCounterVec::new(attempts, &["outcome"]).expect(valid)),
            duration: register(registry, Histogram::with_opts(duration).expect(valid)),
        }
    }

    pub(crate) fn ended(&self, outcome: &'static str, took: Duration) {
        self.attempts.with_label_values(&[outcome]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// So many were in flight when their stream ended.
    pub(crate) fn gave_up(&self, count: usize) {
        self.attempts.with_label_values(&[GIVEN_UP]).inc_by(count as u64);
        self.in_flight.sub(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
