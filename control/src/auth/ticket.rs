//! The second step of a sign-in: the first gave out a ticket, and with it comes a code or a passkey's answer.

use clearway_config::ErrorCode;

use super::{
    NewToken, Once, Purpose, Visitor, attempts,
    attempts::Guesser,
    login::{self, SignedIn},
    store,
};
use crate::{
    db::{self, Tx},
    factors::{
        self, Held,
        passkeys::{self, Asked, Assertion, RequestOptions},
    },
    http::{Api, ApiError},
    users::{self, User},
};

/// How long a ticket is good.
pub(super) const GOOD_MS: i64 = 5 * 60 * 1_000;
/// What is counted.
pub(super) const CODE: &str = "second_factor";

/// A sign-in that waits for a second factor.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) token: Once,
    pub(super) expires_at: i64,
    pub(super) held: Held,
}

/// What is shown as one.
pub(super) enum Shown {
    Code(String),
    Passkey(Assertion),
}

/// For a person whose password or link was right.
pub(super) async fn give(tx: &mut Tx, api: &Api, user: &User, held: Held) -> db::Result<Ticket> {
    let (token, now_ms) = (Once::mint(&api.world), api.world.now_ms());
    let expires_at = now_ms + GOOD_MS;
    let purpose = Purpose::SecondFactor;
    store::insert_token(tx, &NewToken { hash: token.hash(), user: user.id, purpose, email: &user.email, expires_at }, now_ms)
        .await?;
    Ok(Ticket { token, expires_at, held })
}

/// What the ticket's person has to show; `None` where it is good no more. It stays good.
pub(super) async fn held(api: &Api, ticket: &Once) -> Result<Option<Held>, ApiError> {
    let waiting = store::token(&api.db, &ticket.hash(), Purpose::SecondFactor, api.world.now_ms()).await?;
    Ok(match waiting {
        Some((id, _)) => Some(factors::state(&api.db, id).await?),
        None => None,
    })
}

/// Gives out a challenge for a passkey of the ticket's person.
pub(super) async fn ask_passkey(api: &Api, ticket: &Once) -> Result<RequestOptions, ApiError> {
    let mut tx = api.db.begin().await?;
    let waiting = store::token(&mut tx, &ticket.hash(), Purpose::SecondFactor, api.world.now_ms()).await?;
    let (id, _) = waiting.ok_or_else(|| ApiError::new(ErrorCode::OneTimeTokenInvalid))?;
    let options = passkeys::ask(&mut tx, api, Asked::Ticket(ticket.hash(), id)).await?;
    tx.commit().await?;
    Ok(options)
}

/// Begins the session that the ticket is for. A wrong code or passkey leaves the ticket good; guesses are counted as those at a
/// password are.
pub(super) async fn redeem(
    api: &Api,
    visitor: &Visitor,
    ticket: &Once,
    shown: &Shown,
    device: Option<&Once>,
) -> Result<SignedIn, ApiError> {
    let unusable = || ApiError::new(ErrorCode::OneTimeTokenInvalid);
    let device = device.or(visitor.device.as_ref());
    let waiting = store::token(&api.db, &ticket.hash(), Purpose::SecondFactor, api.world.now_ms()).await?;
    let (id, _) = waiting.ok_or_else(unusable)?;
    let device = login::known(api, device, Some(id)).await?;
    let guesser = device.map_or(Guesser::Stranger, |device| Guesser::Device(device.hash()));
    let whose = id.to_string();
    let mut tx = api.db.begin().await?;
    let counted = attempts::count_guess(&mut tx, &api.world, CODE, &whose, guesser, visitor.address).await?;
    tx.commit().await?;
    counted?;
    if let Shown::Passkey(answer) = shown {
        passkeys::verify(api, (visitor.address, visitor.request_id), Asked::Ticket(ticket.hash(), id), answer).await?;
    }

    let mut tx = api.db.begin().await?;
    let (id, email) =
        store::take_token(&mut tx, &ticket.hash(), Purpose::SecondFactor, api.world.now_ms()).await?.ok_or_else(unusable)?;
    let user = users::find(&mut tx, id).await?.filter(|user| user.email == email).ok_or_else(unusable)?;
    if let Shown::Code(code) = shown
        && !factors::verify(&mut tx, api, id, code).await?
    {
        // Dropping the transaction leaves the ticket good.
        return Err(ApiError::new(ErrorCode::SecondFactorInvalid));
    }
    attempts::forgive(&mut tx, CODE, &whose, guesser, visitor.address).await?;
    let signed_in = login::begin(&mut tx, api, visitor, user, device, true).await?;
    tx.commit().await?;
    Ok(signed_in)
}
