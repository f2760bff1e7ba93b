//! What is counted by route: statuses, errors and times, made when a route is first used.
//!
//! A route's numbers are found once by name and then kept with the route, so that a request costs a few
//! additions. A route that is gone takes its series with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::latency::{BOUNDS, Latency, Traced};
use crate::status::Sample;

pub(super) const REQUESTS: &str = "clearway_requests_total";
pub(super) const DURATION: &str = "clearway_request_duration_seconds";
pub(super) const UPSTREAM: &str = "clearway_upstream_duration_seconds";

/// Statuses with a place of their own; room for any other is made when one comes.
const COMMON: [u16; 24] =
    [101, 200, 201, 202, 204, 206, 301, 302, 304, 308, 400, 401, 403, 404, 405, 409, 413, 422, 429, 499, 500, 502, 503, 504];
/// 100 to 599, and one for what is outside: an upstream's inventions share it.
const RARE: usize = 501;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// To the head of the upstream's answer.
    pub(crate) upstream: Option<Duration>,
    /// The gateway refused it, or failed at it.
    pub(crate) rejected: bool,
    /// Present where its spans are recorded.
    pub(crate) traced: Option<Traced>,
}

/// One route's numbers.
#[derive(Debug, Default)]
pub(crate) struct Series {
    common: [AtomicU64; COMMON.len()],
    rare: OnceLock<Box<[AtomicU64; RARE]>>,
    /// Answers of 500 and above, whoever gave them.
    pub(crate) errors: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) duration: Latency,
    pub(crate) upstream: Latency,
    /// The two latest notes of these counts; no request touches them.
    pub(crate) samples: Mutex<[Sample; 2]>,
}

impl Series {
    pub(super) fn answered(&self, answered: &Answered) {
        self.count(answered.status);
        if answered.status >= 500 {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if answered.rejected {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        self.duration.observe(answered.took, answered.traced);
        if let Some(took) = answered.upstream {
            self.upstream.observe(took, answered.traced);
        }
    }

    pub(super) fn count(&self, status: u16) {
        let counter = match COMMON.binary_search(&status) {
            Ok(at) => &self.common[at],
            Err(_) => {
                let rare = self.rare.get_or_init(|| Box::new([const { AtomicU64::new(0) }; RARE]));
                &rare[if (100..600).contains(&status) { usize::from(status) - 100 } else { RARE - 1 }]
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Statuses that were answered, and how often.
    fn statuses(&self) -> Vec<(String, u64)> {
        let common = COMMON.iter().zip(&self.common).map(|(status, n)| (status.to_string(), n));
        let rare = self.rare.get().into_iter().flat_map(|rare| rare.iter().enumerate());
        let rare = rare.map(|(at, n)| (if at == RARE - 1 { "other".to_owned() } else { (at + 100).to_string() }, n));
        common.chain(rare).map(|(status, n)| (status, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0).collect()
    }
}

/// Every route's numbers by its name; shared with the registry that collects them.
#[derive(Debug, Clone)]
pub(crate) struct ByRoute {
    series: Arc<RwLock<BTreeMap<Arc<str>, Arc<Series>>>>,
    descs: Arc<[Desc]>,
}

impl ByRoute {
    pub(super) fn new() -> Self {
        let desc = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new()).expect("a constant name and labels")
        };
        let descs = [
            desc(REQUESTS, "Requests answered, by route and status.", &["route", "status"]),
            desc(DURATION, "From the request's head to the end of the answer, by route.", &["route"]),
            desc(UPSTREAM, "From the choice of an upstream to its answer's head, by route.", &["route"]),
        ];
        Self { series: Arc::default(), descs: descs.into() }
    }

    /// The numbers of the route of this name, made if there are none.
    pub(super) fn of(&self, route: &str) -> Arc<Series> {
        if let Some(series) = self.find(route) {
            return series;
        }
        self.series.write().entry(route.into()).or_default().clone()
    }

    pub(super) fn find(&self, route: &str) -> Option<Arc<Series>> {
        self.series.read().get(route).cloned()
    }

    /// Lets go of the routes that are not kept.
    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.series.write().retain(|name, _| keep(name));
    }

    /// Of the routes that were used, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Arc<Series>)> {
        self.series.read().iter().map(|(name, series)| (name.clone(), series.clone())).collect()
    }
}

impl Collector for ByRoute {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.all();
        let requests = all.iter().flat_map(|(route, series)| {
            series.statuses().into_iter().map(move |(status, n)| {
                let mut metric = Metric::from_label(vec![label("route", route), label("status", &status)]);
                let mut counter = Counter::default();
                counter.set_value(n as f64);
                metric.set_counter(counter);
                metric
            })
        });
        let times = |which: fn(&Series) -> &Latency| {
            let used = all.iter().map(|(route, series)| (route, which(series).counts())).filter(|(_, c)| c.total() > 0);
            used.map(|(route, counts)| {
                let mut metric = Metric::from_label(vec![label("route", route)]);
                let mut below = 0;
                let buckets = BOUNDS.iter().zip(counts.buckets).map(|(bound, n)| {
                    below += n;
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(*bound);
                    bucket.set_cumulative_count(below);
                    bucket
                });
                let mut histogram = Histogram::default();
                histogram.set_bucket(buckets.collect());
                histogram.set_sample_count(counts.total());
                histogram.set_sample_sum(counts.sum_ns as f64 / 1e9);
                metric.set_histogram(histogram);
                metric
            })
            .collect::<Vec<_>>()
        };
        let families = [
            (MetricType::COUNTER, requests.collect()),
            (MetricType::HISTOGRAM, times(|s| &s.duration)),
            (MetricType::HISTOGRAM, times(|s| &s.upstream)),
        ];
        let families = self.descs.iter().zip(families).filter(|(_, (_, metrics))| !metrics.is_empty());
        families
            .map(|(desc, (kind, metrics))| {
                let mut family = MetricFamily::default();
                family.set_name(desc.fq_name.clone());
                family.set_help(desc.help.clone());
                family.set_field_type(kind);
                family.set_metric(metrics);
                family
            })
            .collect()
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_counted_under_its_number_and_inventions_share_one_series() {
        assert!(COMMON.is_sorted(), "they are searched");
        let series = Series::default();
        for status in [200, 200, 418, 599, 999, 0, 100] {
            series.count(status);
        }
        let expected = [("200", 2), ("100", 1), ("418", 1), ("599", 1), ("other", 2)];
        assert_eq!(series.statuses(), expected.map(|(status, n)| (status.to_owned(), n)));
    }

    #[test]
    fn a_route_that_is_gone_takes_its_series_with_it() {
        let routes = ByRoute::new();
        routes.of("old").count(200);
        routes.of("new").count(200);
        routes.retain(|name| name == "new");
        assert_eq!(routes.all().len(), 1);
        assert_eq!(routes.collect()[0].get_metric().len(), 1);
    }
}
