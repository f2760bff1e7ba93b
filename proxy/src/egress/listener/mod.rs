//! Where an operator's own senders post what is to be signed and passed on: `POST /webhooks/{webhook_id}`.
//!
//! Who sends is judged as at the gateway, by an API key of the webhook's account with `write:webhooks`, or of an admin;
//! nothing is charged. The body is hashed while it comes in, signed when it has, and posted in one attempt; the
//! receiver's answer goes back. What goes wrong on the way is answered in our own words. An answer says by whom it is in
//! `clearway-answered-by`: `receiver` or `egress`.

mod answer;
mod arrival;
mod body;

use std::{convert::Infallible, net::IpAddr, pin::pin, sync::Arc};

use clearway_config::{EventId, RequestId};
use clearway_filters::webhook::{self, is_message_id};
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
};

use self::{
    answer::{AnswerStream, Stop},
    arrival::Arrival,
};
use super::{Poster, message::Signed, places::Side, post::unsigned};
use crate::gateway::{State, now_ms, random};

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
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, peer: IpAddr) {
        let hang_up = self.hang_up.clone();
        let mut hang_up = pin!(hang_up.notified());
        hang_up.as_mut().enable();
        let limits = self.state.limits;
        let listener = self.clone();
        let service = service_fn(move |request| {
            let listener = listener.clone();
            async move { Ok::<_, Infallible>(listener.answer(request, peer).await) }
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

    async fn answer(&self, request: Request<Incoming>, peer: IpAddr) -> Response<AnswerStream> {
        let mut response = match self.pass_on(request, peer).await {
            Ok(response) => response,
            Err(stop) => stop.answer(&self.state, RequestId::new(now_ms(), random())),
        };
        if *self.closing.borrow() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn pass_on(&self, request: Request<Incoming>, peer: IpAddr) -> Result<Response<AnswerStream>, Stop> {
        let (parts, body) = request.into_parts();
        let Arrival { webhook } = Arrival::read(&self.state, &parts, peer)?;
        let to = Poster::ready(&webhook)?;

        let (id, described) = (message_id(&parts.headers)?, described(&parts.headers));
        let now_ms = now_ms();
        let timestamp_s = now_ms / 1000;
        let text = id.to_str().map_err(|_| Stop::malformed_id())?;
        let mut signing = to.signer.begin(text, timestamp_s, now_ms).ok_or_else(unsigned)?;
        let body =
            body::read(&self.state, body, self.poster.egress.settings.body_max.as_u64(), |piece| signing.update(piece)).await?;
        let signed = Signed { id, timestamp_s, signatures: signing.finish(), attempt: None, described, body: body.bytes.clone() };
        // Whoever sends slowly takes no other message's place.
        let place = self.poster.enter(Side::Senders)?;
        let answer = self.poster.send(&webhook, to, &signed, place).await?;
        answer::passed_back(answer, signed.id)
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
