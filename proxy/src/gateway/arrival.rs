//! What happens to every request as soon as its head has been read, whichever way it goes on: it gets
//! its ids, its trace, and its decision.

use std::{net::IpAddr, sync::Arc};

use clearway_config::settings::process::LimitSettings;
use clearway_filters::Reject;
use clearway_filters::signature::Body;
use http::{
    HeaderValue, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    request::Parts,
};

use super::{
    State,
    decide::{self, Charge, Grounds, Incoming, Stop},
    exchange::{Exchange, ForwardedProto},
    forward, grpc, head,
    texts::{Word, Writer},
    trace::Trace,
};
use crate::tls::acceptor::TlsFacts;

/// Who is connected.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// Of an encrypted connection.
    pub(crate) tls: Option<Arc<TlsFacts>>,
    /// The next answer is the last on this connection: another process stands between it and the client.
    pub(crate) parting: bool,
}

/// A request whose head has been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'r> {
    pub(super) parts: &'r Parts,
    /// The request's target as it came: for HTTP/2, `:path`.
    pub(super) target: &'r [u8],
    /// The head's bytes; HTTP/2 has none.
    pub(super) head: Option<&'r [u8]>,
    /// Whether a body follows it.
    pub(super) body: Body,
    pub(super) peer: &'r Peer,
    /// There is memory to serve it with.
    pub(super) has_room: bool,
}

impl<'r> Arrival<'r> {
    /// By HTTP/1.
    pub(super) fn h1(parts: &'r Parts, head: &'r [u8], peer: &'r Peer, has_room: bool) -> Self {
        let (coded, length) = (parts.headers.contains_key(TRANSFER_ENCODING), parts.headers.get(CONTENT_LENGTH));
        let follows = coded || length.is_some_and(|length| length.as_bytes().iter().any(|&digit| digit != b'0'));
        Self { parts, target: head::target(head), head: Some(head), body: body(follows), peer, has_room }
    }

    /// By HTTP/2.
    pub(super) fn h2(parts: &'r Parts, target: &'r [u8], follows: bool, peer: &'r Peer, has_room: bool) -> Self {
        Self { parts, target, head: None, body: body(follows), peer, has_room }
    }
}

fn body(follows: bool) -> Body {
    if follows { Body::Follows } else { Body::None }
}

/// Decides; synchronous, so that what it borrows from the snapshot is held across no await. Where [`decide::Facts::wanted`]
/// says something then, that is to be asked for, and this to be called again.
pub(super) fn decide(state: &State, exchange: &mut Exchange, arrival: &Arrival<'_>) -> Result<(), Stop> {
    let Arrival { parts, target, head, body, peer, .. } = *arrival;
    let table = state.routes.current();
    exchange.under(Arc::clone(&table), &parts.method);
    exchange.decided = true;
    let traceparent = parts.headers.get(forward::TRACEPARENT).map(HeaderValue::as_bytes);
    exchange.trace = Trace::continue_or_start(traceparent, exchange.random, |id| state.spans.samples(id));
    exchange.tls.clone_from(&peer.tls);
    exchange.protocol = Some(protocol(parts));
    exchange.parting = peer.parting;
    exchange.forwarded_proto = forwarded_proto(state, arrival);

    let mut words = Writer::with_capacity(256 + head.unwrap_or(target).len() / 4);
    words.put(Word::RequestId, exchange.request_id);
    words.put_with(Word::Traceparent, |to| exchange.trace.write(to));
    let shape = state.access_log.shape();
    if shape.describes() {
        let query = target.splitn(2, |&b| b == b'?').nth(1);
        words.put_with(Word::Described, |to| shape.describe(query, &parts.headers, to));
    }
    let incoming = Incoming {
        parts,
        target,
        head,
        body,
        peer: peer.address,
        tls: peer.tls.as_deref(),
        secure: exchange.forwarded_proto == ForwardedProto::Https,
        now_ms: exchange.now_ms,
        request_id: exchange.request_id,
    };
    let grounds = Grounds {
        table: &table,
        snapshot: &state.snapshot,
        ledger: &state.ledger,
        leases: state.leases.as_ref(),
        trusted_proxies: &state.trusted_proxies,
        front: &state.front,
        replays: &state.replays,
    };
    let decision = within(&state.limits, arrival)
        .map_err(Stop::Refused)
        .and_then(|()| decide::decide(&incoming, &grounds, &mut exchange.facts, &mut words));
    exchange.texts = words.done();
    let passage = match decision {
        Ok(passage) => passage,
        Err(Stop::Refused(reject @ Reject::LeaseShort(_))) if exchange.facts.wanted.is_some() => {
            // Not before the store has been asked.
            exchange.decided = false;
            return Err(Stop::Refused(reject));
        }
        Err(Stop::Refused(reject)) => return Err(refused(state, exchange, reject)),
        Err(Stop::Answered(mut answered)) => {
            exchange.charged(std::mem::replace(&mut answered.charge, Charge::Nothing));
            return Err(Stop::Answered(answered));
        }
    };
    exchange.upgrade = passage.upgrade;
    exchange.target = passage.target;
    exchange.charged(passage.charge);
    if let Some(upstream) = exchange.upstream().cloned() {
        exchange.attempts.prepare(&upstream, &exchange.facts, &parts.headers);
    }
    Ok(())
}

/// Notes that a request goes no further.
pub(super) fn refused(state: &State, exchange: &mut Exchange, reject: Reject) -> Stop {
    state.metrics.rejected(reject.code());
    exchange.facts.reject = Some(reject.code());
    Stop::Refused(reject)
}

fn protocol(parts: &Parts) -> &'static str {
    match parts.version {
        Version::HTTP_2 if grpc::is_call(parts) => "grpc",
        Version::HTTP_2 => "h2",
        Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    }
}

/// What is too long, or too much, is not looked at any further.
fn within(limits: &LimitSettings, arrival: &Arrival<'_>) -> Result<(), Reject> {
    if !arrival.has_room {
        return Err(Reject::Overloaded);
    }
    if arrival.target.len() > limits.uri_bytes() {
        return Err(Reject::UriTooLong);
    }
    // By HTTP/1 nobody gets here with more.
    if arrival.parts.headers.len() > limits.headers {
        return Err(Reject::HeadTooLarge);
    }
    Ok(())
}

/// Over an unencrypted connection, `https` only on the word of a trusted proxy.
fn forwarded_proto(state: &State, arrival: &Arrival<'_>) -> ForwardedProto {
    let said = || arrival.parts.headers.get(forward::FORWARDED_PROTO);
    let trusted = || state.trusted_proxies.iter().any(|net| net.contains(&arrival.peer.address.to_canonical()));
    if arrival.peer.tls.is_some() || (trusted() && said().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))) {
        ForwardedProto::Https
    } else {
        ForwardedProto::Http
    }
}
