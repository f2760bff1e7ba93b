//! Traces: one span for a request and one below it for its attempt at an upstream, sent by OTLP over HTTP.
//!
//! The gateway hands over what became of a traced request with [`Spans::push`], which copies it into a
//! bounded queue and never waits; [`Exporter::run`] sends batches from a background task. A full queue or
//! a collector that is gone loses spans, counts them, and costs no request. Whether a trace is recorded
//! is decided where it begins: a caller's `sampled` flag holds, a trace that begins here is drawn by its id.
//!
//! A span carries no query, no header, no address of a client and no key.

mod export;
mod otlp;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clearway_config::{AccountId, ErrorCode, RequestId, settings::process::TracingSettings};
use tokio::sync::{Notify, mpsc};

use crate::metrics::{LostSpans, Metrics};
pub(crate) use export::Exporter;
pub use export::ExporterError;

/// Traced requests that wait to be sent at most.
const QUEUE_MAX: usize = 4_096;
/// Characters of a path, a host or a method that are sent.
const TEXT_CHARS_MAX: usize = 512;

/// A request that is over, as its spans tell it.
#[derive(Debug, Clone)]
pub(crate) struct Finished<'r> {
    pub(crate) trace_id: u128,
    /// The span that the upstream was told is its parent.
    pub(crate) span_id: u64,
    /// The caller's, where there was one.
    pub(crate) parent_id: Option<u64>,
    pub(crate) request_id: RequestId,
    pub(crate) method: &'r str,
    pub(crate) https: bool,
    pub(crate) host: &'r str,
    pub(crate) path: &'r str,
    pub(crate) route: Option<&'r str>,
    /// What the route matches.
    pub(crate) route_path: Option<&'r str>,
    pub(crate) status: u16,
    pub(crate) reject: Option<ErrorCode>,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) duration: Duration,
    pub(crate) attempt: Option<Attempt<'r>>,
}

/// The last attempt at an upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'r> {
    pub(crate) upstream: &'r str,
    pub(crate) target: SocketAddr,
    /// After the request's beginning.
    pub(crate) began: Duration,
    /// To the head of the answer; `None` without one.
    pub(crate) took: Option<Duration>,
    /// Of the upstream's answer.
    pub(crate) status: Option<u16>,
    /// Attempts before this one.
    pub(crate) resent: usize,
}

/// The gateway's end of the queue.
#[derive(Debug)]
pub(crate) struct Spans {
    /// A trace that begins here is recorded if its number is below.
    sampled_below: u64,
    queue: Option<mpsc::Sender<Record>>,
    shared: Arc<Shared>,
    /// Whether a request's own path is sent, or its route's only.
    shows_path: bool,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Half of the queue is taken: send before it is time.
    filling: Notify,
    closing: Notify,
}

/// A [`Finished`] of its own.
#[derive(Debug)]
struct Record {
    finished: Finished<'static>,
    method: Box<str>,
    host: Box<str>,
    path: Option<Box<str>>,
    route: Option<Box<str>>,
    route_path: Option<Box<str>>,
    upstream: Option<Box<str>>,
    ended: SystemTime,
}

impl Spans {
    /// The queue and what empties it; no exporter where no collector is set.
    pub(crate) fn open(
        settings: &TracingSettings,
        instance: &str,
        shows_path: bool,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Option<Exporter>), ExporterError> {
        let shared = Arc::new(Shared::default());
        let mut spans = Self { sampled_below: 0, queue: None, shared: shared.clone(), shows_path, metrics: metrics.clone() };
        if settings.otlp_endpoint.is_empty() {
            return Ok((spans, None));
        }
        let (queue, records) = mpsc::channel(QUEUE_MAX);
        // 2^63 of them: as the SDKs draw, so that all who draw by the same ratio draw the same traces.
        spans.sampled_below = (settings.sample.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        spans.queue = Some(queue);
        let exporter = Exporter::new(settings, instance, records, shared, metrics)?;
        Ok((spans, Some(exporter)))
    }

    /// Whether a trace that begins here is recorded.
    #[inline]
    pub(crate) fn samples(&self, trace_id: u128) -> bool {
        trace_id as u64 >> 1 < self.sampled_below
    }

    /// Takes a traced request that is over. Never waits.
    pub(crate) fn push(&self, finished: &Finished<'_>) {
        let Some(queue) = &self.queue else { return };
        match queue.try_reserve() {
            Ok(place) => place.send(Record::of(finished, self.shows_path)),
            Err(_) => {
                self.metrics.spans_lost(LostSpans::QueueFull, finished.spans());
                return;
            }
        }
        if queue.capacity() == QUEUE_MAX / 2 {
            self.shared.filling.notify_one();
        }
    }

    /// Asks the exporter to send what waits and to end.
    pub(crate) fn close(&self) {
        self.shared.closing.notify_one();
    }
}

impl Finished<'_> {
    /// How many spans it makes.
    fn spans(&self) -> u64 {
        1 + u64::from(self.attempt.is_some())
    }
}

impl Record {
    fn of(finished: &Finished<'_>, shows_path: bool) -> Self {
        let text = |text: &str| Box::from(&text[..text.floor_char_boundary(TEXT_CHARS_MAX)]);
        Self {
            method: text(finished.method),
            host: text(finished.host),
            path: shows_path.then(|| text(finished.path)),
            route: finished.route.map(text),
            route_path: finished.route_path.map(text),
            upstream: finished.attempt.map(|attempt| text(attempt.upstream)),
            ended: SystemTime::now(),
            finished: Finished {
                method: "",
                host: "",
                path: "",
                route: None,
                route_path: None,
                attempt: finished.attempt.map(|attempt| Attempt { upstream: "", ..attempt }),
                ..*finished
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn finished() -> Finished<'static> {
        Finished {
            trace_id: 0xabc << 64 | 5,
            span_id: 7,
            parent_id: Some(9),
            request_id: RequestId::new(1, 2),
            method: "GET",
            https: true,
            host: "api.example.com",
            path: "/orders/17",
            route: Some("orders"),
            route_path: Some("/orders"),
            status: 200,
            reject: None,
            account_id: Some(AccountId::new(1, 2)),
            duration: Duration::from_millis(30),
            attempt: Some(Attempt {
                upstream: "shop",
                target: ([127, 0, 0, 1], 7000).into(),
                began: Duration::from_millis(10),
                took: Some(Duration::from_millis(15)),
                status: Some(200),
                resent: 0,
            }),
        }
    }

    fn settings(sample: f64) -> TracingSettings {
        TracingSettings { otlp_endpoint: "http://127.0.0.1:9".into(), sample, ..Default::default() }
    }

    #[test]
    fn a_full_queue_loses_spans_counts_them_and_makes_nobody_wait() {
        let metrics = Arc::new(Metrics::new());
        let (spans, exporter) = Spans::open(&settings(1.0), "p", true, metrics.clone()).unwrap();
        let _nobody_sends = exporter.unwrap();
        (0..QUEUE_MAX + 3).for_each(|_| spans.push(&finished()));
        spans.push(&Finished { attempt: None, ..finished() });
        assert!(metrics.render().contains("clearway_spans_dropped_total{reason=\"queue_full\"} 7"), "3 of 2 spans and 1 of 1");
    }

    #[test]
    fn traces_that_begin_here_are_drawn_by_their_id_in_the_ratio_that_was_set() {
        let drawn = |sample| {
            let (spans, _) = Spans::open(&settings(sample), "p", true, Arc::new(Metrics::new())).unwrap();
            // Spread over all ids.
            (0..1_000_u64).filter(|n| spans.samples(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))).count()
        };
        assert_eq!((drawn(0.0), drawn(1.0)), (0, 1_000));
        assert!((230..270).contains(&drawn(0.25)), "{}", drawn(0.25));
        let off = TracingSettings::default();
        let (spans, exporter) = Spans::open(&off, "p", true, Arc::new(Metrics::new())).unwrap();
        assert!(exporter.is_none() && !spans.samples(0));
    }
}
