//! What is counted by upstream. Labels are names and addresses from the settings.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::register;
use crate::upstreams::{BreakerState, UpstreamHealth};

#[derive(Debug)]
pub(crate) struct Upstreams {
    retries: IntCounterVec,
    budget_exhausted: IntCounterVec,
    ejections: IntCounterVec,
    breaker_opened: IntCounterVec,
    mirrored: IntCounterVec,
    target_up: IntGaugeVec,
    target_in_flight: IntGaugeVec,
    breaker_state: IntGaugeVec,
}

impl Upstreams {
    pub(super) fn new(registry: &Registry) -> Self {
        let counters = |name, help| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["upstream"]);
            register(registry, counters.expect("a constant name and labels"))
        };
        let gauges = |name, help, labels: &[&str]| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), labels).expect("a constant name and labels"))
        };
        Self {
            retries: counters("clearway_upstream_retries_total", "Requests that were tried again, by upstream."),
            budget_exhausted: counters(
                "clearway_upstream_retry_budget_exhausted_total",
                "Requests that were not tried again because the budget was used up, by upstream.",
            ),
            ejections: counters("clearway_upstream_ejections_total", "Targets left out for failing requests, by upstream."),
            breaker_opened: counters("clearway_upstream_breaker_opened_total", "How often the breaker opened, by upstream."),
            mirrored: register(
                registry,
                IntCounterVec::new(
                    Opts::new("clearway_mirror_requests_total", "Copies of requests, by upstream and what became of them."),
                    &["upstream", "result"],
                )
                .expect("a constant name and labels"),
            ),
            target_up: gauges(
                "clearway_upstream_target_up",
                "1 while a target is neither unhealthy nor ejected, by upstream and address.",
                &["upstream", "target"],
            ),
            target_in_flight: gauges(
                "clearway_upstream_target_in_flight",
                "Requests in flight at a target, by upstream and address.",
                &["upstream", "target"],
            ),
            breaker_state: gauges(
                "clearway_upstream_breaker_state",
                "0 closed, 1 half open, 2 open, by upstream.",
                &["upstream"],
            ),
        }
    }

    pub(crate) fn retried(&self, upstream: &str) {
        self.retries.with_label_values(&[upstream]).inc();
    }

    pub(crate) fn budget_exhausted(&self, upstream: &str) {
        self.budget_exhausted.with_label_values(&[upstream]).inc();
    }

    pub(crate) fn ejected(&self, upstream: &str) {
        self.ejections.with_label_values(&[upstream]).inc();
    }

    pub(crate) fn breaker_opened(&self, upstream: &str) {
        self.breaker_opened.with_label_values(&[upstream]).inc();
    }

    pub(crate) fn mirrored(&self, upstream: &str, result: &'static str) {
        self.mirrored.with_label_values(&[upstream, result]).inc();
    }

    /// How upstreams are just before a scrape. Those that are no more lose their series.
    pub(crate) fn observe(&self, upstreams: impl Iterator<Item = UpstreamHealth>) {
        self.target_up.reset();
        self.target_in_flight.reset();
        self.breaker_state.reset();
        for upstream in upstreams {
            let name = upstream.name.as_str();
            if let Some(state) = upstream.breaker {
                self.breaker_state.with_label_values(&[name]).set(match state {
                    BreakerState::Closed => 0,
                    BreakerState::HalfOpen => 1,
                    BreakerState::Open => 2,
                });
            }
            for target in upstream.targets {
                let address = target.address.to_string();
                self.target_up.with_label_values(&[name, &address]).set(i64::from(target.state.is_up()));
                self.target_in_flight.with_label_values(&[name, &address]).set(i64::from(target.in_flight));
            }
        }
    }
}
