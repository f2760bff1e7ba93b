//! Every metric of the control plane. No label has values that a client controls.

use std::time::Duration;

use clearway_config::{
    ErrorCode,
    egress::{self, v1},
};
use http::StatusCode;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::{
    egress::AttachedProxy,
    http::status_class,
    sync::{ProxyStatus, Report, Status},
};

/// The outcome of an attempt whose stream ended first.
const LOST: &str = "lost";

/// Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    seconds: HistogramVec,
    swept: IntCounterVec,
    events: IntCounter,
    mails: IntCounterVec,
    store_up: IntGauge,
    revision: IntGauge,
    proxies: IntGauge,
    proxies_connected: IntGauge,
    lag_max: IntGauge,
    proxies_elsewhere: IntGauge,
    proxies_away: IntGauge,
    proxies_fenced: IntGauge,
    quota_store_lost: IntGauge,
    egress_proxies: IntGauge,
    egress_in_flight: IntGauge,
    egress_attempts: IntCounterVec,
    egress_seconds: Histogram,
    first_attempt_seconds: Histogram,
    deliveries_pending: IntGauge,
    deliveries_overdue: IntGauge,
}

impl Metrics {
    pub fn new() -> Self {
        let requests = IntCounterVec::new(
            Opts::new("clearway_control_requests_total", "Requests answered, by route template and status class."),
            &["route", "status"],
        );
        let refusals = IntCounterVec::new(
            Opts::new("clearway_control_errors_total", "Errors answered, by code; store_unavailable counts database failures."),
            &["code"],
        );
        let seconds = HistogramVec::new(
            HistogramOpts::new("clearway_control_request_seconds", "Time to answer, by route template.")
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0]),
            &["route"],
        );
        let swept = IntCounterVec::new(
            Opts::new("clearway_control_swept_total", "Rows removed because their time was over, by kind."),
            &["kind"],
        );
        let events = IntCounter::new("clearway_control_events_accepted_total", "Events that services have emitted by the API.");
        let mails = IntCounterVec::new(
            Opts::new("clearway_control_mails_total", "Attempts to hand a mail to the mail server, by outcome."),
            &["outcome"],
        );
        let store_up = IntGauge::new("clearway_control_store_up", "1 while the database answers.");
        let revision = IntGauge::new("clearway_control_sync_revision", "The last revision that was published.");
        let proxies = IntGauge::new("clearway_control_sync_proxies", "Proxies heard of lately.");
        let proxies_connected = IntGauge::new("clearway_control_sync_proxies_connected", "Proxies attached to this process.");
        let lag_max = IntGauge::new(
            "clearway_control_sync_lag_revisions_max",
            "Revisions that the proxy furthest behind has not acknowledged.",
        );
        let proxies_elsewhere =
            IntGauge::new("clearway_control_sync_proxies_elsewhere", "Proxies attached to another control process.");
        let proxies_away = IntGauge::new(
            "clearway_control_sync_proxies_away",
            "Proxies heard of lately that are attached to no control process.",
        );
        let proxies_fenced = IntGauge::new(
            "clearway_control_sync_proxies_fenced",
            "Proxies heard of lately that refuse every request, because their auth lease has run out.",
        );
        let quota_store_lost = IntGauge::new(
            "clearway_control_sync_proxies_without_quota_store",
            "Proxies attached to this process that say they do not reach the store of quotas.",
        );
        let egress_proxies =
            IntGauge::new("clearway_control_egress_proxies", "Proxies attached to this process that take attempts at webhooks.");
        let egress_in_flight =
            IntGauge::new("clearway_control_egress_in_flight", "Attempts at webhooks that proxies have not answered yet.");
        let egress_attempts = IntCounterVec::new(
            Opts::new(
                "clearway_control_egress_attempts_total",
                "Attempts at webhooks that ended, by outcome: the class of the receiver's status, why there was none, or lost with the proxy's stream.",
            ),
            &["outcome"],
        );
        let egress_seconds = Histogram::with_opts(
            HistogramOpts::new("clearway_control_egress_seconds", "From an attempt given to a proxy to its answer.")
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 120.0]),
        );
        let first_attempt_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "clearway_control_webhook_first_attempt_seconds",
                "From the acceptance of an event to the beginning of a delivery's first attempt.",
            )
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0]),
        );
        let deliveries_pending = IntGauge::new(
            "clearway_control_webhook_deliveries_pending",
            "Deliveries that are not finished, counted up to 100,000.",
        );
        let deliveries_overdue = IntGauge::new(
            "clearway_control_webhook_overdue_seconds",
            "For how long the first due delivery has been due; 0 without one.",
        );
        let valid = "names and labels above are valid";
        let metrics = Self {
            registry: Registry::new(),
            requests: requests.expect(valid),
            refusals: refusals.expect(valid),
            seconds: seconds.expect(valid),
            swept: swept.expect(valid),
            events: events.expect(valid),
            mails: mails.expect(valid),
            store_up: store_up.expect(valid),
            revision: revision.expect(valid),
            proxies: proxies.expect(valid),
            proxies_connected: proxies_connected.expect(valid),
            lag_max: lag_max.expect(valid),
            proxies_elsewhere: proxies_elsewhere.expect(valid),
            proxies_away: proxies_away.expect(valid),
            proxies_fenced: proxies_fenced.expect(valid),
            quota_store_lost: quota_store_lost.expect(valid),
            egress_proxies: egress_proxies.expect(valid),
            egress_in_flight: egress_in_flight.expect(valid),
            egress_attempts: egress_attempts.expect(valid),
            egress_seconds: egress_seconds.expect(valid),
            first_attempt_seconds: first_attempt_seconds.expect(valid),
            deliveries_pending: deliveries_pending.expect(valid),
            deliveries_overdue: deliveries_overdue.expect(valid),
        };
        let all: [Box<dyn prometheus::core::Collector>; 22] = [
            Box::new(metrics.requests.clone()),
            Box::new(metrics.refusals.clone()),
            Box::new(metrics.seconds.clone()),
            Box::new(metrics.swept.clone()),
            Box::new(metrics.events.clone()),
            Box::new(metrics.mails.clone()),
            Box::new(metrics.store_up.clone()),
            Box::new(metrics.revision.clone()),
            Box::new(metrics.proxies.clone()),
            Box::new(metrics.proxies_connected.clone()),
            Box::new(metrics.lag_max.clone()),
            Box::new(metrics.proxies_elsewhere.clone()),
            Box::new(metrics.proxies_away.clone()),
            Box::new(metrics.proxies_fenced.clone()),
            Box::new(metrics.quota_store_lost.clone()),
            Box::new(metrics.egress_proxies.clone()),
            Box::new(metrics.egress_in_flight.clone()),
            Box::new(metrics.egress_attempts.clone()),
            Box::new(metrics.egress_seconds.clone()),
            Box::new(metrics.first_attempt_seconds.clone()),
            Box::new(metrics.deliveries_pending.clone()),
            Box::new(metrics.deliveries_overdue.clone()),
        ];
        for metric in all {
            metrics.registry.register(metric).expect("each name is registered once");
        }
        metrics
    }

    pub fn answered(&self, route: &str, status: StatusCode, code: Option<ErrorCode>, took: Duration) {
        self.requests.with_label_values(&[route, status_class(status)]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
        if let Some(code) = code {
            self.refusals.with_label_values(&[code.as_str()]).inc();
        }
    }

    pub fn swept(&self, kind: &str, rows: u64) {
        self.swept.with_label_values(&[kind]).inc_by(rows);
    }

    pub fn events_accepted(&self, count: usize) {
        self.events.inc_by(count as u64);
    }

    pub fn mailed(&self, outcome: &'static str) {
        self.mails.with_label_values(&[outcome]).inc();
    }

    pub fn store_up(&self, up: bool) {
        self.store_up.set(up.into());
    }

    /// How many deliveries are not finished, and for how long the first due one has been due.
    pub fn deliveries(&self, pending: i64, overdue_ms: i64) {
        self.deliveries_pending.set(pending);
        self.deliveries_overdue.set(overdue_ms.max(0) / 1_000);
    }

    /// A delivery's first attempt began so long after its event was accepted.
    pub fn first_attempt(&self, after_ms: i64) {
        self.first_attempt_seconds.observe(f64::from(i32::try_from(after_ms.max(0)).unwrap_or(i32::MAX)) / 1_000.0);
    }

    /// How far the proxies are, as of now.
    pub fn sync(&self, status: &Status) {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let lag_max = status.proxies.iter().map(|proxy| proxy.lag).max().unwrap_or(0);
        self.revision.set(status.revision.0);
        self.proxies.set(gauge(status.proxies.len()));
        self.proxies_connected.set(gauge(status.connected));
        self.lag_max.set(i64::try_from(lag_max).unwrap_or(i64::MAX));
        let count = |is: fn(&ProxyStatus) -> bool| gauge(status.proxies.iter().filter(|proxy| is(proxy)).count());
        self.proxies_elsewhere.set(count(|proxy| proxy.connected && !proxy.here));
        self.proxies_away.set(count(|proxy| !proxy.connected));
        self.proxies_fenced.set(count(ProxyStatus::is_fenced));
        let is_lost = |report: Report| report.quota_store.is_some_and(|store| !store.reached);
        let lost = status.proxies.iter().filter(|proxy| proxy.report.is_some_and(is_lost)).count();
        self.quota_store_lost.set(gauge(lost));
    }

    /// A proxy has answered for an attempt, so long after it was given it.
    pub fn attempted(&self, result: &v1::Result, took: Duration) {
        self.egress_attempts.with_label_values(&[egress::outcome(result)]).inc();
        self.egress_seconds.observe(took.as_secs_f64());
    }

    /// So many attempts were in flight at a proxy whose stream ended.
    pub fn attempts_lost(&self, count: usize) {
        self.egress_attempts.with_label_values(&[LOST]).inc_by(count as u64);
    }

    /// Who takes attempts, as of now.
    pub fn egress(&self, proxies: &[AttachedProxy]) {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.egress_proxies.set(gauge(proxies.len()));
        self.egress_in_flight.set(gauge(proxies.iter().map(|proxy| proxy.in_flight).sum()));
    }

    /// In Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, path::PathBuf};

    use prometheus::proto::MetricType;

    use super::*;

    /// Every metric, as the page of metrics shows it.
    fn table() -> String {
        let metrics = Metrics::new();
        metrics.answered("/api/v1/keys", StatusCode::OK, Some(ErrorCode::InternalError), Duration::ZERO);
        metrics.swept("idempotency", 1);
        metrics.attempts_lost(1);
        metrics.mailed("sent");
        let mut table = "| name | kind | labels | what it says |\n|---|---|---|---|\n".to_owned();
        for family in metrics.registry.gather() {
            let kind = match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::HISTOGRAM => "histogram",
                _ => "gauge",
            };
            let labels: Vec<_> = family.get_metric()[0].get_label().iter().map(|label| format!("`{}`", label.name())).collect();
            writeln!(table, "| `{}` | {kind} | {} | {} |", family.name(), labels.join(" "), family.help()).unwrap();
        }
        table
    }

    #[test]
    fn the_page_explains_every_metric_of_the_control_plane() {
        const BEGIN: &str = "<!-- control: generated -->\n";
        const END: &str = "<!-- /control -->\n";
        let page: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../docs/observability/metrics.md"].iter().collect();
        let text = std::fs::read_to_string(&page).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
        let (found, after) = rest.split_once(END).expect("the place ends");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&page, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
            return;
        }
        assert_eq!(found, table(), "`make generate` writes it anew");
        let declared = include_str!("metrics.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let declared = declared.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with("clearway_"));
        let forgotten: Vec<_> = declared.filter(|name| !table().contains(&format!("`{name}`"))).collect();
        assert!(forgotten.is_empty(), "{forgotten:?}");
    }
}
