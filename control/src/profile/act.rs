//! Changing name, address and password.

use clearway_config::{ErrorCode, UserId};
use zeroize::Zeroizing;

use crate::{
    audit::{self, Actor, Changes, Event},
    auth::{Letters, NewToken, Once, Purpose, confirm, count_mail, forget_tokens, insert_token, take_token, themselves, weak},
    db::Tx,
    http::{Api, ApiError, Person, time::rfc3339},
    sessions,
    users::{self, User},
};

/// How long the token that is mailed to a new address is good.
const GOOD_MS: i64 = 60 * 60 * 1_000;

/// Another name, of the version that its editor has seen.
pub async fn rename(api: &Api, actor: &Actor, id: UserId, name: &str, seen: Option<i64>) -> Result<User, ApiError> {
    let mut tx = api.db.begin().await?;
    let old = locked(&mut tx, id).await?;
    if old.erased_at.is_some() {
        return Err(ApiError::not_found());
    }
    if seen.is_some_and(|seen| seen != old.version) {
        return Err(ApiError::new(ErrorCode::PreconditionFailed));
    }
    if old.name == name {
        return Ok(old);
    }
    users::rename(&mut tx, old.id, name).await?;
    let object_id = id.to_string();
    let changes = Changes::default().of_person("name");
    let event = Event { action: "user.updated", account_id: old.account_id, object_kind: "user", object_id: &object_id, changes };
    audit::record(&mut tx, &api.world, actor, event).await?;
    let user = locked(&mut tx, old.id).await?;
    tx.commit().await?;
    Ok(user)
}

/// Another password; every other session of the person ends.
pub(super) async fn change_password(
    api: &Api,
    person: &Person,
    current: Zeroizing<String>,
    fresh: Zeroizing<String>,
) -> Result<(), ApiError> {
    let user = confirm(api, person, current).await?;
    weak(&fresh, &[&user.email, &user.name], "password")?;
    let hash = api.passwords.hash(fresh).await?;
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let old = locked(&mut tx, user.id).await?;
    if old.password_hash != user.password_hash && old.password_changed_at != user.password_changed_at {
        return Err(ApiError::new(ErrorCode::Conflict));
    }
    users::set_password(&mut tx, user.id, hash, now_ms).await?;
    forget_tokens(&mut tx, user.id).await?;
    sessions::end_all(&mut tx, user.id, Some(person.session_id), now_ms).await?;
    let before = user.password_changed_at.map(rfc3339);
    let changes = Changes::default().field("password_changed_at", before, rfc3339(now_ms));
    note(&mut tx, api, person, "user.password_changed", changes).await?;
    let letters = Letters { public_url: &api.public_url };
    api.mail.send(&mut tx, &api.world, &letters.password_changed(&old.email)).await?;
    Ok(tx.commit().await?)
}

/// Mails a token to the new address. Whether it is somebody's already is not told: their mail says nothing new.
pub(super) async fn ask_email(api: &Api, person: &Person, email: &str, password: Zeroizing<String>) -> Result<(), ApiError> {
    let user = confirm(api, person, password).await?;
    let (token, now_ms) = (Once::mint(&api.world), api.world.now_ms());
    let mut tx = api.db.begin().await?;
    let sent = count_mail(&mut tx, &api.world, "change_email", email, person.address).await?;
    if sent && users::find_by_email(&mut tx, email).await?.is_none() {
        let new =
            NewToken { hash: token.hash(), user: user.id, purpose: Purpose::ChangeEmail, email, expires_at: now_ms + GOOD_MS };
        insert_token(&mut tx, &new, now_ms).await?;
        let letters = Letters { public_url: &api.public_url };
        api.mail.send(&mut tx, &api.world, &letters.change_email(email, &token)).await?;
    }
    Ok(tx.commit().await?)
}

/// Takes the address that the token proves, and tells the old one.
pub(super) async fn take_email(api: &Api, person: &Person, token: &Once) -> Result<User, ApiError> {
    themselves(person)?;
    let unusable = || ApiError::new(ErrorCode::OneTimeTokenInvalid);
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let (owner, email) = take_token(&mut tx, &token.hash(), Purpose::ChangeEmail, now_ms).await?.ok_or_else(unusable)?;
    if owner != person.user_id {
        return Err(unusable());
    }
    let old = locked(&mut tx, owner).await?;
    match users::set_email(&mut tx, owner, &email, now_ms).await {
        Err(error) if error.is_conflict("users_email_key") => return Err(unusable()),
        other => other?,
    }
    // What was mailed to the old address proves nothing any more.
    forget_tokens(&mut tx, owner).await?;
    note(&mut tx, api, person, "user.updated", Changes::default().of_person("email")).await?;
    let letters = Letters { public_url: &api.public_url };
    api.mail.send(&mut tx, &api.world, &letters.email_changed(&old.email, &email)).await?;
    let user = locked(&mut tx, owner).await?;
    tx.commit().await?;
    Ok(user)
}

async fn locked(tx: &mut Tx, id: UserId) -> Result<User, ApiError> {
    users::lock(tx, id).await?.ok_or_else(ApiError::not_found)
}

async fn note(tx: &mut Tx, api: &Api, person: &Person, action: &'static str, changes: Changes) -> Result<(), ApiError> {
    let object_id = person.user_id.to_string();
    let event = Event { action, account_id: person.account_id, object_kind: "user", object_id: &object_id, changes };
    Ok(audit::record(tx, &api.world, &Actor::from(&**person), event).await?)
}
