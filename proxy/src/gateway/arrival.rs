//! What happens to every request as soon as its head has been read, whichever way it goes on: it gets
//! its ids, its trace, and its decision.

use std::{net::IpAddr, sync::Arc};

use clearway_filters::Reject;
use http::{HeaderValue, request::Parts};

use super::{
    State,
    decide::{self, Grounds, Incoming},
    exchange::{Exchange, ForwardedProto},
    forward, head,
    texts::{Word, Writer},
    trace::Trace,
};

/// Who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// Whether the connection is encrypted.
    pub(super) secure: bool,
}

/// A request whose head has been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'r> {
    pub(super) parts: &'r Parts,
    /// The head's bytes.
    pub(super) head: &'r [u8],
    pub(super) peer: Peer,
}

/// Decides; synchronous, so that what it borrows from the snapshot is held across no await.
pub(super) fn decide(state: &State, exchange: &mut Exchange, arrival: &Arrival<'_>) -> Result<(), Reject> {
    let Arrival { parts, head, peer } = *arrival;
    let table = state.routes.current();
    exchange.under(Arc::clone(&table), &parts.method);
    exchange.decided = true;
    let traceparent = parts.headers.get(forward::TRACEPARENT).map(HeaderValue::as_bytes);
    exchange.trace = Trace::continue_or_start(traceparent, exchange.random, |id| state.spans.samples(id));
    exchange.forwarded_proto = forwarded_proto(state, arrival);

    let mut words = Writer::with_capacity(256 + head.len() / 4);
    words.put(Word::RequestId, exchange.request_id);
    words.put_with(Word::Traceparent, |to| exchange.trace.write(to));
    let shape = state.access_log.shape();
    if shape.describes() {
        let query = head::target(head).splitn(2, |&b| b == b'?').nth(1);
        words.put_with(Word::Described, |to| shape.describe(query, &parts.headers, to));
    }
    let incoming = Incoming { parts, head, peer: peer.address, now_ms: exchange.now_ms, request_id: exchange.request_id };
    let grounds =
        Grounds { table: &table, snapshot: &state.snapshot, ledger: &state.ledger, trusted_proxies: &state.trusted_proxies };
    let decision = decide::decide(&incoming, &grounds, &mut exchange.facts, &mut words);
    exchange.texts = words.done();
    let passage = match decision {
        Ok(passage) => passage,
        Err(reject) => {
            state.metrics.rejected(reject.code());
            exchange.facts.reject = Some(reject.code());
            return Err(reject);
        }
    };
    exchange.upgrade = passage.upgrade;
    exchange.target = passage.target;
    exchange.admitted(passage.admission);
    exchange.attempts.turn = table.upstreams[passage.upstream].turn();
    Ok(())
}

/// Over an unencrypted connection, `https` only on the word of a trusted proxy.
fn forwarded_proto(state: &State, arrival: &Arrival<'_>) -> ForwardedProto {
    let said = || arrival.parts.headers.get(forward::FORWARDED_PROTO);
    let trusted = || state.trusted_proxies.iter().any(|net| net.contains(&arrival.peer.address.to_canonical()));
    if arrival.peer.secure || (trusted() && said().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"))) {
        ForwardedProto::Https
    } else {
        ForwardedProto::Http
    }
}
