//! Sends spans to a collector: OTLP over HTTP, protobuf, in batches.
//!
//! A collector that is away for a moment is asked again; one that stays away loses a batch after
//! [`RETRIED_FOR`], and the queue behind it loses what it has no room for. Nothing waits for any of this.

use std::{sync::Arc, time::Duration};

use clearway_config::settings::process::TracingSettings;
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceResponse, resource::v1::Resource};
use prost::Message as _;
use reqwest::{StatusCode, header};
use tokio::{sync::mpsc, time::Instant};

use super::{QUEUE_MAX, Record, Shared, otlp};
use crate::metrics::{LostSpans, Metrics};

/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Requests whose spans are sent together at most.
const BATCH_MAX: usize = 512;
/// How long an answer may take, and a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A batch that nobody takes is given up after so long.
const RETRIED_FOR: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("spans cannot be sent to {url}")]
pub struct ExporterError {
    url: String,
    source: reqwest::Error,
}

/// The background end of the queue.
#[derive(Debug)]
pub(crate) struct Exporter {
    client: reqwest::Client,
    url: String,
    resource: Resource,
    records: mpsc::Receiver<Record>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    retried_for: Duration,
    /// It has been said that the collector is away.
    failing: bool,
}

/// Why a batch was not taken.
#[derive(Debug)]
enum NotTaken {
    /// It may be taken later, after this pause if the collector named one.
    Yet(String, Option<Duration>),
    Ever(String),
}

impl Exporter {
    pub(super) fn new(
        settings: &TracingSettings,
        instance: &str,
        records: mpsc::Receiver<Record>,
        shared: Arc<Shared>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ExporterError> {
        let url = format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/'));
        // Fails only where a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("clearway-proxy/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|source| ExporterError { url: url.clone(), source })?;
        let resource = otlp::resource(&settings.service_name, instance);
        Ok(Self { client, url, resource, records, shared, metrics, retried_for: RETRIED_FOR, failing: false })
    }

    /// Sends until it is closed, and then what is left, once.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let mut closed = false;
        while !closed {
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = shared.filling.notified() => {}
                () = shared.closing.notified() => closed = true,
            }
            // No more than there can have been: what comes meanwhile is gathered again.
            for _ in 0..QUEUE_MAX.div_ceil(BATCH_MAX) {
                let batch = self.take();
                if batch.is_empty() {
                    break;
                }
                closed |= self.deliver(&batch, closed).await;
            }
        }
    }

    fn take(&mut self) -> Vec<Record> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX
            && let Ok(record) = self.records.try_recv()
        {
            batch.push(record);
        }
        batch
    }

    /// Sends a batch, again if need be, unless this is the `last` moment. Says whether it was closed meanwhile.
    async fn deliver(&mut self, batch: &[Record], last: bool) -> bool {
        let spans: u64 = batch.iter().map(|record| record.finished.spans()).sum();
        let body = bytes::Bytes::from(otlp::request(&self.resource, batch).encode_to_vec());
        let given_up = Instant::now() + self.retried_for;
        let (mut pause, mut last) = (RETRY_FIRST, last);
        let began_last = last;
        loop {
            let why = match self.post(body.clone()).await {
                Ok(refused) => {
                    self.metrics.spans_exported.inc_by(spans.saturating_sub(refused));
                    self.lose(refused.min(spans), "the collector took a part only");
                    if std::mem::take(&mut self.failing) && refused == 0 {
                        tracing::info!(url = self.url, "spans are taken again");
                    }
                    return last && !began_last;
                }
                Err(NotTaken::Yet(_, asked)) if !last && Instant::now() + pause < given_up => {
                    let wait = asked.unwrap_or(pause).min(self.retried_for);
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.shared.closing.notified() => last = true,
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                    continue;
                }
                Err(NotTaken::Yet(why, _) | NotTaken::Ever(why)) => why,
            };
            self.lose(spans, &why);
            return last && !began_last;
        }
    }

    /// Says once, not for every batch, that spans are lost.
    fn lose(&mut self, spans: u64, why: &str) {
        if spans == 0 {
            return;
        }
        self.metrics.spans_lost(LostSpans::NotTaken, spans);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(url = self.url, why, "spans are lost");
        }
    }

    /// How many spans the collector refused of those that it was sent.
    async fn post(&self, body: bytes::Bytes) -> Result<u64, NotTaken> {
        let request = self.client.post(&self.url).header(header::CONTENT_TYPE, "application/x-protobuf").body(body);
        let mut answer = request.send().await.map_err(|e| NotTaken::Yet(innermost(&e), None))?;
        let status = answer.status();
        let asked = answer.headers().get(header::RETRY_AFTER);
        let asked = asked.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
            return Err(NotTaken::Yet(status.to_string(), asked));
        }
        if status != StatusCode::OK && status != StatusCode::ACCEPTED {
            return Err(NotTaken::Ever(status.to_string()));
        }
        let mut read = Vec::new();
        // It has them; what it says beside is only how many it did not like.
        while let Ok(Some(chunk)) = answer.chunk().await {
            if read.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Ok(0);
            }
            read.extend_from_slice(&chunk);
        }
        let said = ExportTraceServiceResponse::decode(read.as_slice()).unwrap_or_default();
        Ok(said.partial_success.map_or(0, |part| u64::try_from(part.rejected_spans).unwrap_or(0)))
    }
}

/// The last cause says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Spans, tests::finished},
        *,
    };

    #[tokio::test]
    async fn a_collector_that_stays_away_loses_the_batch_and_is_counted() {
        // Bound and let go: nobody listens there.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = TracingSettings { otlp_endpoint: format!("http://{address}"), sample: 1.0, ..Default::default() };
        let metrics = Arc::new(Metrics::new());
        let (spans, exporter) = Spans::open(&settings, "p", true, metrics.clone()).unwrap();
        let mut exporter = exporter.unwrap();
        exporter.retried_for = RETRY_FIRST * 2;
        spans.push(&finished());
        let batch = exporter.take();
        assert!(!exporter.deliver(&batch, false).await && metrics.spans_lost_in_all() == 2);
        spans.push(&finished());
        spans.close();
        exporter.run().await;
        assert_eq!(
            (metrics.spans_lost_in_all(), metrics.spans_exported.get()),
            (4, 0),
            "the last are tried once and counted too"
        );
    }
}
