//! Rates and percentiles of the last few seconds, from counts that only ever grow.
//!
//! Every [`RATES_EVERY`] each route's counts are noted; a rate is what came since the older of the two
//! latest notes. So it is over one to two periods, whoever asks and however often.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use clearway_config::ErrorCode;
use parking_lot::Mutex;

use super::{RejectStatus, RouteStatus, Traffic, rounded};
use crate::metrics::{Metrics, Series, latency::Counts};

/// How often counts are noted.
pub(crate) const RATES_EVERY: Duration = Duration::from_secs(5);
/// Routes that are shown, the busiest.
const ROUTES_SHOWN_MAX: usize = 100;

/// A route's counts at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    duration: Counts,
    upstream: Counts,
    errors: u64,
    rejected: u64,
}

impl Sample {
    fn of(series: &Series) -> Self {
        Self {
            duration: series.duration.counts(),
            upstream: series.upstream.counts(),
            errors: series.errors.load(Ordering::Relaxed),
            rejected: series.rejected.load(Ordering::Relaxed),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            duration: self.duration.since(&earlier.duration),
            upstream: self.upstream.since(&earlier.upstream),
            errors: self.errors.saturating_sub(earlier.errors),
            rejected: self.rejected.saturating_sub(earlier.rejected),
        }
    }
}

/// When counts were noted, the older first. The routes' own are kept with the routes.
#[derive(Debug)]
pub(crate) struct Rates {
    metrics: Arc<Metrics>,
    notes: Mutex<[Note; 2]>,
}

#[derive(Debug, Clone)]
struct Note {
    at: Instant,
    rejects: Vec<u64>,
}

impl Rates {
    pub(crate) fn new(metrics: Arc<Metrics>, now: Instant) -> Self {
        let note = Note { at: now, rejects: vec![0; ErrorCode::ALL.len()] };
        Self { metrics, notes: Mutex::new([note.clone(), note]) }
    }

    /// Called every [`RATES_EVERY`].
    pub(crate) fn note(&self, now: Instant) {
        let mut notes = self.notes.lock();
        for (_, series) in self.metrics.routes.all() {
            let mut samples = series.samples.lock();
            *samples = [samples[1], Sample::of(&series)];
        }
        notes.swap(0, 1);
        notes[1] = Note { at: now, rejects: self.rejects() };
    }

    pub(crate) fn read(&self, now: Instant) -> (Traffic, Vec<RouteStatus>, Vec<RejectStatus>) {
        let notes = self.notes.lock();
        // Right after the start there is little to divide by.
        let window_s = now.saturating_duration_since(notes[0].at).as_secs_f64().max(0.1);
        let per_s = |n: u64| rounded(n as f64 / window_s);
        let mut sum = Sample::default();
        let mut total = 0;
        let mut routes: Vec<_> = self
            .metrics
            .routes
            .all()
            .into_iter()
            .map(|(name, series)| {
                let sample = Sample::of(&series);
                let lately = sample.since(&series.samples.lock()[0]);
                sum.duration.add(&lately.duration);
                sum.errors += lately.errors;
                sum.rejected += lately.rejected;
                total += sample.duration.total();
                (name, sample.duration.total(), lately)
            })
            .collect();
        let traffic = Traffic {
            window_s: rounded(window_s),
            requests_total: total,
            requests_per_s: per_s(sum.duration.total()),
            errors_per_s: per_s(sum.errors),
            rejects_per_s: per_s(sum.rejected),
            p50_ms: quantile(&sum.duration, 0.5),
            p99_ms: quantile(&sum.duration, 0.99),
            in_flight: self.metrics.in_flight.get(),
            connections: self.metrics.connections.get(),
            routes: routes.len(),
        };
        routes.sort_by_key(|(_, total, lately)| std::cmp::Reverse((lately.duration.total(), *total)));
        routes.truncate(ROUTES_SHOWN_MAX);
        let routes = routes.into_iter().map(|(name, requests_total, lately)| RouteStatus {
            name: name.to_string(),
            requests_total,
            requests_per_s: per_s(lately.duration.total()),
            errors_per_s: per_s(lately.errors),
            rejects_per_s: per_s(lately.rejected),
            p50_ms: quantile(&lately.duration, 0.5),
            p90_ms: quantile(&lately.duration, 0.9),
            p99_ms: quantile(&lately.duration, 0.99),
            upstream_p50_ms: quantile(&lately.upstream, 0.5),
            upstream_p99_ms: quantile(&lately.upstream, 0.99),
        });
        let counted = ErrorCode::ALL.iter().zip(self.rejects()).zip(&notes[0].rejects);
        let mut rejects: Vec<_> = counted
            .filter(|((_, now), _)| *now > 0)
            .map(|((code, now), before)| RejectStatus { code: *code, total: now, per_s: per_s(now.saturating_sub(*before)) })
            .collect();
        rejects.sort_by(|a, b| b.per_s.total_cmp(&a.per_s).then(b.total.cmp(&a.total)));
        (traffic, routes.collect(), rejects)
    }

    /// By the place of each code in [`ErrorCode::ALL`].
    fn rejects(&self) -> Vec<u64> {
        ErrorCode::ALL.iter().map(|code| self.metrics.rejects_of(*code)).collect()
    }
}

fn quantile(counts: &Counts, part: f64) -> Option<f64> {
    counts.quantile_ms(part).map(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Answered, RouteMetrics};

    #[test]
    fn a_rate_is_of_the_last_seconds_and_falls_to_nothing_when_nothing_comes() {
        let metrics = Arc::new(Metrics::new());
        let start = Instant::now();
        let rates = Rates::new(metrics.clone(), start);
        let route = RouteMetrics::new("orders");
        let answer = |status, rejected| {
            let took = Duration::from_millis(3);
            metrics.answered(Some(&route), &Answered { status, took, upstream: None, rejected, traced: None });
        };
        (0..40).for_each(|_| answer(200, false));
        (0..10).for_each(|_| answer(503, true));
        metrics.rejected(ErrorCode::NotReady);

        let (traffic, routes, rejects) = rates.read(start + RATES_EVERY);
        assert_eq!((traffic.requests_per_s, traffic.errors_per_s, traffic.rejects_per_s), (10.0, 2.0, 2.0));
        assert_eq!((routes.len(), routes[0].name.as_str(), routes[0].requests_total), (1, "orders", 50));
        assert!((2.5..=5.0).contains(&routes[0].p99_ms.unwrap()) && routes[0].upstream_p50_ms.is_none());
        assert_eq!((rejects[0].code, rejects[0].total, rejects[0].per_s), (ErrorCode::NotReady, 1, 0.2));

        rates.note(start + RATES_EVERY);
        rates.note(start + 2 * RATES_EVERY);
        let (traffic, routes, _) = rates.read(start + 3 * RATES_EVERY);
        assert_eq!((traffic.requests_per_s, traffic.requests_total, traffic.p50_ms), (0.0, 50, None));
        assert_eq!((routes[0].requests_per_s, traffic.window_s), (0.0, 10.0));
    }
}
