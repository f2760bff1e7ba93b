//! Access tokens that are shown here: whether one is ours, and whether it still holds. Proxies do the same by what they hold.

use std::time::Duration;

use clearway_config::{
    AccountId, ClientId, GrantId, Scopes, TokenId, UserId,
    settings::gateway::{
        Algorithm, Issuer,
        issuer::{AccountRule, KeyPlace, KeySource},
    },
};
use clearway_filters::jwt::{Jwks, Token};

use super::{
    revoke::client_generation,
    store::{grants, revocations},
    token::TYP,
};
use crate::{db, http::Api};

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
    pub(super) issued_at_s: i64,
    pub(super) expires_at_s: i64,
}

/// Reads a token that we have signed and that has not expired. Whether it was revoked is not looked at.
pub(super) async fn read(api: &Api, text: &str) -> db::Result<Option<Access>> {
    let keys = super::signing::published(&api.db).await?;
    let Ok(keys) = Jwks::read(keys.to_string().as_bytes(), &[Algorithm::ES256]) else { return Ok(None) };
    let now_ms = u64::try_from(api.world.now_ms()).unwrap_or(0);
    let read = || {
        let token = Token::read(text.as_bytes()).ok()?;
        let issuer = issuer(&super::http::issuer(api));
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
            issued_at_s: token.claim("iat")?.as_i64()?,
            expires_at_s: token.claim("exp")?.as_i64()?,
        })
    };
    Ok(read())
}

/// A token that holds now, and what of it: nothing that it is of was revoked, nobody is suspended, and the person's role
/// still allows it.
pub(super) async fn live(api: &Api, text: &str) -> db::Result<Option<(Access, Scopes)>> {
    let Some(access) = read(api, text).await? else { return Ok(None) };
    let ids = [access.id.to_string(), client_generation(access.client_id, access.client_generation), access.grant_id.to_string()];
    if revocations::any(&api.db, [&ids[0], &ids[1], &ids[2]]).await? {
        return Ok(None);
    }
    let user: Option<UserId> = access.subject.parse().ok();
    let Some(standing) = grants::standing(&api.db, access.account_id, user).await? else { return Ok(None) };
    let allowed = if user.is_some() { standing.by_person(&access.scopes) } else { standing.by_client(&access.scopes) };
    Ok(allowed.map(|scopes| (access, scopes)))
}

/// Ourselves, as an issuer of tokens.
fn issuer(name: &str) -> Issuer {
    Issuer {
        name: "clearway".into(),
        issuer: name.to_owned(),
        audiences: vec![name.to_owned()],
        // They are here already.
        keys: KeySource {
            place: KeyPlace::File(std::path::PathBuf::new()),
            refresh: Duration::ZERO,
            refetch_after: Duration::ZERO,
            stale_for: Duration::ZERO,
        },
        algorithms: vec![Algorithm::ES256],
        account: AccountRule::Claim("account_id".into()),
        subject_claim: "sub".into(),
        scope_claim: Some("scope".into()),
        typ: Some(TYP.into()),
        leeway: Duration::ZERO,
        max_age: None,
    }
}
