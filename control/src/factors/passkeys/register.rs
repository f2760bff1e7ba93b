//! Making a passkey, naming it, and taking it away.

use clearway_config::{ErrorCode, PasskeyId};
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    PASSKEYS_MAX,
    act::{GOOD_MS, site},
    ceremony::{self, CREATE, Fault, Registration},
    options::CreationOptions,
    store::{self, Passkey, Waiting},
};
use crate::{
    audit::{self, Actor, Changes, Event},
    auth::{Letters, themselves},
    db::Tx,
    factors,
    http::{Api, ApiError, Person},
    users::{self, User},
};

/// How an authenticator may be reached, as browsers say; others are not kept.
const TRANSPORTS: [&str; 6] = ["ble", "hybrid", "internal", "nfc", "smart-card", "usb"];

fn waiting<'a>(challenge: &[u8], person: &Person, session: &'a str) -> Waiting<'a> {
    Waiting { hash: Sha256::digest(challenge).into(), purpose: "register", beside: session, user: Some(person.user_id) }
}

/// Gives out a challenge to make a passkey by, to whom password and second factor were right.
pub(super) async fn begin(api: &Api, person: &Person, user: &User) -> Result<CreationOptions, ApiError> {
    let site = site(api)?;
    let challenge = api.world.random();
    let session = person.session_id.to_string();
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let held = room(&mut tx, user).await?;
    store::insert_challenge(&mut tx, waiting(&challenge, person, &session), now_ms, now_ms + GOOD_MS).await?;
    tx.commit().await?;
    Ok(CreationOptions::new(site, user, &challenge, &held))
}

async fn room(tx: &mut Tx, user: &User) -> Result<Vec<Passkey>, ApiError> {
    let held = store::of_person(&mut *tx, user.id, PASSKEYS_MAX).await?;
    if i64::try_from(held.len()).unwrap_or(i64::MAX) < PASSKEYS_MAX {
        return Ok(held);
    }
    let message = format!("A person has at most {PASSKEYS_MAX} passkeys: remove one first.");
    Err(ApiError::saying(ErrorCode::ObjectLimitReached, message))
}

/// Keeps the passkey that was made. Recovery codes, in this answer only, where it is the first second factor.
pub(super) async fn finish(
    api: &Api,
    person: &Person,
    name: &str,
    registration: Registration,
) -> Result<(Passkey, Option<Vec<Zeroizing<String>>>), ApiError> {
    themselves(person)?;
    let site = site(api)?;
    let parts = registration.response;
    let challenge = ceremony::challenge(&parts.client_data.0, CREATE, &site).map_err(refused)?;
    let session = person.session_id.to_string();
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let waited = store::take_challenge(&mut tx, waiting(&challenge, person, &session), now_ms).await?;
    tx.commit().await?;
    if !waited {
        return Err(invalid("the challenge was not given out here, was answered already, or is older than five minutes"));
    }
    let made = ceremony::made(&parts.attestation_object.0, &site).map_err(refused)?;
    if !made.flags.verified {
        return Err(refused(Fault::Unverified));
    }
    let mut transports: Vec<&str> = parts.transports.iter().map(String::as_str).filter(|way| TRANSPORTS.contains(way)).collect();
    transports.sort_unstable();
    transports.dedup();

    let mut tx = api.db.begin().await?;
    let user = users::lock(&mut tx, person.user_id).await?.ok_or_else(ApiError::not_found)?;
    room(&mut tx, &user).await?;
    let is_first = !factors::is_on(&mut tx, user.id).await?;
    let id = api.world.id(PasskeyId::new);
    match store::insert(&mut tx, id, user.id, name, &made, json!(transports).to_string(), now_ms).await {
        Err(error) if error.is_conflict("passkeys_credential_id_key") => return Err(invalid("there is one like it already")),
        other => other?,
    }
    let codes = if is_first { Some(factors::fresh_codes(&mut tx, api, user.id).await?) } else { None };
    note(&mut tx, api, person, "passkey.created", id, Changes::default().field("synced", (), made.flags.synced)).await?;
    tell(&mut tx, api, &user, "A passkey was added to your account: it signs in.").await?;
    let passkey = held(&mut tx, person, id).await?;
    tx.commit().await?;
    Ok((passkey, codes))
}

async fn held(tx: &mut Tx, person: &Person, id: PasskeyId) -> Result<Passkey, ApiError> {
    let held = store::of_person(&mut *tx, person.user_id, PASSKEYS_MAX).await?;
    held.into_iter().find(|passkey| passkey.id == id).ok_or_else(ApiError::not_found)
}

pub(super) async fn rename(api: &Api, person: &Person, id: PasskeyId, name: &str) -> Result<Passkey, ApiError> {
    themselves(person)?;
    let mut tx = api.db.begin().await?;
    if !store::rename(&mut tx, person.user_id, id, name).await? {
        return Err(ApiError::not_found());
    }
    note(&mut tx, api, person, "passkey.updated", id, Changes::default().of_person("name")).await?;
    let passkey = held(&mut tx, person, id).await?;
    tx.commit().await?;
    Ok(passkey)
}

/// Takes a passkey away, for whom password and second factor were right. With the last factor recovery codes go, too.
pub(super) async fn remove(api: &Api, person: &Person, user: &User, id: PasskeyId) -> Result<(), ApiError> {
    let mut tx = api.db.begin().await?;
    users::lock(&mut tx, user.id).await?.ok_or_else(ApiError::not_found)?;
    if !store::remove(&mut tx, user.id, id).await? {
        return Err(ApiError::not_found());
    }
    factors::forget_codes_of_none(&mut tx, user.id).await?;
    note(&mut tx, api, person, "passkey.deleted", id, Changes::default().field("held", true, false)).await?;
    tell(&mut tx, api, user, "A passkey of your account was removed.").await?;
    Ok(tx.commit().await?)
}

async fn note(
    tx: &mut Tx,
    api: &Api,
    person: &Person,
    action: &'static str,
    id: PasskeyId,
    changes: Changes,
) -> Result<(), ApiError> {
    let object_id = id.to_string();
    let event = Event { action, account_id: person.account_id, object_kind: "passkey", object_id: &object_id, changes };
    Ok(audit::record(tx, &api.world, &Actor::from(&**person), event).await?)
}

async fn tell(tx: &mut Tx, api: &Api, user: &User, told: &str) -> Result<(), ApiError> {
    let letters = Letters { public_url: &api.public_url };
    Ok(api.mail.send(tx, &api.world, &letters.second_factor_changed(&user.email, told)).await?)
}

fn refused(fault: Fault) -> ApiError {
    invalid(&fault.to_string())
}

fn invalid(why: &str) -> ApiError {
    ApiError::new(ErrorCode::PasskeyInvalid).with_details(json!({ "reason": why }))
}
