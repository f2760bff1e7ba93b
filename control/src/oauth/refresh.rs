//! Refresh tokens: each is good once, and gives the next.
//!
//! An answer can be lost. So a token that was used is answered once more with the very same successors, for a minute at most
//! and only until one of them is used. Whatever comes later is somebody who holds a token that they should not: the grant ends,
//! with all that came of it (RFC 9700, 4.14.2).

use serde::{Deserialize, Serialize};

use super::{
    authorize::Wanted,
    clients::Client,
    code::{Shown, unsigned},
    dpop,
    grants::Grant,
    opaque::{Kind, Opaque},
    refusal::{Refusal, Word},
    resource::Resource,
    revoke,
    signing::Signer,
    store::{grants, refresh as store},
    token::{self, Extent, Issued},
};
use crate::{
    audit::Actor,
    db::{self, Tx},
    http::{Api, hex},
    secrets::Purpose,
    world::World,
};

const ANSWER: Purpose = Purpose("oauth_refresh_tokens.sealed_answer");
/// How long an answer can be had again.
const REPEATED_MS: i64 = 60 * 1_000;
/// How often.
const REPEATS_MAX: i64 = 1;

/// A refresh token as it is held.
#[derive(Debug)]
pub(super) struct Held {
    /// The hash of the one that it was given for.
    pub(super) replaces: Option<Vec<u8>>,
    pub(super) expires_at: i64,
    pub(super) used_at: Option<i64>,
    pub(super) repeats: i64,
    pub(super) sealed_answer: Option<Vec<u8>>,
}

/// What was answered, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Answered {
    issued: Issued,
    access_expires_at: i64,
}

/// The first refresh token of a grant.
pub(super) async fn first(tx: &mut Tx, world: &World, client: &Client, grant: &Grant) -> db::Result<Opaque> {
    give(tx, world, client, grant, None).await
}

async fn give(tx: &mut Tx, world: &World, client: &Client, grant: &Grant, replaces: Option<&[u8; 32]>) -> db::Result<Opaque> {
    let now_ms = world.now_ms();
    let token = Opaque::mint(Kind::Refresh, world);
    let expires_at = (now_ms + client.refresh_lifetime * 1_000).min(grant.expires_at);
    store::insert(tx, &token.hash(), grant.id, replaces, (now_ms, expires_at)).await?;
    Ok(token)
}

/// Changes a refresh token for new tokens, of no more than `asked` where that is said.
pub(super) async fn refresh(
    tx: &mut Tx,
    api: &Api,
    signer: &Signer,
    client: &Client,
    presented: &str,
    (asked, resource): (Option<Wanted>, Option<Resource>),
    jkt: Option<&str>,
) -> Result<Shown, Refusal> {
    let world = &api.world;
    let now_ms = world.now_ms();
    let Some(token) = Opaque::parse(Kind::Refresh, presented) else { return Err(Refusal::invalid_grant()) };
    let hash = token.hash();
    let grant_id = store::grant_of(&mut *tx, &hash, client.id).await?.ok_or_else(Refusal::invalid_grant)?;
    // Held from here on: two who show the same token come one after the other.
    let grant = grants::lock(tx, None, grant_id).await?.ok_or_else(Refusal::invalid_grant)?;
    let held = store::find(&mut *tx, &hash).await?.ok_or_else(Refusal::invalid_grant)?;
    // Whoever has the token and not its key changes nothing by it, and ends nothing.
    if !grant.is_live(now_ms) || grant.jkt.is_some() && grant.jkt.as_deref() != jkt {
        return Err(Refusal::invalid_grant());
    }
    if let Some(used_at) = held.used_at {
        let again = now_ms - used_at < REPEATED_MS && held.repeats < REPEATS_MAX;
        let Some(sealed) = held.sealed_answer.filter(|_| again) else {
            let ended = revoke::end(tx, world, &Actor::System, &grant, "refresh_token_replayed").await?;
            return Ok(Shown::Refused(Refusal::invalid_grant(), ended));
        };
        store::repeated(tx, &hash).await?;
        return opened(api, &hash, &sealed, now_ms).map(Shown::Issued);
    }
    if held.expires_at <= now_ms {
        return Err(Refusal::invalid_grant());
    }
    let resource = grant.resource.narrowed(resource)?;
    let standing = grants::standing(&mut *tx, grant.account_id, grant.user_id, client.id).await?;
    let mut scopes = standing.and_then(|standing| standing.allows(&grant)).ok_or_else(Refusal::invalid_grant)?;
    let mut identity = grant.identity;
    if let Some(asked) = asked {
        let beyond = asked.scopes.iter().any(|scope| !grant.scopes.contains(scope.as_str()));
        if beyond || !asked.identity.is_within(identity) {
            return Err(Refusal::new(Word::InvalidScope, "More was asked for than was granted."));
        }
        identity = asked.identity;
        scopes = asked.scopes.iter().filter(|scope| scopes.contains(scope.as_str())).cloned().collect();
    }
    if let Some(replaced) = &held.replaces {
        store::forget_answer(tx, replaced).await?;
    }
    let next = give(tx, world, client, &grant, Some(&hash)).await?;
    let access = token::access(
        world,
        signer,
        &super::http::issuer(api),
        client,
        &grant,
        Extent { scopes: &scopes, identity, resource: &resource, jkt },
    )
    .map_err(unsigned)?;
    let issued = Issued {
        access_token: access.jwt,
        token_type: dpop::token_type(jkt).into(),
        expires_in: (access.expires_at - now_ms).div_euclid(1_000),
        refresh_token: Some(next.reveal().to_owned()),
        scope: token::words(&scopes, identity),
        // Who it is has not changed since (OpenID Connect Core, 12.2).
        id_token: None,
    };
    let answered = Answered { issued, access_expires_at: access.expires_at };
    let plain = serde_json::to_vec(&answered).map_err(|_| Refusal::new(Word::ServerError, "Try again."))?;
    let sealed = api.secrets.seal(ANSWER, &hex(&hash), &zeroize::Zeroizing::new(plain));
    store::used(tx, &hash, sealed, now_ms).await?;
    grants::used(tx, grant.id, now_ms, grant.expires_at).await?;
    Ok(Shown::Issued(answered.issued))
}

fn opened(api: &Api, hash: &[u8; 32], sealed: &[u8], now_ms: i64) -> Result<Issued, Refusal> {
    let broken = || {
        tracing::error!("an answer that was kept cannot be read");
        Refusal::new(Word::ServerError, "Try again.")
    };
    let plain = api.secrets.open(ANSWER, &hex(hash), sealed).map_err(|_| broken())?;
    let Answered { mut issued, access_expires_at } = serde_json::from_slice(&plain).map_err(|_| broken())?;
    issued.expires_in = (access_expires_at - now_ms).div_euclid(1_000).max(0);
    Ok(issued)
}
