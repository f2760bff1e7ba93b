//! One stream, from hello to its end. It knows the messages and their order, not the network.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use clearway_config::{
    egress::{
        BATCH_ATTEMPTS_MAX, BATCH_BYTES_MAX, IN_FLIGHT_BYTES_MAX, KEEP_ALIVE_INTERVAL_MS, RESPONSE_BODY_BYTES_MAX,
        SILENCE_MAX_MS, outcome, proxy_mac,
        v1::{self, FromEgress, ToEgress, from_egress, to_egress},
        verify_control,
    },
    sync::{NONCE_BYTES, v1::Proof},
};
use prost::Message as _;
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::{Client, Lane, Post, until};
use crate::{gateway::now_ms, metrics::Metrics, snapshot::Snapshot};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_millis(SILENCE_MAX_MS);
/// Bytes of what is said of one attempt beside the beginning of the answer's body, at most.
const HEADERS_BYTES_MAX: usize = 64 * 1024;
const REASON_BYTES_MAX: usize = 1_000;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("control ended the stream")]
    Closed,
    #[error("the stream broke")]
    Broken(#[source] Box<Status>),
    #[error("control does not know the sync token")]
    Unproven,
    #[error("control broke the protocol: {0}")]
    Protocol(&'static str),
    #[error("control was silent for too long")]
    Silent,
    #[error("it has been drained")]
    Drained,
}

pub(super) struct Session<P> {
    snapshot: Arc<Snapshot>,
    lanes: Arc<[Lane<P>]>,
    /// How many run on each.
    on_lane: Vec<usize>,
    metrics: Arc<Metrics>,
    token: [u8; NONCE_BYTES],
    nonce: [u8; NONCE_BYTES],
    attempts_max: usize,
    attempts: JoinSet<v1::Result>,
    /// What runs, by its task.
    running: HashMap<task::Id, Running>,
    bytes: u64,
    /// What control is to be told, oldest first.
    results: VecDeque<v1::Result>,
    draining: bool,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    number: u64,
    lane: usize,
    bytes: u64,
    since: Instant,
    started_at: u64,
}

impl<P: Post> Session<P> {
    pub(super) fn begin(client: &Client<P>, token: [u8; NONCE_BYTES]) -> (Self, FromEgress) {
        let session = Self {
            snapshot: client.snapshot.clone(),
            lanes: client.lanes.clone(),
            on_lane: vec![0; client.lanes.len()],
            metrics: client.metrics.clone(),
            token,
            nonce: rand::random(),
            attempts_max: client.attempts_max as usize,
            attempts: JoinSet::new(),
            running: HashMap::new(),
            bytes: 0,
            results: VecDeque::new(),
            draining: false,
        };
        let hello = v1::Hello {
            proxy_id: client.options.proxy.to_vec(),
            name: client.options.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            nonce: session.nonce.to_vec(),
            attempts_max: client.attempts_max,
            bytes_max: IN_FLIGHT_BYTES_MAX,
            instance: client.instance.to_vec(),
        };
        (session, message(from_egress::Message::Hello(hello)))
    }

    /// Says in `useful` whether it came as far as being attached. What still runs at the end is given up.
    pub(super) async fn run(
        mut self,
        mut incoming: impl Stream<Item = Result<ToEgress, Status>> + Unpin,
        outgoing: mpsc::Sender<FromEgress>,
        draining: watch::Receiver<bool>,
        useful: &mut bool,
    ) -> Ended {
        let proved = timeout(HANDSHAKE_TIMEOUT, self.prove(&mut incoming, &outgoing)).await;
        let ended = match proved.unwrap_or(Err(Ended::Silent)) {
            Ok(()) => {
                *useful = true;
                self.metrics.egress.attached.set(1);
                tracing::info!(attempts_max = self.attempts_max, "webhooks from control are posted here");
                self.attend(&mut incoming, &outgoing, draining).await
            }
            Err(ended) => return ended,
        };
        if !self.running.is_empty() {
            tracing::warn!(attempts = self.running.len(), "attempts at webhooks given up with their stream");
        }
        self.metrics.egress.gave_up(self.running.len());
        ended
    }

    /// Control proves itself first: whoever cannot is told nothing that the token was used for.
    async fn prove(
        &self,
        incoming: &mut (impl Stream<Item = Result<ToEgress, Status>> + Unpin),
        outgoing: &mpsc::Sender<FromEgress>,
    ) -> Result<(), Ended> {
        let to_egress::Message::Challenge(challenge) = received(incoming.next().await)? else {
            return Err(Ended::Protocol("its first message was not a challenge"));
        };
        if challenge.nonce.len() != NONCE_BYTES || !verify_control(&self.token, &self.nonce, &challenge.nonce, &challenge.mac) {
            return Err(Ended::Unproven);
        }
        let mac = proxy_mac(&self.token, &self.nonce, &challenge.nonce).to_vec();
        send(outgoing, from_egress::Message::Proof(Proof { mac })).await
    }

    async fn attend(
        &mut self,
        incoming: &mut (impl Stream<Item = Result<ToEgress, Status>> + Unpin),
        outgoing: &mpsc::Sender<FromEgress>,
        mut draining: watch::Receiver<bool>,
    ) -> Ended {
        let mut ticks = interval(Duration::from_millis(KEEP_ALIVE_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let done = tokio::select! {
                biased;
                // The rare first, and what is to be told before there is more to do.
                () = until(&mut draining), if !self.draining => self.drain("the process ends", outgoing).await,
                _ = ticks.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        Err(Ended::Silent)
                    } else if !self.draining && !self.snapshot.lease().holds() {
                        // Another proxy may post what this one would have to give back.
                        self.drain("the auth lease has run out", outgoing).await
                    } else {
                        keep_alive(outgoing)
                    }
                }
                Some(joined) = self.attempts.join_next_with_id() => {
                    self.settle(joined);
                    while let Some(joined) = self.attempts.try_join_next_with_id() {
                        self.settle(joined);
                    }
                    Ok(())
                }
                permit = outgoing.reserve(), if !self.results.is_empty() => match permit {
                    Ok(permit) => {
                        permit.send(message(from_egress::Message::Results(self.batch())));
                        Ok(())
                    }
                    Err(_) => Err(Ended::Closed),
                },
                next = incoming.next() => {
                    heard = Instant::now();
                    match received(next) {
                        Ok(message) => self.take(message),
                        // It has heard of everything.
                        Err(Ended::Closed) if self.draining => Err(Ended::Drained),
                        Err(ended) => Err(ended),
                    }
                }
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    async fn drain(&mut self, why: &'static str, outgoing: &mpsc::Sender<FromEgress>) -> Result<(), Ended> {
        self.draining = true;
        tracing::info!(attempts = self.running.len(), why, "no more webhooks from control");
        send(outgoing, from_egress::Message::Draining(v1::Draining {})).await
    }

    fn take(&mut self, message: to_egress::Message) -> Result<(), Ended> {
        match message {
            to_egress::Message::Attempts(v1::Attempts { attempts }) => {
                for attempt in attempts {
                    self.begin_attempt(attempt);
                }
            }
            to_egress::Message::KeepAlive(v1::KeepAlive {}) => {}
            to_egress::Message::Challenge(_) => return Err(Ended::Protocol("the handshake is over")),
        }
        Ok(())
    }

    fn begin_attempt(&mut self, attempt: v1::Attempt) {
        let (number, bytes) = (attempt.number, attempt.body.len() as u64);
        let why = if self.draining {
            "this proxy takes no more"
        } else if self.running.len() >= self.attempts_max || self.bytes + bytes > IN_FLIGHT_BYTES_MAX {
            "this proxy has as many attempts in flight as it takes"
        } else {
            // The first of those with least to do.
            let lane = (0..self.lanes.len()).min_by_key(|lane| self.on_lane[*lane]).unwrap_or_default();
            let post = self.lanes[lane].post.clone();
            let task = self.attempts.spawn_on(async move { post.post(attempt).await }, &self.lanes[lane].runtime);
            self.running.insert(task.id(), Running { number, lane, bytes, since: Instant::now(), started_at: now_ms() });
            self.on_lane[lane] += 1;
            self.bytes += bytes;
            self.metrics.egress.in_flight.inc();
            return;
        };
        let failure = v1::Failure::Overloaded.into();
        let result = v1::Result { number, started_at: now_ms(), failure, reason: why.into(), ..Default::default() };
        self.metrics.egress.ended(outcome(&result), Duration::ZERO);
        self.results.push_back(result);
    }

    fn settle(&mut self, joined: Result<(task::Id, v1::Result), JoinError>) {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(Running { number, lane, bytes, since, started_at }) = self.running.remove(&id) else { return };
        self.bytes -= bytes;
        self.on_lane[lane] -= 1;
        let took = since.elapsed();
        let result = match joined {
            Ok((_, result)) => bounded(v1::Result { number, ..result }),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an attempt at a webhook panicked");
                let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                let (failure, reason) = (v1::Failure::Broken.into(), "the proxy failed".to_owned());
                v1::Result { number, started_at, duration_us, failure, reason, ..Default::default() }
            }
        };
        self.metrics.egress.in_flight.dec();
        self.metrics.egress.ended(outcome(&result), took);
        self.results.push_back(result);
    }

    /// The next of what is to be told, in one message.
    fn batch(&mut self) -> v1::Results {
        let (mut results, mut bytes) = (Vec::with_capacity(self.results.len().min(BATCH_ATTEMPTS_MAX)), 0);
        while results.len() < BATCH_ATTEMPTS_MAX
            && let Some(next) = self.results.pop_front()
        {
            bytes += next.encoded_len();
            if bytes > BATCH_BYTES_MAX && !results.is_empty() {
                self.results.push_front(next);
                break;
            }
            results.push(next);
        }
        v1::Results { results }
    }
}

/// However much a receiver says, what is told of it has an end.
fn bounded(mut result: v1::Result) -> v1::Result {
    if result.response_body.len() > RESPONSE_BODY_BYTES_MAX {
        result.response_body.truncate(result.response_body.floor_char_boundary(RESPONSE_BODY_BYTES_MAX));
        result.response_body_cut = true;
    }
    result.reason.truncate(result.reason.floor_char_boundary(REASON_BYTES_MAX));
    for headers in [&mut result.request_headers, &mut result.response_headers] {
        let mut bytes = 0;
        let kept = headers.iter().take_while(|header| {
            bytes += header.name.len() + header.value.len();
            bytes <= HEADERS_BYTES_MAX
        });
        headers.truncate(kept.count());
    }
    result
}

fn received(next: Option<Result<ToEgress, Status>>) -> Result<to_egress::Message, Ended> {
    match next {
        None => Err(Ended::Closed),
        Some(Err(status)) => Err(Ended::Broken(Box::new(status))),
        Some(Ok(ToEgress { message: Some(message) })) => Ok(message),
        // A newer control says something that this proxy does not know: it may be an attempt.
        Some(Ok(ToEgress { message: None })) => Err(Ended::Protocol("a message of an unknown kind")),
    }
}

/// Skipped when control does not read: then results wait, which say as much.
fn keep_alive(outgoing: &mpsc::Sender<FromEgress>) -> Result<(), Ended> {
    match outgoing.try_send(message(from_egress::Message::KeepAlive(v1::KeepAlive {}))) {
        Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(Ended::Closed),
    }
}

fn message(message: from_egress::Message) -> FromEgress {
    FromEgress { message: Some(message) }
}

async fn send(outgoing: &mpsc::Sender<FromEgress>, what: from_egress::Message) -> Result<(), Ended> {
    outgoing.send(message(what)).await.map_err(|_| Ended::Closed)
}
