//! The service on a port of its own, and the proxy that attaches to it.

use std::{net::SocketAddr, time::Duration};

use clearway_config::{
    ProxyId,
    egress::{
        proxy_mac,
        v1::{self, FromEgress, ToEgress, from_egress::Message as ToControl, to_egress::Message as ToProxy},
    },
    sync::v1::{Challenge, Proof},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use super::super::{Egress, Finished, Outcome, Outcomes};
use crate::metrics::Metrics;

pub(super) const TOKEN: [u8; 32] = [7; 32];
pub(super) const BYTES_MAX: u64 = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Stand {
    pub(super) egress: Egress,
    pub(super) outcomes: Outcomes,
    pub(super) metrics: Metrics,
    addr: SocketAddr,
}

impl Stand {
    pub(super) async fn new() -> Self {
        Self::dropping_after(PATIENCE).await
    }

    pub(super) async fn dropping_after(silence_max: Duration) -> Self {
        let metrics = Metrics::new();
        let (egress, outcomes) = Egress::dropping_after(silence_max, TOKEN, metrics.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Server::builder().add_routes(egress.routes());
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        Self { egress, outcomes, metrics, addr }
    }

    pub(super) async fn connect(&self, n: u8) -> FakeProxy {
        FakeProxy::connect(self.addr, n).await
    }

    /// Attached, and known to be.
    pub(super) async fn attach(&self, n: u8, attempts_max: u32) -> FakeProxy {
        self.attach_process(n, [n; 16], attempts_max).await
    }

    pub(super) async fn attach_process(&self, n: u8, instance: [u8; 16], attempts_max: u32) -> FakeProxy {
        let mut proxy = self.connect(n).await;
        let before = self.egress.inner.attached().made;
        let hello = v1::Hello { attempts_max, instance: instance.to_vec(), ..proxy.hello() };
        let challenge = proxy.challenged(hello).await;
        proxy.prove(proxy_mac(&TOKEN, &proxy.nonce, &challenge.nonce)).await;
        self.until(|egress| egress.inner.attached().made > before).await;
        proxy
    }

    pub(super) async fn until(&self, holds: impl Fn(&Egress) -> bool) {
        let wait = async {
            while !holds(&self.egress) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it does not come to that");
    }

    pub(super) async fn next(&mut self) -> Vec<Finished> {
        tokio::time::timeout(PATIENCE, self.outcomes.next()).await.expect("nothing is heard of")
    }

    /// The numbers of the next `count` outcomes, sorted, all of which were lost or all answered.
    pub(super) async fn heard(&mut self, count: usize, lost: bool) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            for finished in self.next().await {
                assert_eq!(finished.outcome == Outcome::Lost, lost, "{finished:?}");
                numbers.push(finished.number);
            }
        }
        numbers.sort_unstable();
        numbers
    }
}

pub(super) fn id(n: u8) -> ProxyId {
    ProxyId::from_bytes([n; 16])
}

pub(super) fn attempt(number: u64, bytes: usize) -> v1::Attempt {
    v1::Attempt { number, body: vec![b'x'; bytes].into(), message_id: "evt_1".into(), attempt: 1, ..Default::default() }
}

pub(super) fn attempts(numbers: impl IntoIterator<Item = u64>) -> Vec<v1::Attempt> {
    numbers.into_iter().map(|number| attempt(number, 10)).collect()
}

pub(super) fn numbers(attempts: &[v1::Attempt]) -> Vec<u64> {
    attempts.iter().map(|attempt| attempt.number).collect()
}

pub(super) struct FakeProxy {
    n: u8,
    pub(super) nonce: [u8; 32],
    to: mpsc::Sender<FromEgress>,
    from: Streaming<ToEgress>,
}

impl FakeProxy {
    async fn connect(addr: SocketAddr, n: u8) -> Self {
        let channel = Endpoint::from_shared(format!("http://{addr}")).unwrap().connect().await.unwrap();
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let (to, messages) = mpsc::channel(64);
        let path = http::uri::PathAndQuery::from_static("/clearway.egress.v1.Egress/Attach");
        let codec = ProstCodec::<FromEgress, ToEgress>::default();
        let from = client.streaming(Request::new(ReceiverStream::new(messages)), path, codec).await.unwrap().into_inner();
        Self { n, nonce: [n; 32], to, from }
    }

    pub(super) fn hello(&self) -> v1::Hello {
        v1::Hello {
            proxy_id: id(self.n).to_vec(),
            name: "gateway".into(),
            version: "1".into(),
            nonce: self.nonce.to_vec(),
            attempts_max: 10,
            bytes_max: BYTES_MAX,
            instance: vec![self.n; 16],
        }
    }

    pub(super) async fn challenged(&mut self, hello: v1::Hello) -> Challenge {
        self.send(ToControl::Hello(hello)).await;
        let ToProxy::Challenge(challenge) = self.receive().await.unwrap().unwrap() else { panic!("a challenge was due") };
        challenge
    }

    pub(super) async fn prove(&mut self, mac: [u8; 32]) {
        self.send(ToControl::Proof(Proof { mac: mac.to_vec() })).await;
    }

    pub(super) async fn send(&mut self, message: ToControl) {
        // The stream may have ended: what then comes says so.
        let _ = self.to.send(FromEgress { message: Some(message) }).await;
    }

    /// The next message; `None` where control has ended the stream in order.
    pub(super) async fn receive(&mut self) -> Result<Option<ToProxy>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.from.message()).await.expect("control says nothing");
        Ok(next?.and_then(|message| message.message))
    }

    /// The next attempts; `None` where control has ended the stream in order.
    pub(super) async fn offered(&mut self) -> Result<Option<Vec<v1::Attempt>>, Status> {
        loop {
            match self.receive().await? {
                Some(ToProxy::Attempts(attempts)) => return Ok(Some(attempts.attempts)),
                Some(ToProxy::KeepAlive(_)) => {}
                Some(ToProxy::Challenge(_)) => panic!("the handshake is over"),
                None => return Ok(None),
            }
        }
    }

    /// The numbers of the next `count`, in the order in which they came.
    pub(super) async fn received(&mut self, count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(numbers(&self.offered().await.unwrap().expect("the stream goes on")));
        }
        all
    }

    pub(super) async fn answer(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let result = |number| v1::Result { number, status: Some(200), ..Default::default() };
        let results = numbers.into_iter().map(result).collect();
        self.send(ToControl::Results(v1::Results { results })).await;
    }

    pub(super) async fn drain(&mut self) {
        self.send(ToControl::Draining(v1::Draining {})).await;
    }
}
