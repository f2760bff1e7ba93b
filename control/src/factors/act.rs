//! Turning the second factor on and off, and asking for it.

use clearway_config::{ErrorCode, UserId};
use sqlx::FromRow;
use zeroize::Zeroizing;

use super::{passkeys, recovery, store, totp};
use crate::{
    audit::{self, Actor, Changes, Event},
    auth::{Letters, Once},
    db::{self, On, Tx},
    http::{Api, ApiError, Person},
    secrets::Purpose,
    users,
};

/// What seeds are sealed as.
const SEED: Purpose = Purpose("totp_factors.seed");

/// A seed that is shown once, and not asked for yet.
pub(super) struct Begun {
    pub(super) seed: Zeroizing<String>,
    pub(super) uri: Zeroizing<String>,
}

/// What a person has to show beside the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Held {
    /// Codes of an app.
    pub totp: bool,
    pub passkeys: i64,
    /// Those that are left.
    pub recovery_codes: i64,
}

impl Held {
    /// Whether anything is asked for.
    pub fn is_on(self) -> bool {
        self.totp || self.passkeys > 0
    }
}

/// Whether a person is asked for a second factor.
pub async fn is_on<'c>(on: impl On<'c>, user: UserId) -> db::Result<bool> {
    Ok(store::held(on, user).await?.is_on())
}

/// What a person has.
pub async fn state<'c>(on: impl On<'c>, user: UserId) -> db::Result<Held> {
    store::held(on, user).await
}

/// Whether `code` is a right one of the person's app, one of their recovery codes, or stands for a passkey that was just
/// shown: none is taken again once `tx` has been committed.
pub async fn verify(tx: &mut Tx, api: &Api, user: UserId, code: &str) -> Result<bool, ApiError> {
    if let Some(proof) = Once::parse(code) {
        return Ok(passkeys::take_proof(tx, api, user, &proof).await?);
    }
    if code.len() != 6 {
        return Ok(store::take_code(tx, user, &recovery::hash(code)).await?);
    }
    take(tx, api, user, code).await
}

async fn take(tx: &mut Tx, api: &Api, user: UserId, code: &str) -> Result<bool, ApiError> {
    let Some(factor) = store::find(&mut *tx, user).await? else { return Ok(false) };
    let seed = api.secrets.open(SEED, &user.to_string(), &factor.seed).map_err(ApiError::internal)?;
    match totp::check(&seed, code, api.world.now_ms(), factor.last_step) {
        Some(step) => Ok(store::take_step(tx, user, step).await?),
        None => Ok(false),
    }
}

/// Makes a seed for the person's app; it is not asked for before [`turn_on`].
pub(super) async fn begin(api: &Api, user: UserId, email: &str) -> Result<Begun, ApiError> {
    let mut tx = api.db.begin().await?;
    if state(&mut tx, user).await?.totp {
        return Err(on_already());
    }
    let random = Zeroizing::new(api.world.random());
    let seed = &random[..totp::SEED_BYTES];
    let sealed = api.secrets.seal(SEED, &user.to_string(), seed);
    store::put(&mut tx, user, sealed, api.world.now_ms()).await?;
    tx.commit().await?;
    Ok(Begun { seed: totp::base32(seed), uri: totp::uri(seed, email) })
}

/// Asks for it from now on, once the app has shown that it has the seed. The recovery codes, in this answer only.
pub(super) async fn turn_on(api: &Api, person: &Person, code: &str) -> Result<Vec<Zeroizing<String>>, ApiError> {
    let user = person.user_id;
    let mut tx = api.db.begin().await?;
    if state(&mut tx, user).await?.totp {
        return Err(on_already());
    }
    if !take(&mut tx, api, user, code).await? {
        return Err(ApiError::new(ErrorCode::SecondFactorInvalid));
    }
    store::confirm(&mut tx, user, api.world.now_ms()).await?;
    let codes = fresh_codes(&mut tx, api, user).await?;
    note(
        &mut tx,
        api,
        person,
        Changes::default().field("second_factor", false, true),
        "A second factor was turned on for your account.",
    )
    .await?;
    tx.commit().await?;
    Ok(codes)
}

/// Other recovery codes, in the place of those there were.
pub(super) async fn renew_codes(api: &Api, person: &Person) -> Result<Vec<Zeroizing<String>>, ApiError> {
    let mut tx = api.db.begin().await?;
    if !is_on(&mut tx, person.user_id).await? {
        return Err(ApiError::not_found());
    }
    let codes = fresh_codes(&mut tx, api, person.user_id).await?;
    note(
        &mut tx,
        api,
        person,
        Changes::default().field("recovery_codes", (), codes.len()),
        "Your account was given new recovery codes.",
    )
    .await?;
    tx.commit().await?;
    Ok(codes)
}

/// Asks for codes of the app no longer. What is held then.
pub(super) async fn turn_off(api: &Api, person: &Person) -> Result<Held, ApiError> {
    let mut tx = api.db.begin().await?;
    if !state(&mut tx, person.user_id).await?.totp {
        return Err(ApiError::not_found());
    }
    store::remove(&mut tx, person.user_id).await?;
    forget_codes_of_none(&mut tx, person.user_id).await?;
    note(
        &mut tx,
        api,
        person,
        Changes::default().field("second_factor", true, false),
        "The authenticator app of your account is asked for no more.",
    )
    .await?;
    let held = state(&mut tx, person.user_id).await?;
    tx.commit().await?;
    Ok(held)
}

/// Recovery codes stand in for something: where there is nothing they go.
pub(super) async fn forget_codes_of_none(tx: &mut Tx, user: UserId) -> db::Result<()> {
    if is_on(&mut *tx, user).await? { Ok(()) } else { store::forget_codes(tx, user).await }
}

/// Recovery codes in the place of those there were.
pub(super) async fn fresh_codes(tx: &mut Tx, api: &Api, user: UserId) -> db::Result<Vec<Zeroizing<String>>> {
    store::forget_codes(tx, user).await?;
    let codes = recovery::mint(&api.world);
    for code in &codes {
        store::insert_code(tx, user, &recovery::hash(code), api.world.now_ms()).await?;
    }
    Ok(codes)
}

/// In the audit log, and to the person's address.
async fn note(tx: &mut Tx, api: &Api, person: &Person, changes: Changes, told: &str) -> Result<(), ApiError> {
    let object_id = person.user_id.to_string();
    let event = Event {
        action: "user.second_factor_changed",
        account_id: person.account_id,
        object_kind: "user",
        object_id: &object_id,
        changes,
    };
    audit::record(tx, &api.world, &Actor::from(&**person), event).await?;
    let user = users::find(&mut *tx, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    let letters = Letters { public_url: &api.public_url };
    Ok(api.mail.send(tx, &api.world, &letters.second_factor_changed(&user.email, told)).await?)
}

/// None of a person's seeds, passkeys and recovery codes is left.
pub async fn forget(tx: &mut Tx, user: UserId) -> db::Result<()> {
    store::remove(tx, user).await?;
    passkeys::forget(tx, user).await?;
    store::forget_codes(tx, user).await
}

fn on_already() -> ApiError {
    ApiError::saying(ErrorCode::Conflict, "An authenticator app is set up already: turn it off first.")
}
