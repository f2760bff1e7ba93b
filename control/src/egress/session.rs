//! One proxy's stream, from its hello to its end.

use std::{sync::Arc, time::Duration};

use clearway_config::egress::{
    ATTEMPTS_MAX, BATCH_ATTEMPTS_MAX, BATCH_BYTES_MAX, BODY_BYTES_MAX, IN_FLIGHT_BYTES_MAX, INSTANCE_BYTES,
    KEEP_ALIVE_INTERVAL_MS, control_mac,
    v1::{self, FromEgress, ToEgress, from_egress, to_egress},
    verify_proxy,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::{Status, Streaming};

use super::{
    Inner,
    attached::{Queue, Unasked, Window},
};
use crate::sync::handshake::{Greeting, Labels, Peer, Refusal};

/// Messages between a session and the connection at most, each of [`BATCH_BYTES_MAX`] or one body.
pub(super) const OUTGOING_MAX: usize = 4;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(KEEP_ALIVE_INTERVAL_MS);
/// An attempt that is not answered for so long never will be: no proxy may take longer than two minutes for one.
const UNANSWERED_MAX: Duration = Duration::from_secs(150);
const LABELS: Labels = Labels { control_mac, verify_proxy };

type Outgoing = mpsc::Sender<Result<ToEgress, Status>>;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the proxy is gone")]
    Gone,
    #[error("the proxy has been drained")]
    Drained,
    #[error("the proxy has a newer stream")]
    Replaced,
    #[error("the proxy broke the protocol: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the proxy took too long")]
    TimedOut,
    #[error("control is stopping")]
    Stopping,
}

pub(super) async fn run(inner: Arc<Inner>, mut incoming: Streaming<FromEgress>, out: Outgoing, stranger: OwnedSemaphorePermit) {
    let hello = match timeout(HANDSHAKE_TIMEOUT, shake_hands(&inner, &mut incoming, &out)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(ended)) => return refuse(&out, &ended),
        Err(_) => return refuse(&out, &Ended::TimedOut),
    };
    drop(stranger);
    let (id, name) = (hello.peer.id, hello.peer.name.clone());
    match attend(&inner, incoming, &out, &hello).await {
        Ended::Drained => tracing::info!(proxy.id = %id, proxy.name = name, "egress drained"),
        ended @ (Ended::Gone | Ended::Stopping | Ended::Replaced) => {
            tracing::info!(proxy.id = %id, proxy.name = name, why = %ended, "egress detached");
            refuse(&out, &ended);
        }
        ended @ (Ended::Protocol(_) | Ended::Refused(_) | Ended::TimedOut) => {
            tracing::warn!(proxy.id = %id, proxy.name = name, error = &ended as &dyn std::error::Error, "egress detached");
            refuse(&out, &ended);
        }
    }
}

/// Says why, if there is room to; whoever cannot be told learns it from the stream's end.
fn refuse(out: &Outgoing, ended: &Ended) {
    let status = match ended {
        Ended::Refused(Refusal::Unauthenticated) => Status::unauthenticated("the sync tokens differ"),
        Ended::Protocol(what) | Ended::Refused(Refusal::Protocol(what)) => Status::invalid_argument(*what),
        Ended::TimedOut => Status::deadline_exceeded("no answer in time"),
        Ended::Gone | Ended::Drained | Ended::Replaced | Ended::Stopping => Status::unavailable("attach again"),
    };
    let _ = out.try_send(Err(status));
}

/// A hello whose sender has proved that it knows the token.
struct Hello {
    peer: Peer,
    instance: Vec<u8>,
    window: Window,
}

async fn shake_hands(inner: &Inner, incoming: &mut Streaming<FromEgress>, out: &Outgoing) -> Result<Hello, Ended> {
    let Some(from_egress::Message::Hello(hello)) = receive(incoming).await? else {
        return Err(Ended::Protocol("the first message must be a hello"));
    };
    let v1::Hello { proxy_id, name, version, nonce, attempts_max, bytes_max, instance } = hello;
    if attempts_max == 0 || bytes_max < BODY_BYTES_MAX as u64 || instance.len() != INSTANCE_BYTES {
        return Err(Ended::Protocol(
            "a proxy takes an attempt with the longest body at least, and names its process by 16 bytes",
        ));
    }
    // However much it would take: what is in flight is held here too.
    let window = Window { attempts: attempts_max.min(ATTEMPTS_MAX) as usize, bytes: bytes_max.min(IN_FLIGHT_BYTES_MAX) };
    let (challenged, challenge) = Greeting { proxy_id, name, version, nonce }.challenge(&inner.token, LABELS)?;
    send(out, to_egress::Message::Challenge(challenge)).await?;
    let Some(from_egress::Message::Proof(proof)) = receive(incoming).await? else {
        return Err(Ended::Protocol("a challenge must be answered by a proof"));
    };
    Ok(Hello { peer: challenged.prove(&proof)?, instance, window })
}

async fn attend(inner: &Inner, mut incoming: Streaming<FromEgress>, out: &Outgoing, hello: &Hello) -> Ended {
    let Hello { peer, instance, window } = hello;
    let (session, queue) = inner.attached().attach(peer.id, &peer.name, instance, *window);
    let _detach = Detach { inner, session };
    inner.note_room(&inner.attached());
    tracing::info!(proxy.id = %peer.id, proxy.name = peer.name, attempts_max = window.attempts, "egress attached");
    let mut stopping = inner.stopping.subscribe();
    tokio::select! {
        ended = listen(inner, &mut incoming, session) => ended,
        ended = speak(inner, out, session, queue) => ended,
        _ = stopping.wait_for(|stopping| *stopping) => Ended::Stopping,
    }
}

struct Detach<'i> {
    inner: &'i Inner,
    session: u64,
}

impl Drop for Detach<'_> {
    fn drop(&mut self) {
        self.inner.lose(self.session);
    }
}

/// What the proxy says.
async fn listen(inner: &Inner, incoming: &mut Streaming<FromEgress>, session: u64) -> Ended {
    loop {
        let message = match timeout(inner.silence_max, receive(incoming)).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Ended::Protocol("an empty message"),
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::TimedOut,
        };
        let is_done = match message {
            from_egress::Message::KeepAlive(v1::KeepAlive {}) => false,
            from_egress::Message::Results(v1::Results { results }) => match inner.answered(session, results) {
                Ok(is_done) => is_done,
                Err(Unasked) => return Ended::Protocol("a result for an attempt that is not in flight"),
            },
            from_egress::Message::Draining(v1::Draining {}) => {
                let mut attached = inner.attached();
                attached.drain(session);
                inner.note_room(&attached);
                attached.is_done(session)
            }
            from_egress::Message::Hello(_) | from_egress::Message::Proof(_) => {
                return Ended::Protocol("the handshake is over");
            }
        };
        if is_done {
            return Ended::Drained;
        }
    }
}

/// What the proxy is told: what is offered, as soon as it is.
async fn speak(inner: &Inner, out: &Outgoing, session: u64, mut queue: Queue) -> Ended {
    let mut ticks = interval(KEEP_ALIVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            offered = queue.recv() => {
                let Some(mut attempts) = offered else { return Ended::Replaced };
                while attempts.len() < BATCH_ATTEMPTS_MAX && let Ok(more) = queue.try_recv() {
                    attempts.extend(more);
                }
                for batch in batches(attempts) {
                    // Whoever reads nothing for so long is gone, whatever it says.
                    match timeout(inner.silence_max, send(out, to_egress::Message::Attempts(batch))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(ended)) => return ended,
                        Err(_) => return Ended::TimedOut,
                    }
                }
            }
            _ = ticks.tick() => {
                let oldest = inner.attached().oldest(session);
                if oldest.is_some_and(|since| since.elapsed() > UNANSWERED_MAX) {
                    return Ended::TimedOut;
                }
                // Where there is no room there are attempts to be read.
                let _ = out.try_send(Ok(message(to_egress::Message::KeepAlive(v1::KeepAlive {}))));
            }
        }
    }
}

/// In messages of [`BATCH_ATTEMPTS_MAX`] attempts and [`BATCH_BYTES_MAX`] bytes of bodies at most, or of one attempt.
fn batches(attempts: Vec<v1::Attempt>) -> impl Iterator<Item = v1::Attempts> {
    let mut rest = attempts.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut batch = vec![rest.next()?];
        let mut bytes = batch[0].body.len();
        while let Some(next) = rest.next_if(|next| batch.len() < BATCH_ATTEMPTS_MAX && bytes + next.body.len() <= BATCH_BYTES_MAX)
        {
            bytes += next.body.len();
            batch.push(next);
        }
        Some(v1::Attempts { attempts: batch })
    })
}

fn message(message: to_egress::Message) -> ToEgress {
    ToEgress { message: Some(message) }
}

async fn send(out: &Outgoing, what: to_egress::Message) -> Result<(), Ended> {
    out.send(Ok(message(what))).await.map_err(|_| Ended::Gone)
}

async fn receive(incoming: &mut Streaming<FromEgress>) -> Result<Option<from_egress::Message>, Ended> {
    match incoming.message().await {
        Ok(Some(message)) => Ok(message.message),
        Ok(None) | Err(_) => Err(Ended::Gone),
    }
}
