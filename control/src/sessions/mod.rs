//! Sessions: people who have signed in, from then until they sign out, stop coming back, or are sent away.
//!
//! A session is a row; its token is shown once and kept as a hash. A script sends it as a bearer, a browser in a cookie.

mod directory;
mod store;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use clearway_config::{AccountId, SessionId, SessionToken, UserId};

pub use self::{
    directory::Directory,
    store::{Listed, all, began_at, end, end_all, end_impersonations, forget, in_force, list, sweep},
};
use crate::{
    db::{self, Tx},
    world::World,
};

/// How long a session lasts without being used.
pub const IDLE_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How long a session lasts at most: then its person signs in again.
pub const LIFE_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// How often it is noted that a session was used.
const NOTED_EVERY_MS: i64 = 60 * 1_000;
/// Characters kept of what a browser calls itself.
const USER_AGENT_CHARS_MAX: usize = 200;

/// Whose sign-in it is, and from where.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub user_id: UserId,
    /// Whom it acts for unless a request says otherwise.
    pub account_id: AccountId,
    /// The admin who acts as this person.
    pub impersonator: Option<UserId>,
    pub address: IpAddr,
    pub user_agent: String,
    /// Whether a second factor was shown.
    pub second_factor: bool,
    /// When it ends at the latest; `None` is [`LIFE_MS`] from now.
    pub expires_at: Option<i64>,
}

/// A session that has just been given a token: the token is stored nowhere.
#[derive(Debug)]
pub struct Begun {
    pub id: SessionId,
    pub token: SessionToken,
    /// Used or not, it ends then.
    pub expires_at: i64,
}

/// Begins a session.
pub async fn begin(tx: &mut Tx, world: &World, new: &NewSession) -> db::Result<Begun> {
    let now_ms = world.now_ms();
    let latest = now_ms + LIFE_MS;
    let expires_at = new.expires_at.map_or(latest, |at| at.min(latest));
    let begun = Begun { id: world.id(SessionId::new), token: SessionToken::mint(world.random()), expires_at };
    store::insert(tx, &begun, new, now_ms).await?;
    Ok(begun)
}

/// Gives a session that is in force a new token. The old one goes on working until the new one is first used, in case
/// the answer with the new one is lost; asked again by the old one, it is replaced once more. `None`: it has ended.
pub async fn refresh(
    tx: &mut Tx,
    world: &World,
    id: SessionId,
    presented: &clearway_config::SessionHash,
) -> db::Result<Option<Begun>> {
    let token = SessionToken::mint(world.random());
    let expires_at = store::replace(tx, id, presented, &token.hash(), world.now_ms()).await?;
    Ok(expires_at.map(|expires_at| Begun { id, token, expires_at }))
}
