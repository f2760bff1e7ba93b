//! Signing in, by a password or what stands in for it, and what follows from that: a session, unless a second factor is
//! asked for first.

use clearway_config::{ErrorCode, UserId};
use zeroize::Zeroizing;

use super::{
    Once, Visitor, attempts,
    attempts::Guesser,
    devices,
    ticket::{self, Ticket},
};
use crate::{
    audit::{self, Changes, Event},
    db::Tx,
    factors::{
        self,
        passkeys::{self, Asked, Assertion, RequestOptions},
    },
    http::{Api, ApiError},
    members,
    passwords::Verdict,
    sessions::{self, Begun, NewSession},
    users::{self, User},
};

/// What is counted.
const PASSWORD: &str = "password";

/// What somebody shows who wants to sign in.
pub(super) struct Attempt {
    pub(super) email: String,
    pub(super) password: Zeroizing<String>,
    /// Of the body; else the one of the cookie.
    pub(super) device: Option<Once>,
}

/// Somebody who has signed in.
#[derive(Debug)]
pub(super) struct SignedIn {
    pub(super) user: User,
    pub(super) begun: Begun,
    /// For a device that was not known.
    pub(super) device: Option<Once>,
}

/// What a first step has come to.
#[derive(Debug)]
pub(super) enum Step {
    SignedIn(Box<SignedIn>),
    /// A second factor is asked for.
    Waits(Ticket),
}

/// Begins a session for whom address and password are right. Everything else is the one answer, after the same work.
pub(super) async fn login(api: &Api, visitor: &Visitor, attempt: Attempt) -> Result<Step, ApiError> {
    let Attempt { email, password, device } = attempt;
    let device = device.as_ref().or(visitor.device.as_ref());
    let found = users::find_by_email(&api.db, &email).await?;
    let device = known(api, device, found.as_ref().map(|user| user.id)).await?;
    let guesser = device.map_or(Guesser::Stranger, |device| Guesser::Device(device.hash()));
    let mut tx = api.db.begin().await?;
    let counted = attempts::count_guess(&mut tx, &api.world, PASSWORD, &email, guesser, visitor.address).await?;
    tx.commit().await?;
    counted?;

    let hash = found.as_ref().map(|user| user.password_hash.clone());
    let verdict = api.passwords.verify(password.clone(), hash).await?;
    let (Verdict::Right { stale }, Some(user)) = (verdict, found) else {
        return Err(ApiError::new(ErrorCode::CredentialsInvalid));
    };
    let better = if stale { Some(api.passwords.hash(password).await?) } else { None };
    let mut tx = api.db.begin().await?;
    attempts::forgive(&mut tx, PASSWORD, &email, guesser, visitor.address).await?;
    if let Some(better) = better {
        users::replace_hash(&mut tx, user.id, &user.password_hash, better).await?;
    }
    let step = first(&mut tx, api, visitor, user, device).await?;
    tx.commit().await?;
    Ok(step)
}

/// Begins a session for whose passkey has answered: the authenticator has verified who they are, so that nothing else is
/// asked for.
pub(super) async fn by_passkey(
    api: &Api,
    visitor: &Visitor,
    answer: &Assertion,
    device: Option<&Once>,
) -> Result<SignedIn, ApiError> {
    let from = (visitor.address, visitor.request_id);
    let id = passkeys::verify(api, from, Asked::Anyone, answer).await?;
    let device = known(api, device.or(visitor.device.as_ref()), Some(id)).await?;
    let mut tx = api.db.begin().await?;
    let user = users::find(&mut tx, id).await?.ok_or_else(|| ApiError::new(ErrorCode::CredentialsInvalid))?;
    let signed_in = begin(&mut tx, api, visitor, user, device, true).await?;
    tx.commit().await?;
    Ok(signed_in)
}

/// Gives out a challenge for whoever comes.
pub(super) async fn ask_passkey(api: &Api, visitor: &Visitor) -> Result<RequestOptions, ApiError> {
    let mut tx = api.db.begin().await?;
    attempts::count_begun(&mut tx, &api.world, visitor.address).await?;
    let options = passkeys::ask(&mut tx, api, Asked::Anyone).await?;
    tx.commit().await?;
    Ok(options)
}

/// The device, if this person has signed in on it before.
pub(super) async fn known<'d>(api: &Api, device: Option<&'d Once>, user: Option<UserId>) -> Result<Option<&'d Once>, ApiError> {
    let Some(device) = device else { return Ok(None) };
    let owner = devices::owner(&api.db, &api.world, device).await?;
    Ok((owner.is_some() && owner == user).then_some(device))
}

/// A session, or a ticket for it where the person is asked for a second factor.
pub(super) async fn first(
    tx: &mut Tx,
    api: &Api,
    visitor: &Visitor,
    user: User,
    device: Option<&Once>,
) -> Result<Step, ApiError> {
    let held = factors::state(&mut *tx, user.id).await?;
    if held.is_on() {
        return Ok(Step::Waits(ticket::give(tx, api, &user, held).await?));
    }
    Ok(Step::SignedIn(Box::new(begin(tx, api, visitor, user, device, false).await?)))
}

/// Begins a session for a person who has shown enough.
pub(super) async fn begin(
    tx: &mut Tx,
    api: &Api,
    visitor: &Visitor,
    user: User,
    device: Option<&Once>,
    second_factor: bool,
) -> Result<SignedIn, ApiError> {
    // Read again: between the check of the password and now somebody may have changed it, or suspended the person.
    let current = users::lock(tx, user.id).await?.ok_or_else(|| ApiError::new(ErrorCode::CredentialsInvalid))?;
    if current.password_changed_at != user.password_changed_at {
        return Err(ApiError::new(ErrorCode::CredentialsInvalid));
    }
    if current.suspended_at.is_some() {
        return Err(ApiError::new(ErrorCode::AccountSuspended));
    }
    let user = current;
    let account_id = members::home(&mut *tx, &user).await?.ok_or_else(|| ApiError::new(ErrorCode::AccountSuspended))?;
    let new = NewSession {
        user_id: user.id,
        account_id,
        impersonator: None,
        address: visitor.address,
        user_agent: visitor.user_agent.clone(),
        second_factor,
        expires_at: None,
    };
    let begun = sessions::begin(tx, &api.world, &new).await?;
    let device = devices::know(tx, &api.world, user.id, device).await?;
    let object_id = begun.id.to_string();
    let changes = Changes::default().field("second_factor", (), second_factor);
    let event = Event { action: "session.begun", account_id, object_kind: "session", object_id: &object_id, changes };
    audit::record(tx, &api.world, &visitor.actor(user.id), event).await?;
    Ok(SignedIn { user, begun, device })
}
