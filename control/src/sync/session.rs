//! One proxy's stream, from its hello to its end.

use std::{sync::Arc, time::Duration};

use clearway_config::{
    ProxyId,
    sync::{
        control_mac,
        v1::{self, FromControl, FromProxy, from_control, from_proxy},
        verify_proxy,
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tonic::{Status, Streaming};

use super::{
    ChangeKind,
    changes::{self, ReadError, wire},
    handshake::{Greeting, Labels, Peer, Refusal},
    hub::{Inner, Item},
    membership::{Noted, Registered},
    store::{self, Kept, Registering},
};
use crate::db;

/// Messages between a session and the connection at most: what bounds the memory of a snapshot on its way.
pub(super) const OUTGOING_MAX: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A proxy sends a heartbeat each second; one that is silent for so long is gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Rows asked of a feed at once for a snapshot.
const PAGE_ROWS: u32 = 1_000;
/// Usage batches waiting to be stored at most. A proxy sends its next after the last one's acknowledgement.
const USAGE_WAITING_MAX: usize = 2;
const LABELS: Labels = Labels { control_mac, verify_proxy };

type Outgoing = mpsc::Sender<Result<FromControl, Status>>;

/// Why a stream ended that could have gone on.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the proxy is gone")]
    Gone,
    #[error("the proxy broke the protocol: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the proxy took too long")]
    TimedOut,
    #[error("the proxy must start over")]
    StartOver,
    #[error("the proxy is attached elsewhere")]
    Superseded,
    #[error("control is stopping")]
    Stopping,
    #[error(transparent)]
    Db(#[from] db::Error),
}

pub(super) async fn run(inner: Arc<Inner>, mut incoming: Streaming<FromProxy>, out: Outgoing, stranger: OwnedSemaphorePermit) {
    let hello = match timeout(HANDSHAKE_TIMEOUT, shake_hands(&inner, &mut incoming, &out)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(ended)) => return refuse(&out, &ended),
        Err(_) => return refuse(&out, &Ended::TimedOut),
    };
    drop(stranger);
    let (id, name) = (hello.proxy, hello.name.clone());
    match attach(&inner, incoming, &out, hello).await {
        Ended::Gone | Ended::Stopping => tracing::info!(proxy.id = %id, proxy.name = name, "proxy detached"),
        ended => {
            tracing::warn!(proxy.id = %id, proxy.name = name, error = &ended as &dyn std::error::Error, "proxy detached");
            refuse(&out, &ended);
        }
    }
}

/// Says why, if there is room to; whoever cannot be told learns it from the stream's end.
fn refuse(out: &Outgoing, ended: &Ended) {
    let status = match ended {
        Ended::Refused(Refusal::Unauthenticated) => Status::unauthenticated("the sync tokens differ"),
        Ended::Protocol(what) | Ended::Refused(Refusal::Protocol(what)) => Status::invalid_argument(*what),
        Ended::TimedOut => Status::deadline_exceeded("no handshake in time"),
        Ended::Gone | Ended::StartOver | Ended::Superseded | Ended::Stopping | Ended::Db(_) => {
            Status::unavailable("attach again")
        }
    };
    let _ = out.try_send(Err(status));
}

/// A hello whose sender has proved that it knows the token.
struct Hello {
    proxy: ProxyId,
    name: String,
    version: String,
    revision: u64,
    store_id: Vec<u8>,
    refused: v1::Refused,
}

async fn shake_hands(inner: &Inner, incoming: &mut Streaming<FromProxy>, out: &Outgoing) -> Result<Hello, Ended> {
    let Some(from_proxy::Message::Hello(hello)) = receive(incoming).await? else {
        return Err(Ended::Protocol("the first message must be a hello"));
    };
    let v1::Hello { proxy_id, name, version, nonce, revision, store_id, refused } = hello;
    let (challenged, challenge) = Greeting { proxy_id, name, version, nonce }.challenge(&inner.token, LABELS)?;
    send(out, from_control::Message::Challenge(challenge)).await?;
    let Some(from_proxy::Message::Proof(proof)) = receive(incoming).await? else {
        return Err(Ended::Protocol("a challenge must be answered by a proof"));
    };
    let Peer { id: proxy, name, version } = challenged.prove(&proof)?;
    Ok(Hello { proxy, name, version, revision, store_id, refused: refused.unwrap_or_default() })
}

/// In this order, so that nothing is missed: registered, subscribed, and only then what is there is read.
async fn attach(inner: &Inner, mut incoming: Streaming<FromProxy>, out: &Outgoing, hello: Hello) -> Ended {
    let resumed_at = match resumes_at(inner, &hello).await {
        Ok(resumed_at) => resumed_at,
        Err(error) => return error.into(),
    };
    let held = resumed_at.unwrap_or_default();
    let without_lease = !inner.terms.strict;
    let registering = Registering { name: &hello.name, version: &hello.version, control: &inner.name };
    let began = inner.clock.now_ms();
    let registered = match store::register(&inner.db, &hello.proxy, registering, held, without_lease).await {
        Ok(Kept { epoch, beats, last_seen_at, lease_ms, .. }) => Registered {
            resumed_at: held,
            lease_ms: lease_ms.map(|ms| u64::try_from(ms).unwrap_or_default()),
            noted: Noted { epoch, beats, seen_at: last_seen_at },
            began,
        },
        Err(error) => return error.into(),
    };
    let Some((session, queue)) = inner.attach(hello.proxy, &hello.name, registered, hello.refused) else {
        return Ended::Superseded;
    };
    let _detach = Detach { inner, session };
    tracing::info!(proxy.id = %hello.proxy, proxy.name = hello.name, revision = held, "proxy attached");

    let (usage, batches) = mpsc::channel(USAGE_WAITING_MAX);
    let mut stopping = inner.stopping.subscribe();
    tokio::select! {
        ended = listen(inner, &mut incoming, &hello.proxy, session, usage) => ended,
        ended = speak(inner, out, queue, resumed_at) => ended,
        ended = ingest(inner, &hello.proxy, session, batches) => ended,
        _ = stopping.wait_for(|stopping| *stopping) => Ended::Stopping,
    }
}

struct Detach<'h> {
    inner: &'h Inner,
    session: u64,
}

impl Drop for Detach<'_> {
    fn drop(&mut self) {
        self.inner.detach(self.session);
    }
}

/// From where changes suffice; `None` asks for a whole snapshot.
async fn resumes_at(inner: &Inner, hello: &Hello) -> db::Result<Option<i64>> {
    let revision = i64::try_from(hello.revision).unwrap_or(i64::MAX);
    let history = inner.history();
    if revision == 0 || hello.store_id != history.as_bytes() {
        return Ok(None);
    }
    let (first, last) = (store::first_revision(&inner.db).await?, store::last_revision(&inner.db).await?);
    if revision > last {
        // One of a history that was undone by restoring a backup. Others may hold more of it, and attach when this one has
        // come as far.
        inner.is_undone(&history).await?;
        return Ok(None);
    }
    Ok((first - 1 <= revision && revision <= last).then_some(revision))
}

/// What the proxy says.
async fn listen(
    inner: &Inner,
    incoming: &mut Streaming<FromProxy>,
    proxy: &ProxyId,
    session: u64,
    usage: mpsc::Sender<v1::UsageBatch>,
) -> Ended {
    loop {
        let message = match timeout(SILENCE_MAX, receive(incoming)).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Ended::Protocol("an empty message"),
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::TimedOut,
        };
        match message {
            from_proxy::Message::Ack(ack) => inner.acknowledge(proxy, session, ack),
            from_proxy::Message::Heartbeat(heartbeat) => inner.heartbeat(proxy, session, heartbeat),
            from_proxy::Message::Usage(batch) => {
                if usage.try_send(batch).is_err() {
                    return Ended::Protocol("usage was sent before the last batch was acknowledged");
                }
            }
            from_proxy::Message::Hello(_) | from_proxy::Message::Proof(_) => {
                return Ended::Protocol("the handshake is over");
            }
        }
    }
}

/// What the proxy is told: what it lacks, then its queue.
async fn speak(inner: &Inner, out: &Outgoing, mut queue: mpsc::Receiver<Item>, resumed_at: Option<i64>) -> Ended {
    let through = match resumed_at {
        Some(revision) => resume(inner, out, revision).await,
        None => snapshot(inner, out).await,
    };
    let through = match through {
        Ok(through) => through,
        Err(ended) => return ended,
    };
    while let Some(item) = queue.recv().await {
        let message = match item {
            // Older rows than those already sent: they would undo a change for a moment.
            Item::Delta(delta) if delta.revision <= through => continue,
            Item::Delta(delta) => from_control::Message::Delta(Arc::unwrap_or_clone(delta)),
            Item::Reply(reply) => from_control::Message::HeartbeatReply(reply),
            Item::UsageAck(ack) => from_control::Message::UsageAck(ack),
        };
        if let Err(ended) = send(out, message).await {
            return ended;
        }
    }
    Ended::StartOver
}

/// Everything after `revision` that was committed by now.
async fn resume(inner: &Inner, out: &Outgoing, mut revision: i64) -> Result<u64, Ended> {
    let target = store::last_revision(&inner.db).await?;
    while revision < target {
        let delta = match changes::next_delta(&inner.db, &inner.feeds, revision).await {
            Ok(Some(delta)) => delta,
            Ok(None) | Err(ReadError::Trimmed(_)) => return Err(Ended::StartOver),
            Err(ReadError::Db(error)) => return Err(error.into()),
        };
        revision = i64::try_from(delta.revision).unwrap_or(i64::MAX);
        send(out, from_control::Message::Delta(delta)).await?;
    }
    Ok(wire(revision))
}

/// All rows, a page at a time as fast as the proxy reads them. They may be newer than the revision said:
/// what made them so follows as a delta.
async fn snapshot(inner: &Inner, out: &Outgoing) -> Result<u64, Ended> {
    let revision = wire(store::last_revision(&inner.db).await?);
    let mut credentials = 0;
    for feed in inner.feeds.iter() {
        credentials += feed.count(&inner.db).await?;
    }
    let store_id = inner.history().into_bytes();
    send(out, from_control::Message::SnapshotBegin(v1::SnapshotBegin { revision, store_id, credentials })).await?;
    for kind in ChangeKind::ALL {
        for feed in inner.feeds.iter().filter(|feed| feed.kind() == kind) {
            let mut after = None;
            loop {
                let (rows, next) = feed.page(&inner.db, after, PAGE_ROWS).await?;
                send(out, from_control::Message::SnapshotChunk(rows)).await?;
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
    }
    send(out, from_control::Message::SnapshotEnd(v1::SnapshotEnd { revision })).await?;
    Ok(revision)
}

/// Stores usage beside everything else: heartbeats do not wait for it.
async fn ingest(inner: &Inner, proxy: &ProxyId, session: u64, mut batches: mpsc::Receiver<v1::UsageBatch>) -> Ended {
    while let Some(batch) = batches.recv().await {
        let sequence = batch.sequence;
        if let Err(error) = inner.usage.ingest(&inner.db, proxy, batch).await {
            // Not acknowledged, so it comes again with the next session.
            return error.into();
        }
        inner.enqueue(session, Item::UsageAck(v1::UsageAck { sequence }));
    }
    Ended::Gone
}

async fn send(out: &Outgoing, message: from_control::Message) -> Result<(), Ended> {
    out.send(Ok(FromControl { message: Some(message) })).await.map_err(|_| Ended::Gone)
}

async fn receive(incoming: &mut Streaming<FromProxy>) -> Result<Option<from_proxy::Message>, Ended> {
    match incoming.message().await {
        Ok(Some(message)) => Ok(message.message),
        Ok(None) | Err(_) => Err(Ended::Gone),
    }
}
