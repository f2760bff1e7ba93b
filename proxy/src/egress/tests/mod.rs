mod answers;
mod connections;
mod messages;
mod oauth;
mod tls;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use clearway_config::{AccountId, WebhookId, egress::v1::Failure, settings::process::EgressSettings, sync::v1};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Egress, Message, Outcome, Poster, reach::resolve::Resolver};
use crate::snapshot::{Snapshot, Webhook};

const BODY: &[u8] = br#"{"id":"evt_1","type":"app.installed"}"#;

/// A message that a receiver got.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// What a receiver does with a message.
pub(super) enum Reply {
    /// These bytes, and goes on.
    Say(Vec<u8>),
    /// These bytes, and closes.
    Last(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Says this and nothing more, and goes on waiting.
    Hang(Vec<u8>),
}

pub(super) fn status(line: &str, more: &str, body: &str) -> Reply {
    Reply::Say(format!("HTTP/1.1 {line}\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

pub(super) fn ok() -> Reply {
    status("200 OK", "", "ok")
}

/// A receiver that does as it is told, and remembers.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    got: Mutex<Vec<Got>>,
}

type Script = dyn Fn(usize, &Got) -> Reply + Send + Sync;

impl Receiver {
    /// `script` is asked with the number of the message, from 0.
    pub(super) async fn start(script: impl Fn(usize, &Got) -> Reply + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", script).await
    }

    pub(super) async fn at(address: &str, script: impl Fn(usize, &Got) -> Reply + Send + Sync + 'static) -> Self {
        let (receiver, listener) = Self::bind(address).await;
        let (seen, script) = (receiver.seen.clone(), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, seen.clone(), script.clone()));
            }
        });
        receiver
    }

    async fn bind(address: &str) -> (Self, TcpListener) {
        let listener = TcpListener::bind(address).await.unwrap();
        (Self { address: listener.local_addr().unwrap(), seen: Arc::default() }, listener)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.address)
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.seen.got.lock().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Seen>, script: Arc<Script>) {
    let mut buffer = Vec::new();
    while let Some(got) = read(&mut stream, &mut buffer).await {
        let number = {
            let mut all = seen.got.lock();
            all.push(got.clone());
            all.len() - 1
        };
        match script(number, &got) {
            Reply::Say(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
            Reply::Last(bytes) => {
                stream.write_all(&bytes).await.unwrap_or_default();
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Close => return,
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).await.unwrap_or_default();
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Got> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    }
    let length: usize = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[end..end + length].to_vec();
    buffer.drain(..end + length);
    Some(Got { target, headers, body })
}

pub(super) fn settings() -> EgressSettings {
    EgressSettings {
        allow: vec!["127.0.0.1/32".parse().unwrap()],
        allow_http: true,
        first_byte_timeout: Duration::from_secs(10),
        ..EgressSettings::default()
    }
}

pub(super) fn poster(settings: &EgressSettings) -> Poster {
    Poster::new(Arc::new(Egress::new(settings).unwrap()))
}

/// By whom names lead where the test wants.
pub(super) fn resolving(settings: &EgressSettings, names: &[(&'static str, &[SocketAddr])]) -> Poster {
    let names: HashMap<_, _> = names.iter().map(|(name, leads_to)| (*name, leads_to.to_vec())).collect();
    let resolver = Resolver::by(move |host, _| {
        let found = names.get(&*host).cloned().ok_or(std::io::ErrorKind::NotFound.into());
        Box::pin(async move { found })
    });
    Poster::new(Arc::new(Egress { resolver, ..Egress::new(settings).unwrap() }))
}

pub(super) fn wire(url: &str) -> v1::Webhook {
    v1::Webhook {
        id: WebhookId::from_bytes([2; 16]).to_vec(),
        account_id: AccountId::from_bytes([1; 16]).to_vec(),
        url: url.to_owned(),
        active: true,
        brand: "Clearway".to_owned(),
        secrets: Some(v1::WebhookSecrets {
            signing: vec![v1::WebhookSecret { hmac_key: vec![7; 32], ..Default::default() }],
            ..Default::default()
        }),
        ..v1::Webhook::default()
    }
}

/// As the snapshot would hold it.
pub(super) fn held(wire: &v1::Webhook) -> Arc<Webhook> {
    let snapshot = Snapshot::new();
    snapshot.apply_chunk(&v1::Changes { webhooks: vec![wire.clone()], ..Default::default() });
    snapshot.webhook(&WebhookId::from_slice(&wire.id).unwrap()).expect("a webhook that can be read")
}

pub(super) fn message() -> Message {
    Message {
        id: "evt_0000000000000000000001".to_owned(),
        attempt: 3,
        event_type: "app.installed".to_owned(),
        body: Bytes::from_static(BODY),
    }
}

pub(super) async fn post(poster: &Poster, url: &str) -> Outcome {
    poster.post(&held(&wire(url)), message()).await
}

pub(super) fn assert_failed(outcome: &Outcome, failure: Failure) {
    assert_eq!((outcome.failure, outcome.status), (Some(failure), None), "{}", outcome.reason);
    assert!(!outcome.reason.is_empty());
}
