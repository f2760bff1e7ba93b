//! A password that was forgotten: a token is mailed, and a new password set by it. That signs nobody in, and ends every
//! session there is.

use clearway_config::{ErrorCode, UserId};
use zeroize::Zeroizing;

use super::{Letters, NewToken, Once, Purpose, Visitor, attempts, register, store};
use crate::{
    audit::{self, Changes, Event},
    http::{Api, ApiError, time::rfc3339},
    sessions, users,
};

/// How long the mailed token is good.
const GOOD_MS: i64 = 60 * 60 * 1_000;

/// Mails a token to the address, if it is somebody's.
pub(super) async fn ask(api: &Api, visitor: &Visitor, email: &str) -> Result<(), ApiError> {
    let mut tx = api.db.begin().await?;
    if attempts::count_mail(&mut tx, &api.world, "reset", email, visitor.address).await?
        && let Some(user) = users::find_by_email(&mut tx, email).await?
        && user.suspended_at.is_none()
    {
        let (token, now_ms) = (Once::mint(&api.world), api.world.now_ms());
        let purpose = Purpose::ResetPassword;
        let new = NewToken { hash: token.hash(), user: user.id, purpose, email: &user.email, expires_at: now_ms + GOOD_MS };
        store::insert_token(&mut tx, &new, now_ms).await?;
        let letters = Letters { public_url: &api.public_url };
        api.mail.send(&mut tx, &api.world, &letters.reset(&user.email, &token)).await?;
    }
    Ok(tx.commit().await?)
}

/// Sets the password of whom the token was mailed to.
pub(super) async fn set(api: &Api, visitor: &Visitor, token: &Once, password: Zeroizing<String>) -> Result<UserId, ApiError> {
    let unusable = || ApiError::new(ErrorCode::OneTimeTokenInvalid);
    let now_ms = api.world.now_ms();
    // Before the hash is made, which costs: whoever has no token gets no further.
    let (id, email) = store::token(&api.db, &token.hash(), Purpose::ResetPassword, now_ms).await?.ok_or_else(unusable)?;
    let user = users::find(&api.db, id).await?.filter(|user| user.email == email).ok_or_else(unusable)?;
    register::weak(&password, &[&user.email, &user.name], "password")?;
    let hash = api.passwords.hash(password).await?;
    let mut tx = api.db.begin().await?;
    store::take_token(&mut tx, &token.hash(), Purpose::ResetPassword, now_ms).await?.ok_or_else(unusable)?;
    users::set_password(&mut tx, id, hash, now_ms).await?;
    store::forget_tokens(&mut tx, id).await?;
    attempts::forget_strangers(&mut tx, &email).await?;
    sessions::end_all(&mut tx, id, None, now_ms).await?;
    let object_id = id.to_string();
    let before = user.password_changed_at.map(rfc3339);
    let changes = Changes::default().field("password_changed_at", before, rfc3339(now_ms));
    let event = Event {
        action: "user.password_changed",
        account_id: user.account_id,
        object_kind: "user",
        object_id: &object_id,
        changes,
    };
    audit::record(&mut tx, &api.world, &visitor.actor(id), event).await?;
    let letters = Letters { public_url: &api.public_url };
    api.mail.send(&mut tx, &api.world, &letters.password_changed(&email)).await?;
    tx.commit().await?;
    Ok(id)
}
