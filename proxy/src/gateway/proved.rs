//! Tokens that are bound to a key (DPoP, RFC 9449): the proof that one is shown with, which is accepted once.

use clearway_filters::{
    Reject,
    jwt::{Proof, Proved, Refusal},
    request::RequestView,
    signature,
};

use super::decide::Incoming;
use crate::{
    auth::{Mark, Replays},
    snapshot::TokenIssuer,
};

/// A proof as it came. It has not been looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'r> {
    proof: &'r [u8],
    method: &'r str,
    path: &'r str,
}

/// A proof that is the token's and the request's own, as long as it was not shown before.
#[derive(Debug)]
pub(super) struct Fresh {
    mark: Mark,
    issued_s: u64,
}

impl<'r> Shown<'r> {
    pub(super) fn of(incoming: &Incoming<'r>, view: &'r RequestView<'r>) -> Result<Self, Refusal> {
        let mut proofs = incoming.parts.headers.get_all("dpop").iter();
        match (proofs.next(), proofs.next()) {
            (Some(proof), None) => Ok(Self { proof: proof.as_bytes(), method: view.method().as_str(), path: view.path() }),
            (None, _) => Err(Refusal::Unproved),
            (Some(_), Some(_)) => Err(Refusal::Proof("more than one")),
        }
    }

    /// Verifies it for a token that is `bound` to a key. Only Clearway's own are: where clients find the gateway is what they
    /// are issued by.
    pub(super) fn of_token(
        &self,
        token: &[u8],
        bound: Option<&str>,
        own: Option<&TokenIssuer>,
        now_ms: u64,
    ) -> Result<Fresh, Refusal> {
        let (Some(bound), Some(own)) = (bound, own) else { return Err(Refusal::Proof("the token is bound to no key")) };
        let of = Proved { method: self.method, base: &own.settings.issuer, path: self.path, token: Some(token) };
        let proof = Proof::verify(self.proof, of, now_ms)?;
        if proof.thumbprint() != bound {
            return Err(Refusal::Proof("key"));
        }
        if let Some(nonces) = &own.nonces {
            proof.check_nonce(nonces, now_ms)?;
        }
        Ok(Fresh { mark: Mark::of_proof(&proof), issued_s: proof.issued_s() })
    }
}

impl Fresh {
    /// Accepts the proof, this once, and charges by `admit`. A request that has met a limit may be sent again as it is.
    pub(super) fn once<T>(&self, now_ms: u64, replays: &Replays, admit: impl FnOnce() -> Result<T, Reject>) -> Result<T, Reject> {
        replays.reach(self.issued_s).and_then(|()| replays.remember(self.mark, now_ms / 1_000)).map_err(refused)?;
        admit().inspect_err(|_| replays.forget(self.mark))
    }
}

fn refused(refusal: signature::Refusal) -> Reject {
    match refusal {
        signature::Refusal::Replayed => Refusal::Proof("jti").into(),
        signature::Refusal::Expired => Refusal::Proof("iat").into(),
        // There is no room to remember it by.
        refusal => refusal.into(),
    }
}
