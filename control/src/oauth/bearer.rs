//! Access tokens that are shown here: whether one is ours, and whether it still holds. Proxies do the same by what they hold.

use std::time::Duration;

use async_trait::async_trait;
use clearway_config::{
    AccountId, ClientId, GrantId, Scopes, TokenId, UserId,
    settings::gateway::{Algorithm, Issuer},
};
use clearway_filters::jwt::{Jwks, Proof, Proved, Refusal, Token, covers};

use super::{
    dpop,
    identity::Identity,
    revoke::client_generation,
    store::{grants, revocations},
};
use crate::{
    db::{self, Db},
    http::{Api, Asked, HeldToken, TokenDirectory},
};

/// What a good token says.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) id: TokenId,
    pub(super) client_id: ClientId,
    pub(super) client_generation: i64,
    pub(super) grant_id: GrantId,
    pub(super) account_id: AccountId,
    pub(super) subject: String,
    pub(super) scopes: Scopes,
    pub(super) identity: Identity,
    /// Where it is good alone: this path and everything below it.
    pub(super) below: Option<Box<str>>,
    /// The thumbprint of the key that it is bound to.
    pub(super) bound: Option<Box<str>>,
    pub(super) issued_at_s: i64,
    pub(super) expires_at_s: i64,
}

impl Access {
    /// Whether it is meant for a request with this path.
    pub(super) fn covers(&self, path: &str) -> bool {
        covers(self.below.as_deref(), path)
    }
}

/// Reads a token that we have signed and that has not expired. Whether it was revoked is not looked at.
pub(super) async fn read(db: &Db, issuer: &str, text: &str, now_ms: i64) -> db::Result<Option<Access>> {
    let keys = super::signing::published(db).await?;
    let Ok(keys) = Jwks::read(keys.to_string().as_bytes(), &[Algorithm::ES256]) else { return Ok(None) };
    let now_ms = u64::try_from(now_ms).unwrap_or(0);
    let read = || {
        let token = Token::read(text.as_bytes()).ok()?;
        let issuer = Issuer::own(issuer, Duration::ZERO);
        if token.issuer() != Some(issuer.issuer.as_str()) {
            return None;
        }
        let claims = token.verify(&issuer, &keys, now_ms).ok()?;
        let said = |name: &str| token.claim(name).and_then(serde_json::Value::as_str);
        Some(Access {
            id: said("jti")?.parse().ok()?,
            client_id: said("client_id")?.parse().ok()?,
            client_generation: token.claim("client_generation")?.as_i64()?,
            grant_id: said("grant_id")?.parse().ok()?,
            account_id: claims.account,
            subject: claims.subject?,
            scopes: claims.scopes,
            identity: Identity::of_stored(said("scope").unwrap_or_default()),
            below: claims.below,
            bound: claims.bound,
            issued_at_s: token.claim("iat")?.as_i64()?,
            expires_at_s: token.claim("exp")?.as_i64()?,
        })
    };
    Ok(read())
}

/// A token that holds now, and what of it: nothing that it is of was revoked, nobody is suspended, and the person's role
/// still allows it.
pub(super) async fn live(db: &Db, issuer: &str, text: &str, now_ms: i64) -> db::Result<Option<(Access, Scopes)>> {
    let Some(access) = read(db, issuer, text, now_ms).await? else { return Ok(None) };
    let ids = [access.id.to_string(), client_generation(access.client_id, access.client_generation), access.grant_id.to_string()];
    if revocations::any(db, [&ids[0], &ids[1], &ids[2]]).await? {
        return Ok(None);
    }
    let user: Option<UserId> = access.subject.parse().ok();
    let Some(standing) = grants::standing(db, access.account_id, user, access.client_id).await? else { return Ok(None) };
    let allowed = if user.is_some() { standing.by_person(&access.scopes) } else { standing.by_client(&access.scopes) };
    Ok(allowed.map(|scopes| (access, scopes)))
}

/// Verifies what the API's callers show.
#[derive(Debug, Clone)]
pub struct Bearers {
    issuer: String,
}

impl Bearers {
    pub fn new(public_url: &str) -> Self {
        Self { issuer: super::http::issuer_of(public_url) }
    }
}

#[async_trait]
impl TokenDirectory for Bearers {
    async fn find(&self, db: &Db, token: &str, path: &str, now_ms: i64) -> db::Result<Option<HeldToken>> {
        let found = live(db, &self.issuer, token, now_ms).await?.filter(|(access, _)| access.covers(path));
        Ok(found.map(|(access, scopes)| HeldToken {
            client_id: access.client_id,
            user_id: access.subject.parse().ok(),
            account_id: access.account_id,
            scopes,
            bound: access.bound,
        }))
    }

    fn verify(&self, proof: &str, of: Asked<'_>, now_ms: i64) -> Result<Proof, Refusal> {
        let Asked { method, path, token } = of;
        let of = Proved { method, base: &self.issuer, path, token: Some(token.as_bytes()) };
        Proof::verify(proof.as_bytes(), of, u64::try_from(now_ms).unwrap_or(0))
    }

    async fn accept(&self, api: &Api, proof: &Proof) -> db::Result<Result<(), Refusal>> {
        dpop::accept(api, proof).await
    }
}
