//! Copies of requests for another upstream, whose answers nobody sees.
//!
//! A copy is made of what the upstream is sent, once, and put into a bounded queue; a task in the
//! background sends it. Where the queue is full, or the body too large to be held, there is no copy: a
//! mirror never delays a request, and never makes it fail.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Method, Uri, Version,
    header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING},
};
use pingora::{connectors::http::Connector, http::RequestHeader, protocols::http::client::HttpSession};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

use super::exchange::Exchange;
use crate::{
    metrics::Metrics,
    upstreams::{Failure, IDLE, PickFor, Upstream},
};

/// Bytes of a body that is copied at most.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Copies that wait to be sent at most.
const QUEUE_MAX: usize = 256;
/// Copies under way at the same time at most.
const SENDING_MAX: usize = 64;
/// How long one may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Marks a copy for the upstream that gets it.
const MARK: HeaderName = HeaderName::from_static("x-clearway-mirror");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Another gateway would accept it once more.
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// Where copies go in.
#[derive(Debug)]
pub(crate) struct Mirror {
    queue: mpsc::Sender<Copy>,
    metrics: Arc<Metrics>,
}

/// A request that is copied, and as much of its body as has come.
#[derive(Debug)]
pub(super) struct Copying {
    upstream: Arc<Upstream>,
    head: RequestHeader,
    body: BytesMut,
    hash: u64,
}

#[derive(Debug)]
struct Copy {
    upstream: Arc<Upstream>,
    head: RequestHeader,
    body: Bytes,
    hash: u64,
}

/// Settles whether a request is copied: what the upstream is sent, before its body.
pub(super) fn begin(mirror: &Mirror, exchange: &mut Exchange, head: &RequestHeader, bodiless: bool) {
    exchange.mirrored = true;
    let Some((settings, to)) = exchange.mirror() else { return };
    let chance = exchange.random.1;
    if exchange.upgrade || chance % 100 >= u64::from(settings.percent) {
        return;
    }
    let copying = Copying::begin(to.clone(), head, chance);
    if bodiless {
        mirror.send(copying);
    } else {
        exchange.copying = Some(copying);
    }
}

/// Copies a part of a request's body.
pub(super) fn copy(mirror: &Mirror, exchange: &mut Exchange, part: &[u8], end: bool) {
    let Some(mut copying) = exchange.copying.take() else { return };
    if !copying.add(part) {
        mirror.metrics.upstreams.mirrored(&copying.upstream.name, "too_large");
    } else if end {
        mirror.send(copying);
    } else {
        exchange.copying = Some(copying);
    }
}

impl Mirror {
    /// Sends copies on `runtime` for as long as it lives.
    pub(crate) fn start(runtime: &Handle, metrics: Arc<Metrics>) -> Self {
        let (queue, copies) = mpsc::channel(QUEUE_MAX);
        runtime.spawn(send_all(copies, metrics.clone()));
        Self { queue, metrics }
    }

    /// The request has been copied whole.
    fn send(&self, copying: Copying) {
        let Copying { upstream, head, body, hash } = copying;
        if let Err(mpsc::error::TrySendError::Full(copy) | mpsc::error::TrySendError::Closed(copy)) =
            self.queue.try_send(Copy { upstream, head, body: body.freeze(), hash })
        {
            self.metrics.upstreams.mirrored(&copy.upstream.name, "dropped");
        }
    }
}

impl Copying {
    /// Of the head that an upstream is sent.
    fn begin(upstream: Arc<Upstream>, head: &RequestHeader, hash: u64) -> Self {
        let mut head = head.clone();
        for name in [AUTHORIZATION, API_KEY, SIGNATURE, SIGNATURE_INPUT, EXPECT, TRANSFER_ENCODING, CONTENT_LENGTH] {
            head.remove_header(&name);
        }
        Self { upstream, head, body: BytesMut::new(), hash }
    }

    /// Says whether there is room for it.
    fn add(&mut self, part: &[u8]) -> bool {
        let fits = self.body.len() + part.len() <= BODY_BYTES_MAX;
        if fits {
            self.body.extend_from_slice(part);
        }
        fits
    }
}

async fn send_all(mut copies: mpsc::Receiver<Copy>, metrics: Arc<Metrics>) {
    let connector = Arc::new(Connector::new(None));
    let places = Arc::new(Semaphore::new(SENDING_MAX));
    while let Some(copy) = copies.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (connector, metrics) = (connector.clone(), metrics.clone());
        tokio::spawn(async move {
            let name = copy.upstream.name.clone();
            let result = if send(&connector, copy).await { "sent" } else { "failed" };
            metrics.upstreams.mirrored(&name, result);
            drop(place);
        });
    }
}

/// Says whether it has been answered, with whatever status.
async fn send(connector: &Connector, copy: Copy) -> bool {
    let Copy { upstream, head, body, hash } = copy;
    let Ok(mut lease) = upstream.lease(&PickFor { hash, ..PickFor::default() }) else { return false };
    let peer = upstream.peer(lease.target(), false);
    let exchange = async {
        let (mut session, _) = connector.get_http_session(&peer).await.map_err(|_| Failure::Connect)?;
        let status = ask(&mut session, head, body, peer.is_tls()).await.map_err(|_| Failure::Broken)?;
        Ok::<_, Failure>((session, status))
    };
    match tokio::time::timeout(TIME_MAX, exchange).await.unwrap_or(Err(Failure::Timeout)) {
        Ok((session, status)) => {
            lease.answered(status);
            rest(connector, session, &peer).await;
            true
        }
        Err(failure) => {
            lease.failed(failure);
            false
        }
    }
}

async fn ask(session: &mut HttpSession, mut head: RequestHeader, body: Bytes, tls: bool) -> pingora::Result<u16> {
    head.insert_header(MARK, HeaderValue::from_static("true"))?;
    if session.as_http2().is_some() {
        let host = head.remove_header(&HOST);
        let scheme = if tls { "https" } else { "http" };
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        let uri =
            Uri::builder().scheme(scheme).authority(host.as_ref().map_or(&b""[..], HeaderValue::as_bytes)).path_and_query(path);
        if let Ok(uri) = uri.build() {
            head.set_uri(uri);
        }
        head.set_version(Version::HTTP_2);
    } else {
        head.set_version(Version::HTTP_11);
        if !body.is_empty() || !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE) {
            head.insert_header(CONTENT_LENGTH, body.len())?;
        }
    }
    session.write_request_header(Box::new(head)).await?;
    if !body.is_empty() {
        session.write_request_body(body, true).await?;
    }
    session.finish_request_body().await?;
    session.read_response_header().await?;
    Ok(session.response_header().map_or(0, |answer| answer.status.as_u16()))
}

/// Reads the answer to its end, so that its connection can be used again.
async fn rest(connector: &Connector, mut session: HttpSession, peer: &pingora::upstreams::peer::HttpPeer) {
    let read = async {
        let mut left = ANSWER_BYTES_MAX;
        while let Ok(Some(part)) = session.read_response_body().await {
            left = left.checked_sub(part.len())?;
        }
        session.response_done().then_some(())
    };
    if tokio::time::timeout(TIME_MAX, read).await == Ok(Some(())) {
        if let HttpSession::H1(h1) = &mut session {
            h1.respect_keepalive();
        }
        connector.release_http_session(session, peer, Some(IDLE)).await;
    }
}
