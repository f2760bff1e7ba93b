//! Every metric of the proxy: names, labels, help. Nothing outside this folder names one.
//!
//! Labels take their values from settings and from our own enums: a client cannot make a series.
//! Handles are looked up once a route, so that a request costs a few atomic additions.

mod cache;
mod egress;
mod encryption;
pub(crate) mod latency;
mod lease;
pub(crate) mod openmetrics;
#[cfg(test)]
mod reference;
mod refused;
mod routes;
mod upstreams;

use std::sync::{Arc, OnceLock};

use clearway_config::ErrorCode;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector, proto::LabelPair};

use latency::Exemplar;
pub(crate) use latency::Traced;
pub(crate) use lease::LeaseMetrics;
pub(crate) use refused::Refused;
pub(crate) use routes::{Answered, ByRoute, Series};

/// The label of a request that reached no route.
const NO_ROUTE: &str = "none";

/// What a new process in the place of a running one came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpgradeResult {
    TakenOver,
    Failed,
}

impl UpgradeResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::TakenOver => "taken_over",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What is counted by route.
    pub(crate) routes: ByRoute,
    rejects: IntCounterVec,
    reject_handles: [OnceLock<IntCounter>; ErrorCode::ALL.len()],
    unrouted: Arc<RouteMetrics>,
    pub(crate) in_flight: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) connections_refused: refused::ConnectionsRefused,
    pub(crate) upstream_failures: IntCounterVec,
    pub(crate) upstreams: upstreams::Upstreams,
    pub(crate) access_log_dropped: IntCounter,
    pub(crate) access_log_errors: IntCounter,
    reloads: IntCounterVec,
    jwks_fetches: IntCounterVec,
    pub(crate) cache: cache::CacheMetrics,
    upgrades: IntCounterVec,
    pub(crate) egress: egress::Egress,
    pub(crate) encryption: encryption::Encryption,
    pub(crate) lease: Arc<LeaseMetrics>,
    pub(crate) spans_exported: IntCounter,
    pub(crate) spans_dropped: IntCounterVec,
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
    pub objects_refused: IntGauge,
    pub lease_remaining: Gauge,
    pub ledger_flush_age: Gauge,
    pub open_descriptors: IntGauge,
    pub descriptors_max: IntGauge,
    pub resident_bytes: IntGauge,
    pub started_s: IntGauge,
}

/// One route's numbers, found on its first request.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    name: String,
    series: OnceLock<Arc<Series>>,
}

impl RouteMetrics {
    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), series: OnceLock::new() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
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
        let counter = |name, help| register(&registry, IntCounter::new(name, help).expect("a constant name"));
        let gauge = |name, help| register(&registry, IntGauge::new(name, help).expect("a constant name"));

        let rejects = counters("clearway_rejects_total", "Requests that the gateway refused, by error code.", &["code"]);
        Self {
            routes: register(&registry, ByRoute::new()),
            rejects,
            reject_handles: [const { OnceLock::new() }; ErrorCode::ALL.len()],
            unrouted: RouteMetrics::new(NO_ROUTE),
            in_flight: gauge("clearway_requests_in_flight", "Requests being served."),
            connections: gauge("clearway_connections", "Open connections of clients."),
            connections_refused: refused::ConnectionsRefused::new(&registry),
            upstream_failures: counters(
                "clearway_upstream_failures_total",
                "Attempts at an upstream that failed, by upstream and kind.",
                &["upstream", "kind"],
            ),
            upstreams: upstreams::Upstreams::new(&registry),
            access_log_dropped: counter("clearway_access_log_dropped_total", "Lines dropped because the log's queue was full."),
            access_log_errors: counter("clearway_access_log_errors_total", "Writes to the access log that failed."),
            reloads: counters("clearway_routes_reloads_total", "Changed routes files, by result.", &["result"]),
            jwks_fetches: counters(
                "clearway_jwks_fetches_total",
                "Fetches of an issuer's keys, by issuer and result.",
                &["issuer", "result"],
            ),
            cache: cache::CacheMetrics::new(&registry),
            upgrades: counters(
                "clearway_upgrades_total",
                "New processes in the place of a running one, by result: in the new process, taken_over; in the old one, failed.",
                &["result"],
            ),
            egress: egress::Egress::new(&registry),
            encryption: encryption::Encryption::new(&registry),
            lease: Arc::new(LeaseMetrics::new(&registry)),
            spans_exported: counter("clearway_spans_exported_total", "Spans that the collector has taken."),
            spans_dropped: counters(
                "clearway_spans_dropped_total",
                "Spans that were lost: the queue was full, or the collector refused or could not be reached.",
                &["reason"],
            ),
            observed: Observed {
                ledger_slots: gauge("clearway_ledger_slots", "Accounts and keys that the ledger counts."),
                ledger_in_flight: gauge("clearway_ledger_in_flight", "In-flight records in use."),
                ledger_spool_days: gauge("clearway_ledger_spool_days", "Days whose totals control has not acknowledged."),
                snapshot_revision: gauge("clearway_snapshot_revision", "The revision that requests are decided by."),
                snapshot_keys: gauge("clearway_snapshot_credentials", "Secrets that requests are looked up in."),
                sync_connected: gauge("clearway_sync_connected", "1 while the stream from control is open."),
                objects_refused: gauge(
                    "clearway_gateway_objects_refused",
                    "Objects that control tells and this gateway does not act by; its own files come first. A change that is refused as a whole is one.",
                ),
                lease_remaining: register(
                    &registry,
                    Gauge::new("clearway_lease_remaining_seconds", "How long the auth lease still runs.")
                        .expect("a constant name"),
                ),
                ledger_flush_age: register(
                    &registry,
                    Gauge::new("clearway_ledger_flush_age_seconds", "Since what the ledger counted was last on disk.")
                        .expect("a constant name"),
                ),
                open_descriptors: gauge("process_open_fds", "File descriptors in use."),
                descriptors_max: gauge("process_max_fds", "File descriptors that the process may use."),
                resident_bytes: gauge("process_resident_memory_bytes", "Memory in use, the mapped ledger included."),
                started_s: gauge("process_start_time_seconds", "When the process started, in seconds since 1970."),
            },
            registry,
        }
    }

    /// An answered request; `None` reached no route.
    pub(crate) fn answered(&self, route: Option<&RouteMetrics>, answered: &Answered) {
        self.series(route.unwrap_or(&self.unrouted)).answered(answered);
    }

    fn series<'r>(&self, route: &'r RouteMetrics) -> &'r Series {
        route.series.get_or_init(|| self.routes.of(&route.name))
    }

    /// Forgets the routes that are no longer there.
    pub(crate) fn retain_routes(&self, is_route: impl Fn(&str) -> bool) {
        let gone = self.routes.all().into_iter().map(|(name, _)| name.to_string()).filter(|name| !is_route(name));
        self.cache.retain(gone);
        self.routes.retain(|name| name == NO_ROUTE || is_route(name));
    }

    pub(crate) fn rejected(&self, code: ErrorCode) {
        if let Some(at) = ErrorCode::ALL.iter().position(|c| *c == code) {
            self.reject_handles[at].get_or_init(|| self.rejects.with_label_values(&[code.as_str()])).inc();
        }
    }

    /// A request that Pingora could not parse; it has no route, no duration and no line in the access log.
    pub(crate) fn unreadable(&self, code: ErrorCode) {
        self.rejected(code);
        self.series(&self.unrouted).count(code.status());
    }

    pub(crate) fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[if ok { "ok" } else { "refused" }]).inc();
    }

    /// Keys of an issuer were fetched, or could not be.
    pub(crate) fn jwks_fetched(&self, issuer: &str, ok: bool) {
        self.jwks_fetches.with_label_values(&[issuer, if ok { "ok" } else { "failed" }]).inc();
    }

    /// This process took another's place, or another failed to take this one's.
    pub(crate) fn upgraded(&self, result: UpgradeResult) {
        self.upgrades.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn upstream_failed(&self, upstream: &str, kind: &'static str) {
        self.upstream_failures.with_label_values(&[upstream, kind]).inc();
    }

    pub(crate) fn spans_lost(&self, reason: LostSpans, spans: u64) {
        self.spans_dropped.with_label_values(&[reason.as_str()]).inc_by(spans);
    }

    /// Requests refused with this code so far.
    pub(crate) fn rejects_of(&self, code: ErrorCode) -> u64 {
        let at = ErrorCode::ALL.iter().position(|c| *c == code);
        at.and_then(|at| self.reject_handles[at].get()).map_or(0, IntCounter::get)
    }

    pub(crate) fn spans_lost_in_all(&self) -> u64 {
        LostSpans::ALL.iter().map(|reason| self.spans_dropped.with_label_values(&[reason.as_str()]).get()).sum()
    }

    /// The exposition text, Prometheus' own.
    pub fn render(&self) -> String {
        self.wanted_at_zero();
        let mut text = String::new();
        if let Err(e) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(error = %e, "metrics cannot be rendered");
        }
        text
    }

    /// The same as OpenMetrics, with traces for examples.
    pub fn render_open(&self) -> String {
        self.wanted_at_zero();
        openmetrics::encode(&self.registry.gather(), |family, labels, bucket| self.exemplar(family, labels, bucket))
    }

    fn exemplar(&self, family: &str, labels: &[LabelPair], bucket: usize) -> Option<Exemplar> {
        let series = self.routes.find(labels.first()?.value())?;
        match family {
            routes::DURATION => series.duration.exemplar(bucket),
            routes::UPSTREAM => series.upstream.exemplar(bucket),
            _ => None,
        }
    }

    /// A series is created by its first use; these are looked for before that.
    fn wanted_at_zero(&self) {
        for result in [UpgradeResult::TakenOver, UpgradeResult::Failed] {
            self.upgrades.with_label_values(&[result.as_str()]);
        }
        for result in ["ok", "refused"] {
            self.reloads.with_label_values(&[result]);
        }
        for reason in LostSpans::ALL {
            self.spans_dropped.with_label_values(&[reason.as_str()]);
        }
    }
}

/// Why spans did not reach the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LostSpans {
    /// Requests end faster than spans are sent.
    QueueFull,
    /// The collector could not be reached, or would not have them.
    NotTaken,
}

impl LostSpans {
    const ALL: [Self; 2] = [Self::QueueFull, Self::NotTaken];

    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NotTaken => "not_taken",
        }
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect("names in this file are distinct");
    metric
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answered(status: u16, traced: Option<Traced>) -> Answered {
        let (took, upstream) = (Duration::from_millis(3), Some(Duration::from_millis(2)));
        Answered { status, took, upstream, rejected: false, traced }
    }

    fn has_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|l| l == *line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_request_is_counted_by_route_and_status_and_timed_by_route() {
        let metrics = Metrics::new();
        let route = RouteMetrics::new("orders");
        for status in [200, 200, 418, 999] {
            metrics.answered(Some(&route), &answered(status, None));
        }
        metrics.answered(None, &Answered { upstream: None, ..answered(404, None) });
        metrics.rejected(ErrorCode::RouteNotFound);
        has_lines(
            &metrics.render(),
            &[
                r#"clearway_requests_total{route="orders",status="200"} 2"#,
                r#"clearway_requests_total{route="orders",status="418"} 1"#,
                r#"clearway_requests_total{route="orders",status="other"} 1"#,
                r#"clearway_requests_total{route="none",status="404"} 1"#,
                r#"clearway_rejects_total{code="route_not_found"} 1"#,
                r#"clearway_upstream_duration_seconds_bucket{route="orders",le="0.0025"} 4"#,
                r#"clearway_upstream_duration_seconds_bucket{route="orders",le="+Inf"} 4"#,
                r#"clearway_upstream_duration_seconds_sum{route="orders"} 0.008"#,
                r#"clearway_upstream_duration_seconds_count{route="orders"} 4"#,
                r#"clearway_routes_reloads_total{result="refused"} 0"#,
            ],
        );
        assert!(!metrics.render().contains(r#"clearway_upstream_duration_seconds_count{route="none"}"#));
    }

    #[test]
    fn open_metrics_name_a_trace_for_the_bucket_it_fell_into() {
        let metrics = Metrics::new();
        let route = RouteMetrics::new("a \"b\"");
        metrics.answered(Some(&route), &answered(200, None));
        metrics.answered(Some(&route), &answered(200, Some(Traced { trace_id: 0xabc, at_ms: 1_770_724_800_250 })));
        let text = metrics.render_open();
        has_lines(
            &text,
            &[
                "# TYPE clearway_requests counter",
                r#"clearway_requests_total{route="a \"b\"",status="200"} 2"#,
                "# TYPE clearway_request_duration_seconds histogram",
                r#"clearway_request_duration_seconds_bucket{route="a \"b\"",le="0.0025"} 0"#,
                r#"clearway_request_duration_seconds_bucket{route="a \"b\"",le="0.005"} 2 # {trace_id="00000000000000000000000000000abc"} 0.003 1770724800.250"#,
                r#"clearway_request_duration_seconds_bucket{route="a \"b\"",le="1.0"} 2"#,
                r#"clearway_request_duration_seconds_bucket{route="a \"b\"",le="+Inf"} 2"#,
                r#"clearway_request_duration_seconds_count{route="a \"b\""} 2"#,
                "clearway_requests_in_flight 0",
            ],
        );
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
        assert!(!metrics.render().contains("trace_id"), "the older text has no exemplars");
    }
}
