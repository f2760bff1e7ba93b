//! The mailed link that signs in once: the way out for somebody whom strangers' guesses have locked out on a new device.

use clearway_config::ErrorCode;

use super::{
    Letters, NewToken, Once, Purpose, Visitor, attempts,
    login::{self, Step},
    store,
};
use crate::{
    http::{Api, ApiError},
    users,
};

/// How long the mailed token is good.
const GOOD_MS: i64 = 15 * 60 * 1_000;

/// Mails a link to the address, if it is somebody's.
pub(super) async fn ask(api: &Api, visitor: &Visitor, email: &str) -> Result<(), ApiError> {
    let mut tx = api.db.begin().await?;
    if attempts::count_mail(&mut tx, &api.world, "sign_in", email, visitor.address).await?
        && let Some(user) = users::find_by_email(&mut tx, email).await?
        && user.suspended_at.is_none()
    {
        let (token, now_ms) = (Once::mint(&api.world), api.world.now_ms());
        let new = NewToken {
            hash: token.hash(),
            user: user.id,
            purpose: Purpose::SignIn,
            email: &user.email,
            expires_at: now_ms + GOOD_MS,
        };
        store::insert_token(&mut tx, &new, now_ms).await?;
        let letters = Letters { public_url: &api.public_url };
        api.mail.send(&mut tx, &api.world, &letters.sign_in(&user.email, &token)).await?;
    }
    Ok(tx.commit().await?)
}

/// Begins a session for whom the token was mailed to.
pub(super) async fn follow(api: &Api, visitor: &Visitor, token: &Once, device: Option<&Once>) -> Result<Step, ApiError> {
    let unusable = || ApiError::new(ErrorCode::OneTimeTokenInvalid);
    let device = device.or(visitor.device.as_ref());
    let owner = store::token(&api.db, &token.hash(), Purpose::SignIn, api.world.now_ms()).await?.map(|(user, _)| user);
    let device = login::known(api, device, owner).await?;
    let mut tx = api.db.begin().await?;
    let (id, email) =
        store::take_token(&mut tx, &token.hash(), Purpose::SignIn, api.world.now_ms()).await?.ok_or_else(unusable)?;
    // It proves the address that it was sent to, which may not be the person's any more.
    let user = users::find(&mut tx, id).await?.filter(|user| user.email == email).ok_or_else(unusable)?;
    let step = login::first(&mut tx, api, visitor, user, device).await?;
    tx.commit().await?;
    Ok(step)
}
