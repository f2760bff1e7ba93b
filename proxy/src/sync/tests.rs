//! A session against a control plane that says exactly what a test wants.

use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};

use clearway_config::{
    KeyHash, ProxyId,
    sync::{
        NONCE_BYTES, control_mac,
        v1::{self, FromControl, FromProxy, from_control::Message as ToProxy, from_proxy::Message as ToControl},
        verify_proxy,
    },
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Options, UsageSource,
    session::{Ended, Session},
};
use crate::snapshot::{Mode, Snapshot, disk::Disk, uptime_ms};

const TOKEN: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
const STORE: &[u8] = b"store";

#[derive(Default)]
struct Usage {
    log: Mutex<Vec<&'static str>>,
    totals: Mutex<Vec<v1::UsageTotal>>,
}

impl UsageSource for Usage {
    fn ledger_id(&self) -> [u8; 16] {
        [4; 16]
    }

    fn take(&self, _: usize) -> Vec<v1::UsageTotal> {
        std::mem::take(&mut self.totals.lock())
    }

    fn acknowledged(&self) {
        self.log.lock().push("acknowledged");
    }

    fn failed(&self) {
        self.log.lock().push("failed");
    }
}

/// A proxy's part of the data directory, in a process that lives as long as this.
struct Proxy {
    snapshot: Arc<Snapshot>,
    disk: Disk,
    usage: Usage,
}

impl Proxy {
    fn start(directory: &Path) -> Self {
        let snapshot = Arc::new(Snapshot::new());
        let disk = Disk::open(directory, &directory.join("snapshot.key"), snapshot.clone()).unwrap();
        Self { snapshot, disk, usage: Usage::default() }
    }

    /// One session; `control` ends it by returning.
    async fn session(&self, control: impl AsyncFnOnce(&mut Control)) -> Ended {
        self.session_so(|_| (), control).await
    }

    async fn session_so(&self, so: impl FnOnce(&mut Session<'_>), control: impl AsyncFnOnce(&mut Control)) -> Ended {
        let on_disk = self.disk.settle().await.unwrap();
        let (mut session, greeting) = Session::begin(&self.snapshot, &self.disk, &self.usage, on_disk, TOKEN);
        so(&mut session);
        let options = Options {
            proxy: ProxyId::from_bytes([1; 16]),
            name: "gateway".into(),
            urls: Vec::new(),
            token_file: "sync.token".into(),
            tls: None,
        };
        let Some(ToControl::Hello(hello)) = greeting.from(&options).message else { panic!("a hello was due") };
        let (to, incoming) = mpsc::channel(8);
        // Room for an acknowledgement of every delta that a script sends before it listens: with a quick disk
        // each may come by itself.
        let (outgoing, from) = mpsc::channel(512);
        let connected = watch::Sender::new(false);
        let mut peer = Control { hello, to: Some(to), from, strict: None, came: VecDeque::new() };
        let stream = ReceiverStream::new(incoming);
        let script = async {
            control(&mut peer).await;
            peer.to = None;
            peer
        };
        let (ended, _peer) = tokio::join!(session.run(stream, outgoing, &connected), script);
        ended
    }
}

struct Control {
    hello: v1::Hello,
    to: Option<mpsc::Sender<Result<FromControl, Status>>>,
    from: mpsc::Receiver<FromProxy>,
    /// What it last said a proxy without a lease is to do.
    strict: Option<bool>,
    /// Acknowledgements that came while something else was waited for.
    came: VecDeque<v1::Ack>,
}

impl Control {
    async fn say(&mut self, message: ToProxy) {
        self.to.as_ref().unwrap().send(Ok(FromControl { message: Some(message) })).await.unwrap();
    }

    async fn hear(&mut self) -> Option<ToControl> {
        self.from.recv().await?.message
    }

    async fn challenge(&mut self, token: [u8; NONCE_BYTES]) {
        let nonce = [9; NONCE_BYTES];
        let mac = control_mac(&token, &self.hello.nonce, &nonce).to_vec();
        self.say(ToProxy::Challenge(v1::Challenge { nonce: nonce.to_vec(), mac })).await;
    }

    async fn shake_hands(&mut self) {
        self.challenge(TOKEN).await;
        let Some(ToControl::Proof(proof)) = self.hear().await else { panic!("a proof was due") };
        assert!(verify_proxy(&TOKEN, &self.hello.nonce, &[9; NONCE_BYTES], &proof.mac));
    }

    async fn snapshot(&mut self, revision: u64, keys: std::ops::Range<u8>) {
        let credentials = keys.map(|n| credential(n, false)).collect();
        self.say(ToProxy::SnapshotBegin(v1::SnapshotBegin { revision, store_id: STORE.to_vec(), credentials: 0 })).await;
        self.say(ToProxy::SnapshotChunk(v1::Changes { credentials, ..Default::default() })).await;
        self.say(ToProxy::SnapshotEnd(v1::SnapshotEnd { revision })).await;
    }

    async fn delta(&mut self, revision: u64, revoked: u8) {
        let changes = v1::Changes { credentials: vec![credential(revoked, true)], ..Default::default() };
        self.say(ToProxy::Delta(v1::Delta { revision, changes: Some(changes) })).await;
    }

    async fn object(&mut self, revision: u64, name: &str, spec: &str) {
        let object = v1::GatewayObject { kind: "route".into(), name: name.into(), spec: spec.into() };
        let changes = v1::Changes { gateway_objects: vec![object], ..Default::default() };
        self.say(ToProxy::Delta(v1::Delta { revision, changes: Some(changes) })).await;
    }

    /// The next acknowledgement.
    async fn ack(&mut self) -> v1::Ack {
        if let Some(ack) = self.came.pop_front() {
            return ack;
        }
        loop {
            match self.hear().await {
                Some(ToControl::Ack(ack)) => return ack,
                Some(ToControl::Heartbeat(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The acknowledgements up to that of `revision`.
    async fn acknowledged(&mut self, revision: u64) -> Vec<u64> {
        let mut all: Vec<u64> = self.came.drain(..).map(|ack| ack.revision).collect();
        while all.last() != Some(&revision) {
            match self.hear().await {
                Some(ToControl::Ack(ack)) => all.push(ack.revision),
                Some(ToControl::Heartbeat(heartbeat)) => {
                    // A disk may take longer than a control plane may be silent.
                    if let Some(strict) = self.strict {
                        self.reply(heartbeat.sequence, strict).await;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        all
    }

    async fn heartbeat(&mut self) -> v1::Heartbeat {
        loop {
            match self.hear().await.unwrap() {
                ToControl::Heartbeat(heartbeat) => return heartbeat,
                ToControl::Ack(ack) => self.came.push_back(ack),
                _ => {}
            }
        }
    }

    async fn reply(&mut self, sequence: u64, strict: bool) {
        self.strict = Some(strict);
        self.say(ToProxy::HeartbeatReply(v1::HeartbeatReply { sequence, lease_ms: 10_000, strict })).await;
    }
}

fn credential(n: u8, revoked: bool) -> v1::Credential {
    v1::Credential { hash: vec![n; 32], key_id: vec![n; 16], account_id: vec![1; 16], revoked, ..Default::default() }
}

fn is_revoked(snapshot: &Snapshot, n: u8) -> Option<bool> {
    snapshot.pin().find(&KeyHash::from_bytes([n; 32])).map(|found| found.held().revoked)
}

#[tokio::test]
async fn a_peer_that_has_not_proved_itself_is_told_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    let ended = proxy
        .session(async |control| {
            control.challenge([8; NONCE_BYTES]).await;
            assert_eq!(control.hear().await, None);
        })
        .await;
    assert!(matches!(ended, Ended::Unproven));

    let ended = proxy
        .session(async |control| {
            control.delta(1, 1).await;
            assert_eq!(control.hear().await, None);
        })
        .await;
    assert!(matches!(ended, Ended::Protocol(_)));
    assert_eq!(proxy.snapshot.revision(), 0);
}

#[tokio::test]
async fn what_is_acknowledged_is_on_disk_and_many_deltas_share_an_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    proxy
        .session(async |control| {
            assert_eq!((control.hello.revision, control.hello.store_id.len()), (0, 0));
            control.shake_hands().await;
            control.snapshot(10, 0..200).await;
            assert_eq!(control.acknowledged(10).await, [10]);
            for n in 0..200 {
                control.delta(11 + u64::from(n), n).await;
            }
            let all = control.acknowledged(210).await;
            assert!(all.is_sorted());
            // The files as a crash would leave them.
            let copy = tempfile::tempdir().unwrap();
            for name in ["snapshot.bin", "deltas.log"] {
                std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
            }
            let after = Proxy::start(copy.path());
            assert_eq!((after.snapshot.revision(), is_revoked(&after.snapshot, 199)), (210, Some(true)));
        })
        .await;

    proxy
        .session(async |control| {
            assert_eq!((control.hello.revision, &*control.hello.store_id), (210, STORE));
        })
        .await;
}

#[tokio::test]
async fn a_snapshot_that_broke_off_is_asked_for_anew_and_the_disk_keeps_the_last_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    proxy
        .session(async |control| {
            control.shake_hands().await;
            control.snapshot(10, 0..5).await;
            control.acknowledged(10).await;
            control
                .say(ToProxy::SnapshotBegin(v1::SnapshotBegin { revision: 90, store_id: b"other".to_vec(), credentials: 0 }))
                .await;
            let credentials = vec![credential(77, false)];
            control.say(ToProxy::SnapshotChunk(v1::Changes { credentials, ..Default::default() })).await;
        })
        .await;
    proxy
        .session(async |control| {
            assert_eq!((control.hello.revision, control.hello.store_id.len()), (0, 0));
            control.shake_hands().await;
            control.snapshot(20, 0..3).await;
            control.acknowledged(20).await;
        })
        .await;
    assert_eq!(is_revoked(&proxy.snapshot, 77), None);
    assert_eq!(proxy.snapshot.credentials(), 3);
    drop(proxy);
    assert_eq!(Proxy::start(dir.path()).snapshot.revision(), 20);
}

#[tokio::test]
async fn a_lease_is_renewed_by_the_answer_to_a_heartbeat_and_by_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    proxy
        .session(async |control| {
            control.shake_hands().await;
            control.snapshot(1, 0..1).await;
            let heartbeat = control.heartbeat().await;
            assert!(heartbeat.strict, "a proxy that was told nothing would refuse");
            control.reply(heartbeat.sequence + 7, true).await;
            control.acknowledged(1).await;
            assert!(!proxy.snapshot.lease().holds(), "an answer to nothing");
            let heartbeat = control.heartbeat().await;
            let heard = uptime_ms();
            control.reply(heartbeat.sequence, true).await;
            control.delta(2, 0).await;
            control.acknowledged(2).await;
            assert!(proxy.snapshot.lease().holds());
            assert!(u128::from(heard) + 10_000 >= u128::from(uptime_ms()) + proxy.snapshot.lease().left().as_millis());
        })
        .await;
}

#[tokio::test]
async fn serving_without_a_lease_is_remembered_on_disk_and_said_in_heartbeats() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    proxy
        .session(async |control| {
            control.shake_hands().await;
            control.snapshot(1, 0..1).await;
            let heartbeat = control.heartbeat().await;
            control.reply(heartbeat.sequence, false).await;
            control.acknowledged(1).await;
            while control.heartbeat().await.strict {}
        })
        .await;
    drop(proxy);
    let proxy = Proxy::start(dir.path());
    assert_eq!(proxy.snapshot.lease().mode(), Mode::Available);
    assert!(proxy.snapshot.lease().holds());
}

const ROUTE: &str = r#"{"path": "/", "upstream": "control", "auth": "open"}"#;

#[tokio::test]
async fn a_change_of_routes_is_acknowledged_when_requests_are_routed_by_it_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    let objects = proxy.snapshot.objects();
    proxy
        .session(async |control| {
            control.shake_hands().await;
            control.snapshot(10, 0..5).await;
            control.acknowledged(10).await;
            control.object(11, "a", ROUTE).await;
            control.delta(12, 1).await;
            // All of it is on disk, and nothing is said of it in two heartbeats.
            proxy.disk.state().wait_for(|on_disk| on_disk.revision == 12).await.unwrap();
            for _ in 0..2 {
                let next = control.hear().await;
                assert!(matches!(next, Some(ToControl::Heartbeat(_))), "{next:?}");
            }
            objects.set_built(objects.version(), Vec::new);
            let ack = control.ack().await;
            assert_eq!((ack.revision, ack.refused), (12, None), "what waited behind it too");
        })
        .await;
    // A table that is not there yet when the stream breaks is not claimed either.
    proxy
        .session(async |control| {
            assert_eq!(control.hello.revision, 12);
            control.shake_hands().await;
            control.object(13, "a", &ROUTE.replace("open", "key")).await;
            proxy.disk.state().wait_for(|on_disk| on_disk.revision == 13).await.unwrap();
        })
        .await;
    proxy.session(async |control| assert_eq!(control.hello.revision, 0)).await;
}

#[tokio::test]
async fn what_is_refused_comes_with_the_acknowledgement_and_again_with_every_hello() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    let objects = proxy.snapshot.objects();
    let taken = || v1::RefusedObject { kind: "route".into(), name: "a".into(), reason: "x\ny".repeat(200) };
    proxy
        .session(async |control| {
            assert_eq!(control.hello.refused, Some(v1::Refused::default()));
            control.shake_hands().await;
            control.snapshot(10, 0..5).await;
            control.acknowledged(10).await;
            control.object(11, "a", ROUTE).await;
            control.object(12, "b", r#"{"path": "/b", "colour": "red"}"#).await;
            while proxy.snapshot.revision() < 12 {
                tokio::task::yield_now().await;
            }
            objects.set_built(objects.version(), || vec![taken()]);
            let mut ack = control.ack().await;
            while ack.revision < 12 {
                ack = v1::Ack { refused: ack.refused, ..control.ack().await };
            }
            let refused = ack.refused.unwrap();
            let names: Vec<_> = refused.objects.iter().map(|object| object.name.as_str()).collect();
            assert_eq!((refused.count, names), (2, vec!["b", "a"]), "what cannot be read is not in force either");
            assert!(refused.objects[0].reason.contains("colour"));
            assert_eq!((refused.objects[1].reason.len(), refused.objects[1].reason.contains('\n')), (200, false));

            // A file gives its place back: nothing has been changed by control.
            objects.set_built(objects.version(), Vec::new);
            let ack = control.ack().await;
            assert_eq!((ack.revision, ack.refused.map(|refused| refused.count)), (12, Some(1)));
        })
        .await;
    proxy.session(async |control| assert_eq!(control.hello.refused.as_ref().map(|refused| refused.count), Some(1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_control_process_that_falls_silent_is_left_long_before_the_lease_ends_where_there_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    let lasted = async |so: fn(&mut Session<'_>)| {
        let began = tokio::time::Instant::now();
        let ended = proxy
            .session_so(so, async |control| {
                control.shake_hands().await;
                while control.hear().await.is_some() {}
            })
            .await;
        assert!(matches!(ended, Ended::Silent), "{ended:?}");
        began.elapsed()
    };
    let several = lasted(|session| {
        session.leases_of(Duration::from_secs(10));
        session.leaves_the_silent();
    });
    assert!(several.await < Duration::from_secs(5));
    assert!(lasted(|_| ()).await > Duration::from_secs(15), "where there is no other it is given time");
}

#[tokio::test]
async fn usage_comes_again_until_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(dir.path());
    let total = v1::UsageTotal { admitted: 3, ..Default::default() };
    proxy.usage.totals.lock().push(total.clone());
    let batch = async |control: &mut Control| loop {
        if let ToControl::Usage(batch) = control.hear().await.unwrap() {
            return batch;
        }
    };
    proxy
        .session(async |control| {
            control.shake_hands().await;
            assert_eq!(batch(control).await.totals, std::slice::from_ref(&total));
        })
        .await;
    assert_eq!(*proxy.usage.log.lock(), ["failed"]);

    proxy.usage.totals.lock().push(total);
    proxy
        .session(async |control| {
            control.shake_hands().await;
            let batch = batch(control).await;
            assert_eq!(batch.ledger_id, [4; 16]);
            control.say(ToProxy::UsageAck(v1::UsageAck { sequence: batch.sequence })).await;
        })
        .await;
    assert_eq!(*proxy.usage.log.lock(), ["failed", "acknowledged"]);
}
