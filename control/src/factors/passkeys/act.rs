//! Asking for a passkey, and verifying the answer.

use std::net::IpAddr;

use clearway_config::{ErrorCode, RequestId, SessionId, UserId};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    PASSKEYS_MAX,
    ceremony::{self, Fault, GET, Site},
    options::RequestOptions,
    store::{self, Passkey, Waiting},
};
use crate::{
    audit::{self, Actor, Changes, Event},
    auth::{Letters, Once},
    db::{self, Tx},
    http::{Api, ApiError, fields::Wrong, hex},
    users,
};

/// How long a challenge is good, and a proof.
pub(super) const GOOD_MS: i64 = 5 * 60 * 1_000;

/// What a passkey is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// A sign-in that waits for a second factor: the hash of its ticket, and whose it is.
    Ticket([u8; 32], UserId),
    /// Somebody who is signed in, before what cannot be undone.
    Session(SessionId, UserId),
    /// Whoever comes.
    Anyone,
}

/// Where an answer comes from, for the audit log.
pub(super) type Whence = (IpAddr, RequestId);

/// What a browser answers with.
#[derive(Debug)]
pub struct Assertion(ceremony::Assertion);

impl Assertion {
    /// As a form's field: what `PublicKeyCredential.toJSON()` gives.
    pub fn read(value: &Value) -> Result<Self, Wrong> {
        let read = serde_json::from_value(value.clone());
        read.map(Self).map_err(|_| ("format_invalid", "is not what an authenticator answers".to_owned()))
    }
}

/// Whether browsers have passkeys for us.
pub fn available(api: &Api) -> bool {
    site(api).is_ok()
}

pub(super) fn site(api: &Api) -> Result<Site, ApiError> {
    Site::of(&api.public_url).ok_or_else(|| ApiError::new(ErrorCode::PasskeysUnavailable))
}

impl Asked {
    fn waiting(self, hash: [u8; 32], text: &mut String) -> Waiting<'_> {
        let (purpose, user) = match self {
            Self::Ticket(ticket, user) => {
                *text = hex(&ticket);
                ("ticket", Some(user))
            }
            Self::Session(session, user) => {
                *text = session.to_string();
                ("session", Some(user))
            }
            Self::Anyone => ("sign_in", None),
        };
        Waiting { hash, purpose, beside: text, user }
    }
}

/// Gives out a challenge.
pub async fn ask(tx: &mut Tx, api: &Api, asked: Asked) -> Result<RequestOptions, ApiError> {
    let site = site(api)?;
    let held = match asked {
        Asked::Ticket(_, user) | Asked::Session(_, user) => store::of_person(&mut *tx, user, PASSKEYS_MAX).await?,
        Asked::Anyone => Vec::new(),
    };
    if held.is_empty() && !matches!(asked, Asked::Anyone) {
        return Err(ApiError::not_found());
    }
    let challenge = api.world.random();
    let now_ms = api.world.now_ms();
    let mut beside = String::new();
    let waiting = asked.waiting(Sha256::digest(challenge).into(), &mut beside);
    store::insert_challenge(tx, waiting, now_ms, now_ms + GOOD_MS).await?;
    Ok(RequestOptions::new(site, &challenge, &held))
}

/// Whose passkey has answered the challenge, which is none any more after that. Everything else is the one refusal.
pub async fn verify(api: &Api, from: Whence, asked: Asked, answer: &Assertion) -> Result<UserId, ApiError> {
    let site = site(api)?;
    let Assertion(answer) = answer;
    let challenge = ceremony::challenge(&answer.response.client_data.0, GET, &site).map_err(refused)?;
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let mut beside = String::new();
    let waiting = asked.waiting(Sha256::digest(challenge).into(), &mut beside);
    let waited = store::take_challenge(&mut tx, waiting, now_ms).await?;
    tx.commit().await?;
    let passkey = store::find(&api.db, &answer.id.0).await?.filter(|_| waited).ok_or_else(wrong)?;
    let is_theirs = match asked {
        Asked::Ticket(_, user) | Asked::Session(_, user) => passkey.user_id == user,
        // Nobody has said yet who it is: the authenticator has to (7.2, step 6).
        Asked::Anyone => answer.response.user_handle.is_some(),
    };
    let handle = answer.response.user_handle.as_ref();
    if !is_theirs || handle.is_some_and(|handle| handle.0 != passkey.user_id.as_bytes()) {
        return Err(wrong());
    }
    let used = ceremony::used(&answer.response, &passkey.public_key, &site).map_err(refused)?;
    if !used.flags.verified {
        return Err(refused(Fault::Unverified));
    }
    if used.flags.synced != passkey.synced {
        return Err(refused(Fault::Flags));
    }
    take_use(api, from, &passkey, used.counter).await?;
    Ok(passkey.user_id)
}

async fn take_use(api: &Api, (address, request_id): Whence, passkey: &Passkey, counter: u32) -> Result<(), ApiError> {
    let mut tx = api.db.begin().await?;
    if store::take_use(&mut tx, passkey.id, counter, api.world.now_ms()).await? {
        return Ok(tx.commit().await?);
    }
    let user = users::find(&mut tx, passkey.user_id).await?.ok_or_else(wrong)?;
    let object_id = passkey.id.to_string();
    let event = Event {
        action: "passkey.refused",
        account_id: user.account_id,
        object_kind: "passkey",
        object_id: &object_id,
        changes: Changes::default().field("counter_known", (), passkey.counter).field("counter_shown", (), counter),
    };
    let actor = Actor::User { id: user.id, address: Some(address), request_id: Some(request_id) };
    audit::record(&mut tx, &api.world, &actor, event).await?;
    let told = "A passkey of your account was used whose count did not go up, as that of a copy does not. It was refused.";
    let letters = Letters { public_url: &api.public_url };
    api.mail.send(&mut tx, &api.world, &letters.second_factor_changed(&user.email, told)).await?;
    tx.commit().await?;
    tracing::warn!(user.id = %user.id, passkey.id = %passkey.id, "a passkey's counter did not go up");
    Err(wrong())
}

/// A word that stands for a passkey that was just shown, wherever a code is asked for: good once.
pub(super) async fn give_proof(tx: &mut Tx, api: &Api, user: UserId) -> db::Result<(Once, i64)> {
    let (proof, now_ms) = (Once::mint(&api.world), api.world.now_ms());
    let expires_at = now_ms + GOOD_MS;
    store::insert_challenge(tx, proof_of(&proof, user), now_ms, expires_at).await?;
    Ok((proof, expires_at))
}

/// Whether it was such a word; it is none any more once `tx` has been committed.
pub async fn take_proof(tx: &mut Tx, api: &Api, user: UserId, proof: &Once) -> db::Result<bool> {
    store::take_challenge(tx, proof_of(proof, user), api.world.now_ms()).await
}

fn proof_of(proof: &Once, user: UserId) -> Waiting<'static> {
    Waiting { hash: proof.hash(), purpose: "proof", beside: "", user: Some(user) }
}

/// The log says why, and the answer does not.
fn refused(fault: Fault) -> ApiError {
    tracing::info!(error.cause = %fault, "a passkey's answer was refused");
    wrong()
}

fn wrong() -> ApiError {
    ApiError::saying(ErrorCode::SecondFactorInvalid, "The passkey's answer is not the one that was asked for.")
}
