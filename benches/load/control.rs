//! A control plane that has nothing to look after: it tells one gateway of changes, at the rate it is asked for.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clearway_config::sync::{
    NONCE_BYTES, control_mac,
    v1::{self, FromControl, FromProxy, from_control::Message as ToProxy, from_proxy::Message as ToControl},
    verify_proxy,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

use crate::fixture;

/// The generated half of the service.
mod wire {
    #![expect(clippy::allow_attributes, unreachable_pub, reason = "generated")]
    tonic::include_proto!("clearway.sync.v1");
}

const TOKEN: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
const LEASE_MS: u64 = 10_000;
/// How often changes are sent; as many as are due.
const EVERY: Duration = Duration::from_millis(1);

/// What changes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    #[default]
    Nothing,
    /// A limit of one key after the other.
    Keys,
    /// One of a hundred routes after the other, which no request of a bench takes.
    Routes,
}

/// Listening; one gateway is expected.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) url: String,
    change: watch::Sender<Change>,
    acknowledged: Arc<AtomicU64>,
}

impl Control {
    /// `per_second` changes once something is to change.
    pub(crate) async fn start(per_second: u32) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| e.to_string())?;
        let address: SocketAddr = listener.local_addr().map_err(|e| e.to_string())?;
        let (change, changes) = watch::channel(Change::Nothing);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let service = Service { changes, per_second, acknowledged: acknowledged.clone() };
        let server = tonic::transport::Server::builder().add_service(wire::sync_server::SyncServer::new(service));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { url: format!("http://{address}"), change, acknowledged })
    }

    /// Lets a gateway with this data directory believe it.
    pub(crate) fn write_token(&self, data_dir: &Path) -> Result<(), String> {
        let text: String = TOKEN.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(data_dir.join("sync.token"), text).map_err(|e| e.to_string())
    }

    pub(crate) fn set(&self, change: Change) {
        self.change.send_replace(change);
    }

    /// The last revision that the gateway says it has applied.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

struct Service {
    changes: watch::Receiver<Change>,
    per_second: u32,
    acknowledged: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl wire::sync_server::Sync for Service {
    type AttachStream = ReceiverStream<Result<FromControl, Status>>;

    async fn attach(&self, request: Request<Streaming<FromProxy>>) -> Result<Response<Self::AttachStream>, Status> {
        let (out, outgoing) = mpsc::channel(4_096);
        let (changes, per_second, acknowledged) = (self.changes.clone(), self.per_second, self.acknowledged.clone());
        tokio::spawn(session(request.into_inner(), out, changes, per_second, acknowledged));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// The gateway's own faults end it, and with it the bench.
async fn session(
    mut from: Streaming<FromProxy>,
    to: mpsc::Sender<Result<FromControl, Status>>,
    changes: watch::Receiver<Change>,
    per_second: u32,
    acknowledged: Arc<AtomicU64>,
) -> Option<()> {
    let say = async |message| to.send(Ok(FromControl { message: Some(message) })).await.ok();
    let Some(ToControl::Hello(hello)) = from.next().await?.ok()?.message else { return None };
    let nonce = [1; NONCE_BYTES];
    say(ToProxy::Challenge(v1::Challenge { nonce: nonce.to_vec(), mac: control_mac(&TOKEN, &hello.nonce, &nonce).to_vec() }))
        .await?;
    let Some(ToControl::Proof(proof)) = from.next().await?.ok()?.message else { return None };
    if !verify_proxy(&TOKEN, &hello.nonce, &nonce, &proof.mac) {
        return None;
    }
    // It goes on from what it has on disk.
    let mut revision = hello.revision;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut due = 0.0;
    loop {
        tokio::select! {
            message = from.next() => match message?.ok()?.message? {
                ToControl::Heartbeat(beat) => {
                    say(ToProxy::HeartbeatReply(v1::HeartbeatReply { sequence: beat.sequence, lease_ms: LEASE_MS, strict: false })).await?;
                }
                ToControl::Usage(batch) => say(ToProxy::UsageAck(v1::UsageAck { sequence: batch.sequence })).await?,
                ToControl::Ack(ack) => acknowledged.store(ack.revision, Ordering::Relaxed),
                ToControl::Hello(_) | ToControl::Proof(_) => return None,
            },
            _ = ticks.tick() => {
                let change = *changes.borrow();
                due += if change == Change::Nothing { 0.0 } else { f64::from(per_second) * EVERY.as_secs_f64() };
                while due >= 1.0 {
                    due -= 1.0;
                    revision += 1;
                    say(ToProxy::Delta(v1::Delta { revision, changes: Some(changed(change, revision)) })).await?;
                }
            }
        }
    }
}

fn changed(change: Change, revision: u64) -> v1::Changes {
    match change {
        Change::Nothing => v1::Changes::default(),
        Change::Keys => v1::Changes { credentials: vec![fixture::unused_credential(revision)], ..v1::Changes::default() },
        Change::Routes => {
            let spec = format!(r#"{{"path": "/other/{}/{revision}", "upstream": "bench", "auth": "key"}}"#, revision % 100);
            let object = v1::GatewayObject { kind: "route".into(), name: format!("other-{}", revision % 100), spec: spec.into() };
            v1::Changes { gateway_objects: vec![object], ..v1::Changes::default() }
        }
    }
}
