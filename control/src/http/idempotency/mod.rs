//! `Idempotency-Key`: a POST that is sent again is not done again, and is answered as before.
//!
//! The answer is stored in the transaction of the act, so that there is never one without the other. It
//! is stored without any secret: a replay shows `secret: null`, because what was revealed once is kept
//! nowhere. Keys are the caller's own, and are forgotten after [`KEPT_MS`].

mod store;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{body::Bytes, extract::FromRequestParts};
use clearway_config::ErrorCode;
use http::{HeaderName, HeaderValue, Method, StatusCode, request::Parts};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use store::sweep;

use super::{Answer, Answered, Api, ApiError, Caller, Principal};
use crate::db::{self, Tx};

/// How long an answer is kept: 24 hours.
pub const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// Characters in a key at most.
const KEY_CHARS_MAX: usize = 128;
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What a request says of its own repetition, before its body is known.
#[derive(Debug)]
pub struct Repeatable {
    key: Option<String>,
    method: Method,
    path: String,
}

impl FromRequestParts<Api> for Repeatable {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let key = match parts.headers.get("idempotency-key") {
            None => None,
            Some(value) => {
                let text = value.to_str().unwrap_or_default().trim();
                if !(1..=KEY_CHARS_MAX).contains(&text.len()) {
                    let message = format!("must have 1 to {KEY_CHARS_MAX} ASCII characters");
                    return Err(ApiError::invalid(&[super::issue("Idempotency-Key", "out_of_bounds", message)]));
                }
                Some(text.to_owned())
            }
        };
        Ok(Self { key, method: parts.method.clone(), path: parts.uri.path().to_owned() })
    }
}

/// Keys that are being worked on in this process.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<HashSet<(String, String)>>>);

/// What to do with a request.
#[derive(Debug)]
pub enum Turn {
    /// It is new: do it in this transaction, and [`Ticket::keep`] what is answered.
    Act(Tx, Ticket),
    /// It was done before.
    Replay(Answer),
}

/// The right to do a request; holds its key until dropped.
#[derive(Debug)]
pub struct Ticket(Option<Claim>);

#[derive(Debug)]
struct Claim {
    in_flight: InFlight,
    caller: String,
    key: String,
    fingerprint: [u8; 32],
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&(std::mem::take(&mut self.caller), std::mem::take(&mut self.key)));
    }
}

impl Repeatable {
    /// What the request says, for an operation that keeps its own record of what it has done.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Begins the transaction of the act, unless `caller` has sent this before or is just being served it.
    pub async fn begin(self, api: &Api, caller: &Caller, body: &Bytes) -> Result<Turn, ApiError> {
        let Some(key) = self.key.clone() else { return Ok(Turn::Act(api.db.begin().await?, Ticket(None))) };
        let fingerprint = self.fingerprint(body);
        let caller = owner(caller);
        // Before waiting for a transaction: the one that holds the key may be what there is to wait for.
        let taken = api.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner).insert((caller.clone(), key.clone()));
        if !taken {
            return Err(ApiError::new(ErrorCode::IdempotencyKeyInUse));
        }
        let claim = Claim { in_flight: api.in_flight.clone(), caller, key, fingerprint };
        let mut tx = api.db.begin().await?;
        let since = api.world.now_ms() - KEPT_MS;
        match store::find(&mut tx, &claim.caller, &claim.key, since).await? {
            None => Ok(Turn::Act(tx, Ticket(Some(claim)))),
            Some(kept) if kept.fingerprint == claim.fingerprint => Ok(Turn::Replay(kept.replay()?)),
            Some(_) => Err(ApiError::new(ErrorCode::IdempotencyKeyReused)),
        }
    }

    fn fingerprint(&self, body: &Bytes) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.method.as_str().as_bytes(), self.path.as_bytes(), body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

/// Whose own an idempotency key is: a person's in one account is not theirs in another.
fn owner(caller: &Caller) -> String {
    match caller.principal {
        Principal::Key(id) => id.to_string(),
        Principal::User { id, .. } => format!("{id}/{}", caller.account_id),
        Principal::App { client_id, .. } => format!("{client_id}/{}", caller.account_id),
    }
}

impl Ticket {
    /// Keeps an answer, in the transaction of the act. `data` must not hold a secret.
    pub async fn keep(&self, tx: &mut Tx, status: StatusCode, data: &impl Serialize, now_ms: i64) -> Result<(), ApiError> {
        let Some(claim) = &self.0 else { return Ok(()) };
        let body = serde_json::to_string(data).map_err(ApiError::internal)?;
        let kept = store::insert(tx, &claim.caller, &claim.key, &claim.fingerprint, status.as_u16(), body, now_ms).await;
        kept.map_err(|error| match error {
            db::Error::Conflict { .. } => ApiError::new(ErrorCode::IdempotencyKeyInUse),
            other => other.into(),
        })
    }
}

impl store::Kept {
    fn replay(self) -> Answered {
        let data = RawValue::from_string(self.body).map_err(ApiError::internal)?;
        let status = u16::try_from(self.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.ok_or_else(|| ApiError::internal("a kept answer has no valid status"))?;
        Ok(Answer::from_raw(status, data).header(REPLAYED, HeaderValue::from_static("true")).no_store())
    }
}
