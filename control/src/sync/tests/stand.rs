//! A hub on a fresh database, and the proxy that attaches to it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use clearway_config::{
    KeyHash, ProxyId,
    sync::{
        proxy_mac,
        v1::{self, FromControl, FromProxy, from_control::Message as ToProxy, from_proxy::Message as ToControl},
    },
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, service::Routes, transport::Endpoint};
use tonic_prost::ProstCodec;

pub(super) use clearway_config::settings::Mode;

use super::super::{
    ChangeKind, Clock, Feed, Hub, Objects, Options, Propagation, Revision, Status as HubStatus, UsageSink, Wait, record,
    removed_secret_id, store,
};
use crate::db::{
    self, Db,
    testing::{Engine, TestDb},
};

pub(super) const TOKEN: [u8; 32] = [7; 32];
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn hash(n: u64) -> Vec<u8> {
    let mut hash = vec![0; 32];
    hash[..8].copy_from_slice(&n.to_be_bytes());
    hash
}

/// Keys without a table: what a feature would have in its own.
#[derive(Clone, Default)]
pub(super) struct Keys(Arc<Mutex<BTreeMap<String, v1::Credential>>>);

#[async_trait]
impl Feed for Keys {
    fn kind(&self) -> ChangeKind {
        ChangeKind::Key
    }

    async fn load(&self, _: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        let keys = self.0.lock().unwrap();
        Ok(v1::Changes { credentials: ids.iter().filter_map(|id| keys.get(id).cloned()).collect(), ..Default::default() })
    }

    async fn page(&self, _: &Db, after: Option<String>, _: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let keys = self.0.lock().unwrap();
        let page: Vec<_> = keys.range(after.unwrap_or_default()..).take(8).collect();
        let next = (page.len() == 8).then(|| format!("{}~", page[7].0));
        let credentials = page.into_iter().map(|(_, credential)| credential.clone()).collect();
        Ok((v1::Changes { credentials, ..Default::default() }, next))
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

#[derive(Default)]
pub(super) struct Usage {
    pub(super) stored: Mutex<Vec<v1::UsageBatch>>,
}

#[async_trait]
impl UsageSink for Usage {
    async fn ingest(&self, _: &Db, _: &ProxyId, batch: v1::UsageBatch) -> db::Result<()> {
        self.stored.lock().unwrap().push(batch);
        Ok(())
    }
}

#[derive(Clone)]
pub(super) struct Writer {
    db: Db,
    keys: Keys,
}

impl Writer {
    pub(super) async fn commit(&self, n: u64, revoked: bool) -> Revision {
        let mut tx = self.db.begin().await.unwrap();
        let revision = record(&mut tx, ChangeKind::Key, &format!("key_{n:04}"), 1).await.unwrap();
        self.keys
            .0
            .lock()
            .unwrap()
            .insert(format!("key_{n:04}"), v1::Credential { hash: hash(n), revoked, ..Default::default() });
        tx.commit().await.unwrap();
        revision
    }
}

pub(super) struct Stand {
    pub(super) test_db: TestDb,
    pub(super) hub: Hub,
    pub(super) addr: SocketAddr,
    pub(super) clock: Clock,
    pub(super) usage: Arc<Usage>,
    keys: Keys,
    server: JoinHandle<()>,
    mode: Mode,
}

impl Stand {
    pub(super) async fn new(mode: Mode) -> Self {
        Self::on(TestDb::new(Engine::Sqlite).await, mode).await
    }

    pub(super) async fn on(test_db: TestDb, mode: Mode) -> Self {
        Self::with(test_db, mode, Keys::default()).await
    }

    async fn with(test_db: TestDb, mode: Mode, keys: Keys) -> Self {
        let (clock, usage) = (Clock::default(), Arc::new(Usage::default()));
        let options =
            Options { mode, auth_lease: Duration::from_secs(10), token: TOKEN, clock: clock.clone(), name: "here".into() };
        let hub = Hub::start(test_db.db.clone(), vec![Arc::new(keys.clone())], usage.clone(), options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn({
            let hub = hub.clone();
            async move { hub.serve(listener, None, Routes::default(), std::future::pending()).await.unwrap() }
        });
        Self { test_db, hub, addr, clock, usage, keys, server, mode }
    }

    /// Another process on the same database.
    pub(super) async fn restarted(self) -> Self {
        self.server.abort();
        self.hub.inner().stopping.send_replace(true);
        Self::with(self.test_db, self.mode, self.keys).await
    }

    pub(super) fn writer(&self) -> Writer {
        Writer { db: self.test_db.db.clone(), keys: self.keys.clone() }
    }

    pub(super) async fn commit(&self, n: u64, revoked: bool) -> Revision {
        self.writer().commit(n, revoked).await
    }

    pub(super) async fn remove(&self, n: u64) -> Revision {
        let hash = KeyHash::from_slice(&hash(n)).unwrap();
        let mut tx = self.test_db.db.begin().await.unwrap();
        self.keys.0.lock().unwrap().remove(&format!("key_{n:04}"));
        let revision = record(&mut tx, ChangeKind::SecretRemoved, &removed_secret_id(&hash), 1).await.unwrap();
        tx.commit().await.unwrap();
        revision
    }

    pub(super) fn propagated(&self, revision: Revision, wait: Wait) -> JoinHandle<Propagation> {
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.propagated(revision, wait).await })
    }

    pub(super) fn objects_propagated(&self, revision: Revision, objects: Objects) -> JoinHandle<Propagation> {
        let hub = self.hub.clone();
        tokio::spawn(async move { hub.objects_propagated(revision, objects, Wait::Enforced).await })
    }

    pub(super) async fn published(&self, revision: i64) {
        self.hub.inner().want();
        self.until(|status| status.revision >= Revision(revision)).await;
    }

    pub(super) async fn until(&self, holds: impl Fn(&HubStatus) -> bool) {
        let wait = async {
            while !holds(&self.hub.status()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it does not come to that");
    }

    /// Waits until the first proxy's row is so.
    pub(super) async fn noted(&self, is: impl Fn(&store::Proxy) -> bool) {
        let wait = async { while !store::proxies(&self.test_db.db).await.unwrap().first().is_some_and(&is) {} };
        tokio::time::timeout(PATIENCE, wait).await.expect("it does not come to that");
    }

    pub(super) async fn attach(&self, n: u8, from: Option<(u64, Vec<u8>)>) -> FakeProxy {
        let mut proxy = FakeProxy::connect(self.addr, n).await;
        proxy.shake_hands(TOKEN, from).await;
        proxy
    }
}

pub(super) struct FakeProxy {
    id: ProxyId,
    pub(super) nonce: [u8; 32],
    to: mpsc::Sender<FromProxy>,
    from: Streaming<FromControl>,
    heartbeats: u64,
    pub(super) store_id: Vec<u8>,
    pub(super) held: BTreeMap<Vec<u8>, v1::Credential>,
}

impl FakeProxy {
    pub(super) async fn connect(addr: SocketAddr, n: u8) -> Self {
        let channel = Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let (to, messages) = mpsc::channel(64);
        let path = http::uri::PathAndQuery::from_static("/clearway.sync.v1.Sync/Attach");
        let codec = ProstCodec::<FromProxy, FromControl>::default();
        let from = client.streaming(Request::new(ReceiverStream::new(messages)), path, codec).await.unwrap().into_inner();
        let id = ProxyId::from_bytes([n; 16]);
        Self { id, nonce: [n; 32], to, from, heartbeats: 0, store_id: Vec::new(), held: BTreeMap::new() }
    }

    pub(super) async fn hello(&mut self, from: Option<(u64, Vec<u8>)>) -> v1::Challenge {
        let (revision, store_id) = from.unwrap_or_default();
        let hello = v1::Hello {
            proxy_id: self.id.to_vec(),
            name: "gateway".into(),
            version: "1".into(),
            nonce: self.nonce.to_vec(),
            revision,
            store_id,
            refused: None,
        };
        self.send(ToControl::Hello(hello)).await;
        let ToProxy::Challenge(challenge) = self.receive().await.unwrap() else { panic!("a challenge was due") };
        challenge
    }

    pub(super) async fn shake_hands(&mut self, token: [u8; 32], from: Option<(u64, Vec<u8>)>) {
        let challenge = self.hello(from).await;
        let mac = proxy_mac(&token, &self.nonce, &challenge.nonce).to_vec();
        self.send(ToControl::Proof(v1::Proof { mac })).await;
    }

    pub(super) async fn send(&mut self, message: ToControl) {
        self.to.send(FromProxy { message: Some(message) }).await.unwrap();
    }

    pub(super) async fn receive(&mut self) -> Result<ToProxy, Status> {
        let next = tokio::time::timeout(PATIENCE, self.from.message()).await.expect("control says nothing");
        Ok(next?.expect("control ended the stream").message.unwrap())
    }

    /// Its revision and how many credentials it held.
    pub(super) async fn receive_snapshot(&mut self) -> (u64, usize) {
        let ToProxy::SnapshotBegin(begin) = self.receive().await.unwrap() else { panic!("a snapshot was due") };
        self.store_id = begin.store_id;
        self.held.clear();
        loop {
            match self.receive().await.unwrap() {
                ToProxy::SnapshotChunk(chunk) => self.hold(chunk),
                ToProxy::SnapshotEnd(end) => return (end.revision, self.held.len()),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn receive_delta(&mut self) -> v1::Delta {
        let ToProxy::Delta(delta) = self.receive().await.unwrap() else { panic!("a delta was due") };
        self.hold(delta.changes.clone().unwrap());
        delta
    }

    fn hold(&mut self, changes: v1::Changes) {
        self.held.extend(changes.credentials.into_iter().map(|credential| (credential.hash.clone(), credential)));
    }

    pub(super) async fn acknowledge(&mut self, revision: u64) {
        self.send(ToControl::Ack(v1::Ack { revision, refused: None })).await;
    }

    pub(super) async fn heartbeat(&mut self) {
        self.heartbeats += 1;
        self.send(ToControl::Heartbeat(v1::Heartbeat { sequence: self.heartbeats, strict: true, report: None })).await;
    }

    pub(super) async fn lease(&mut self) {
        self.heartbeat().await;
        let ToProxy::HeartbeatReply(reply) = self.receive().await.unwrap() else { panic!("a lease was due") };
        assert_eq!((reply.sequence, reply.lease_ms), (self.heartbeats, 10_000));
    }
}
