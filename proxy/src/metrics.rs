//! Every metric of the proxy: names, labels, help. Nothing else in the crate names one.
//!
//! Labels take their values from settings and from our own enums: a client cannot make a series.
//! Handles are looked up once a route, so that a request costs a few atomic additions.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use clearway_config::ErrorCode;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};

/// Seconds; from what a loopback upstream takes to what clients give up at.
const BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Statuses with a cached handle; any other is looked up by label.
const COMMON: [u16; 12] = [200, 201, 204, 304, 400, 401, 403, 404, 429, 500, 502, 503];

/// The label of a request that reached no route.
const NO_ROUTE: &str = "none";

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    rejects: IntCounterVec,
    reject_handles: [OnceLock<IntCounter>; ErrorCode::ALL.len()],
    duration: HistogramVec,
    upstream: HistogramVec,
    unrouted: Arc<RouteMetrics>,
    pub(crate) in_flight: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) upstream_failures: IntCounterVec,
    pub(crate) access_log_dropped: IntCounter,
    pub(crate) access_log_errors: IntCounter,
    reloads: IntCounterVec,
    pub(crate) observed: Observed,
}

/// What is read from other parts just before a scrape.
#[derive(Debug)]
pub struct Observed {
    pub ledger_slots: IntGauge,
    pub ledger_in_flight: IntGauge,
    pub ledger_spool_days: IntGauge,
    pub snapshot_revision: IntGauge,
    pub snapshot_keys: IntGauge,
    pub sync_connected: IntGauge,
    pub lease_remaining: Gauge,
}

/// One route's handles.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    name: String,
    by_status: [OnceLock<IntCounter>; COMMON.len()],
    duration: OnceLock<Histogram>,
    upstream: OnceLock<Histogram>,
}

impl RouteMetrics {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            by_status: Default::default(),
            duration: OnceLock::new(),
            upstream: OnceLock::new(),
        })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let counters = |name, help, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels).expect("a constant name and labels"))
        };
        let histograms = |name, help| {
            let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            register(&registry, HistogramVec::new(opts, &["route"]).expect("a constant name and labels"))
        };
        let counter = |name, help| register(&registry, IntCounter::new(name, help).expect("a constant name"));
        let gauge = |name, help| register(&registry, IntGauge::new(name, help).expect("a constant name"));

        let rejects = counters("clearway_rejects_total", "Requests that the gateway refused, by error code.", &["code"]);
        Self {
            requests: counters("clearway_requests_total", "Requests answered, by route and status.", &["route", "status"]),
            rejects,
            reject_handles: [const { OnceLock::new() }; ErrorCode::ALL.len()],
            duration: histograms(
                "clearway_request_duration_seconds",
                "From the request's head to the end of the answer, by route.",
            ),
            upstream: histograms(
                "clearway_upstream_duration_seconds",
                "From the choice of an upstream to its answer's head, by route.",
            ),
            unrouted: RouteMetrics::new(NO_ROUTE),
            in_flight: gauge("clearway_requests_in_flight", "Requests being served."),
            connections: gauge("clearway_connections", "Open connections of clients."),
            upstream_failures: counters(
                "clearway_upstream_failures_total",
                "Attempts at an upstream that failed, by upstream and kind.",
                &["upstream", "kind"],
            ),
            access_log_dropped: counter("clearway_access_log_dropped_total", "Lines dropped because the log's queue was full."),
            access_log_errors: counter("clearway_access_log_errors_total", "Writes to the access log that failed."),
            reloads: counters("clearway_routes_reloads_total", "Changed routes files, by result.", &["result"]),
            observed: Observed {
                ledger_slots: gauge("clearway_ledger_slots", "Accounts and keys that the ledger counts."),
                ledger_in_flight: gauge("clearway_ledger_in_flight", "In-flight records in use."),
                ledger_spool_days: gauge("clearway_ledger_spool_days", "Days whose totals control has not acknowledged."),
                snapshot_revision: gauge("clearway_snapshot_revision", "The revision that requests are decided by."),
                snapshot_keys: gauge("clearway_snapshot_credentials", "Secrets that requests are looked up in."),
                sync_connected: gauge("clearway_sync_connected", "1 while the stream from control is open."),
                lease_remaining: register(
                    &registry,
                    Gauge::new("clearway_lease_remaining_seconds", "How long the auth lease still runs.")
                        .expect("a constant name"),
                ),
            },
            registry,
        }
    }

    /// An answered request; `None` reached no route.
    pub(crate) fn answered(&self, route: Option<&RouteMetrics>, status: u16, took: Duration, upstream: Option<Duration>) {
        let route = route.unwrap_or(&self.unrouted);
        match COMMON.iter().position(|&s| s == status) {
            Some(at) => route.by_status[at].get_or_init(|| self.requests_of(route, status)).inc(),
            None => self.requests_of(route, status).inc(),
        }
        let duration = route.duration.get_or_init(|| self.duration.with_label_values(&[&route.name]));
        duration.observe(took.as_secs_f64());
        if let Some(took) = upstream {
            let histogram = route.upstream.get_or_init(|| self.upstream.with_label_values(&[&route.name]));
            histogram.observe(took.as_secs_f64());
        }
    }

    fn requests_of(&self, route: &RouteMetrics, status: u16) -> IntCounter {
        self.requests.with_label_values(&[route.name.as_str(), status_text(status).as_str()])
    }

    pub(crate) fn rejected(&self, code: ErrorCode) {
        if let Some(at) = ErrorCode::ALL.iter().position(|c| *c == code) {
            self.reject_handles[at].get_or_init(|| self.rejects.with_label_values(&[code.as_str()])).inc();
        }
    }

    /// A request that Pingora could not parse; it has no route, no duration and no line in the access log.
    pub(crate) fn unreadable(&self, code: ErrorCode) {
        self.rejected(code);
        self.requests_of(&self.unrouted, code.status()).inc();
    }

    pub(crate) fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[if ok { "ok" } else { "refused" }]).inc();
    }

    pub(crate) fn upstream_failed(&self, upstream: &str, kind: &'static str) {
        self.upstream_failures.with_label_values(&[upstream, kind]).inc();
    }

    /// The exposition text.
    pub fn render(&self) -> String {
        // A series is created by its first use; these are wanted at zero.
        let _ = (self.reloads.with_label_values(&["ok"]), self.reloads.with_label_values(&["refused"]));
        let mut text = String::new();
        if let Err(e) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(error = %e, "metrics cannot be rendered");
        }
        text
    }
}

/// A status from outside 100 to 599 is an upstream's invention and shares one series.
fn status_text(status: u16) -> String {
    if (100..600).contains(&status) { status.to_string() } else { "other".to_owned() }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect("names in this file are distinct");
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_route_and_status_and_timed_by_route() {
        let metrics = Metrics::new();
        let route = RouteMetrics::new("orders");
        for status in [200, 200, 418, 999] {
            metrics.answered(Some(&route), status, Duration::from_millis(3), Some(Duration::from_millis(2)));
        }
        metrics.answered(None, 404, Duration::from_millis(1), None);
        metrics.rejected(ErrorCode::RouteNotFound);
        let text = metrics.render();
        for line in [
            r#"clearway_requests_total{route="orders",status="200"} 2"#,
            r#"clearway_requests_total{route="orders",status="418"} 1"#,
            r#"clearway_requests_total{route="orders",status="other"} 1"#,
            r#"clearway_requests_total{route="none",status="404"} 1"#,
            r#"clearway_rejects_total{code="route_not_found"} 1"#,
            r#"clearway_upstream_duration_seconds_count{route="orders"} 4"#,
            r#"clearway_routes_reloads_total{result="refused"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
