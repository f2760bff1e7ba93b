//! Signed requests: whose signature a request carries, and, where it covers a body, the charge that waits for it.
//!
//! The signature is verified by the head alone ([`clearway_filters::signature`]). A request without a body is charged
//! at once, as every other; one with a body is charged once all of it has come and is the one that was signed, so that
//! a wrong one costs nothing. Nothing of it goes to an upstream before that.

use std::{net::IpAddr, sync::Arc};

use clearway_config::{KeyHash, KeyId, Limits, RequestId};
use clearway_filters::{
    Reject,
    policy::body::is_longer,
    quota::Now,
    signature::{Body, BodyDigest, Presented, Refusal, Request},
};
use http::{header::HOST, uri::Authority};
use pingora::{Error, ErrorType, proxy::Session};

use super::{
    State, arrival,
    decide::{Incoming, Stop},
    exchange::Exchange,
    now_ms,
    whole_body::{self, Unread},
};
use crate::{
    auth::{Mark, Replays},
    ledger::{Admission, Ledger, SlotId},
    snapshot::View,
};

/// A signature that is one of a key's, over this request.
#[derive(Debug)]
pub(super) struct Verified {
    /// The secret that the signing secret stands beside.
    pub(super) hash: KeyHash,
    mark: Mark,
    digest: Option<BodyDigest>,
}

/// What a request is charged with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bill {
    pub(super) request_id: RequestId,
    pub(super) address: IpAddr,
    pub(super) account: (SlotId, Limits),
    pub(super) key: (SlotId, Limits),
}

/// A request that passes if its body is the one that was signed.
#[derive(Debug)]
pub(crate) struct Due {
    digest: BodyDigest,
    mark: Mark,
    bill: Bill,
}

impl Verified {
    /// The signature by `key`, or by whom it says. `None` as a key: it alone says who asks.
    pub(super) fn read(
        incoming: &Incoming<'_>,
        pinned: &View<'_>,
        replays: &Replays,
        key: Option<KeyId>,
    ) -> Result<Self, Refusal> {
        let headers = &incoming.parts.headers;
        let presented = Presented::read(headers)?.ok_or(Refusal::Missing)?;
        if key.is_some_and(|key| key != presented.key()) {
            return Err(Refusal::Malformed("keyid is not the id of the key that was sent"));
        }
        let hash = signer(incoming, pinned, &presented)?;
        replays.reach(&presented)?;
        let digest = BodyDigest::read(headers)?;
        if incoming.body == Body::None && digest.as_ref().is_some_and(|digest| !digest.is_of(b"")) {
            return Err(Refusal::Digest);
        }
        Ok(Self { hash, mark: Mark::of(&presented), digest: digest.filter(|_| incoming.body == Body::Follows) })
    }

    /// Charges the request, unless that has to wait for its body: then what is due is left in `due`.
    pub(super) fn charge(
        self,
        bill: Bill,
        now_ms: u64,
        replays: &Replays,
        ledger: &Arc<Ledger>,
        due: Option<&mut Option<Box<Due>>>,
    ) -> Result<Option<Admission>, Reject> {
        match (self.digest, due) {
            (Some(digest), Some(due)) => {
                *due = Some(Box::new(Due { digest, mark: self.mark, bill }));
                Ok(None)
            }
            _ => once(self.mark, bill, now_ms, replays, ledger).map(Some),
        }
    }
}

impl Due {
    /// Charges the request, whose body has come.
    pub(super) fn charge(self, body: &[u8], now_ms: u64, replays: &Replays, ledger: &Arc<Ledger>) -> Result<Admission, Reject> {
        if !self.digest.is_of(body) {
            return Err(Refusal::Digest.into());
        }
        once(self.mark, self.bill, now_ms, replays, ledger)
    }
}

/// Reads a signed body, and charges the request if it is the one that was signed. An error: the client has gone.
pub(super) async fn settle(
    state: &State,
    session: &mut Session,
    exchange: &mut Exchange,
    due: Due,
) -> Result<Result<(), Stop>, Box<Error>> {
    let max = exchange.policies().and_then(|policies| policies.body_max());
    let max = max.map_or(state.signed_body_max, |max| max.min(state.signed_body_max));
    let read = if is_longer(&session.req_header().headers, max) {
        Err(Unread::TooLarge)
    } else {
        whole_body::read(session, max, &state.bodies).await
    };
    let charged = match read {
        Ok(whole) => {
            let admission = due.charge(&whole.bytes, now_ms(), &state.replays, &state.ledger);
            admission.map(|admission| (whole, admission))
        }
        Err(Unread::TooLarge) => Err(Reject::BodyTooLarge),
        Err(Unread::TooSlow) => Err(Reject::BodyTooSlow),
        Err(Unread::NoRoom) => Err(Reject::Overloaded),
        Err(Unread::Broken) => {
            return Error::e_explain(ErrorType::ConnectionClosed, "the client has left").map_err(Error::into_down);
        }
    };
    Ok(match charged {
        Ok((whole, admission)) => {
            exchange.admitted(Some(admission), None);
            exchange.whole = Some(whole);
            Ok(())
        }
        Err(reject) => Err(arrival::refused(state, exchange, reject)),
    })
}

/// Has upstreams sent a body that has been read, where nothing else has been made of it.
pub(super) fn lend(session: &mut Session, exchange: &mut Exchange) {
    if let Some(body) = exchange.take_whole() {
        exchange.loan = Some(whole_body::lend(session, Some(body)));
    }
}

/// Accepts the signature, this once, and charges. A request that has met a limit may be sent again as it is.
fn once(mark: Mark, bill: Bill, now_ms: u64, replays: &Replays, ledger: &Arc<Ledger>) -> Result<Admission, Reject> {
    replays.remember(mark, now_ms / 1000)?;
    let Bill { request_id, address, account, key } = bill;
    ledger
        .admit(&Now::at(now_ms), request_id, address, (account.0, &account.1), (key.0, &key.1))
        .inspect_err(|_| replays.forget(mark))
}

/// Whose signing secret made it. Keys that sign nothing and keys that are not known look alike.
fn signer(incoming: &Incoming<'_>, pinned: &View<'_>, presented: &Presented) -> Result<KeyHash, Refusal> {
    let signers = pinned.signers(&presented.key()).ok_or(Refusal::Invalid)?;
    let request = request(incoming)?;
    let now_s = incoming.now_ms / 1000;
    for signer in &*signers {
        match presented.verify(&request, incoming.body, signer.secret(), now_s) {
            Ok(()) => return Ok(*signer.hash()),
            // Another of the key's secrets may have made it.
            Err(Refusal::Invalid) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(Refusal::Invalid)
}

/// The request as its signer saw it.
fn request<'r>(incoming: &Incoming<'r>) -> Result<Request<'r>, Refusal> {
    let parts = incoming.parts;
    let target = std::str::from_utf8(incoming.target).map_err(|_| Refusal::Malformed("target that is not UTF-8"))?;
    let (authority, path_and_query) = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..at]), &rest[at..])
        }
        _ => (None, target),
    };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = authority.or(host).or_else(|| parts.uri.authority().map(Authority::as_str));
    Ok(Request {
        method: &parts.method,
        scheme: if incoming.secure { "https" } else { "http" },
        authority: authority.ok_or(Refusal::Malformed("request that names no host"))?,
        path_and_query: if path_and_query.is_empty() { "/" } else { path_and_query },
        headers: &parts.headers,
    })
}
