//! Signed requests: whose signature a request carries, and that it is accepted once.
//!
//! The signature is verified by the head alone ([`clearway_filters::signature`]). A request without a body is charged
//! at once, as every other; one with a body is charged once all of it has come and is the one that was signed
//! ([`super::due`]). Nothing of it goes to an upstream before that.

use clearway_config::{KeyHash, KeyId};
use clearway_filters::{
    Reject,
    signature::{Body, BodyDigest, Presented, Refusal, Request},
};
use http::{header::HOST, uri::Authority};

use super::decide::Incoming;
use crate::{
    auth::{Mark, Replays},
    snapshot::View,
};

/// A signature that is one of a key's, over this request.
#[derive(Debug)]
pub(super) struct Verified {
    /// The secret that the signing secret stands beside.
    pub(super) hash: KeyHash,
    pub(super) seal: Seal,
}

/// A signature that can be accepted once, and the body it is over.
#[derive(Debug)]
pub(super) struct Seal {
    mark: Mark,
    /// `None` where there is no body.
    pub(super) digest: Option<BodyDigest>,
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
        replays.reach(presented.created_s())?;
        let digest = BodyDigest::read(headers)?;
        if incoming.body == Body::None && digest.as_ref().is_some_and(|digest| !digest.is_of(b"")) {
            return Err(Refusal::Digest);
        }
        let digest = digest.filter(|_| incoming.body == Body::Follows);
        Ok(Self { hash, seal: Seal { mark: Mark::of(&presented), digest } })
    }
}

impl Seal {
    /// Accepts the signature, this once, and charges by `admit`. A request that has met a limit may be sent again as it is.
    pub(super) fn once<T>(&self, now_ms: u64, replays: &Replays, admit: impl FnOnce() -> Result<T, Reject>) -> Result<T, Reject> {
        replays.remember(self.mark, now_ms / 1000)?;
        admit().inspect_err(|_| replays.forget(self.mark))
    }
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
