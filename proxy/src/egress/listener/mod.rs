//! Where an operator's own senders post what is to be signed and passed on: `POST /webhooks/{webhook_id}`.
//!
//! Who sends is judged as at the gateway, by an API key of the webhook's account with `write:webhooks`, or of an admin;
//! nothing is charged. The body is hashed while it comes in, signed when it has, and posted in one attempt; the
//! receiver's answer goes back. What goes wrong on the way is answered in our own words. An answer says by whom it is in
//! `clearway-answered-by`: `receiver` or `egress`. Each message has its line in the access log.

mod answer;
mod arrival;
mod body;
mod entry;

use std::{convert::Infallible, pin::pin, sync::Arc, time::Instant};

use clearway_config::EventId;
use clearway_filters::webhook::{self, is_message_id};
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName},
    request::Parts,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, watch},
};

use self::{
    answer::{AnswerStream, Said, Stop},
    arrival::Arrival,
    entry::Entry,
};
use super::{
    Poster,
    places::Side,
    post::{message::Signed, unsigned},
};
use crate::gateway::{Peer, State, now_ms, random};

/// Of a message that comes without one.
const MESSAGE_ID_PREFIX: &str = "msg";
/// What a sender may say of its message; everything else is the webhook's to say, or ours.
const PASSED: [HeaderName; 6] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    HeaderName::from_static("clearway-event-type"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What the connections of one worker share.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) state: Arc<State>,
    pub(crate) poster: Poster,
    /// True: connections end with their next answer.
    pub(crate) closing: watch::Receiver<bool>,
    /// Let go of connections without a request.
    pub(crate) hang_up: Arc<Notify>,
}

impl Listener {
    /// Serves a connection to its end.
    pub(crate) async fn serve<S>(self: Arc<Self>, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hang_up = self.hang_up.clone();
        let mut hang_up = pin!(hang_up.notified());
        hang_up.as_mut().enable();
        let limits = self.state.limits;
        let listener = self.clone();
        let peer = Arc::new(peer);
        let service = service_fn(move |request| {
            let (listener, peer) = (listener.clone(), peer.clone());
            async move { Ok::<_, Infallible>(listener.answer(request, &peer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // Also while it waits for its next request.
            .header_read_timeout(limits.idle_timeout)
            .max_headers(limits.headers)
            .max_header_size(limits.head_bytes())
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            // How a client left is its own affair.
            _ = connection.as_mut() => return,
            () = hang_up => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<AnswerStream> {
        let (parts, body) = request.into_parts();
        let mut entry = Entry::begin(&self.state, &parts, peer);
        let response = match self.pass_on(&parts, body, peer, &mut entry).await {
            Ok(response) => response,
            Err(stop) => stop.answer(&self.state, &mut entry),
        };
        let mut response = answer::told(response, entry);
        if *self.closing.borrow() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn pass_on(&self, parts: &Parts, body: Incoming, peer: &Peer, entry: &mut Entry) -> Result<Response<Said>, Stop> {
        let Arrival { webhook } = Arrival::read(&self.state, parts, peer.address, entry)?;
        let to = Poster::ready(&webhook)?;

        let (id, described) = (message_id(&parts.headers)?, described(&parts.headers));
        let now_ms = now_ms();
        let timestamp_s = now_ms / 1000;
        let text = id.to_str().map_err(|_| Stop::malformed_id())?;
        let mut signing = to.signer.begin(text, timestamp_s, now_ms).ok_or_else(unsigned)?;
        let bytes_max = self.poster.egress.settings.body_max.as_u64();
        let body = body::read(&self.state, body, bytes_max, |piece| {
            entry.bytes_in += piece.len() as u64;
            signing.update(piece);
        });
        let body = body.await?;
        let signed = Signed { id, timestamp_s, signatures: signing.finish(), attempt: None, described, body: body.bytes.clone() };
        // Whoever sends slowly takes no other message's place.
        let place = self.poster.enter(Side::Senders)?;
        let asked = Instant::now();
        let answer = self.poster.send(&webhook, to, &signed, place).await;
        let address = answer.as_ref().map_or_else(|failed| failed.address, |answer| Some(answer.address));
        entry.asked(address, to.target.origin.port, asked.elapsed());
        answer::passed_back(answer?, signed.id)
    }
}

/// The sender's, where it says one; the receiver drops duplicates by it.
fn message_id(headers: &HeaderMap) -> Result<HeaderValue, Stop> {
    let mut said = headers.get_all(webhook::ID).iter();
    match (said.next(), said.next()) {
        (Some(id), None) if is_message_id(id.as_bytes()) => Ok(id.clone()),
        (Some(_), _) => Err(Stop::malformed_id()),
        (None, _) => {
            let id = EventId::new(now_ms(), random()).to_string();
            let digits = id.split_once('_').map_or(id.as_str(), |(_, digits)| digits);
            HeaderValue::try_from(format!("{MESSAGE_ID_PREFIX}_{digits}")).map_err(|_| Stop::malformed_id())
        }
    }
}

fn described(headers: &HeaderMap) -> HeaderMap {
    let mut described = HeaderMap::with_capacity(PASSED.len());
    for name in &PASSED {
        if let Some(value) = headers.get(name) {
            described.insert(name.clone(), value.clone());
        }
    }
    if !described.contains_key(CONTENT_TYPE) {
        described.insert(CONTENT_TYPE, OCTETS);
    }
    described
}
