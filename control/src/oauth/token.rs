//! Access tokens: JWTs by RFC 9068, which say all that a gateway has to know.

use clearway_config::{Scope, Scopes, TokenId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    clients::Client,
    grants::Grant,
    identity::Identity,
    resource::Resource,
    signing::{Signer, SigningError},
};
use crate::world::World;

/// The `typ` of an access token (RFC 9068, 2.1): no other kind of token is taken for one.
pub(super) const TYP: &str = "at+jwt";

/// What a token endpoint answers (RFC 6749, 5.1).
#[derive(Serialize, Deserialize)]
pub(super) struct Issued {
    pub(super) access_token: String,
    pub(super) token_type: String,
    /// Seconds from now; set when it is answered.
    pub(super) expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    pub(super) scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
}

/// An access token, and when it ends.
pub(super) struct Access {
    pub(super) jwt: String,
    pub(super) expires_at: i64,
}

/// How much of its grant an access token holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent<'e> {
    pub(super) scopes: &'e Scopes,
    pub(super) identity: Identity,
    pub(super) resource: &'e Resource,
    /// The thumbprint of the key that it is bound to.
    pub(super) jkt: Option<&'e str>,
}

/// Signs an access token of `grant`.
pub(super) fn access(
    world: &World,
    signer: &Signer,
    issuer: &str,
    client: &Client,
    grant: &Grant,
    Extent { scopes, identity, resource, jkt }: Extent<'_>,
) -> Result<Access, SigningError> {
    let now_ms = world.now_ms();
    let now_s = now_ms.div_euclid(1_000);
    // Not a moment less than was promised.
    let exp = (now_ms + 999).div_euclid(1_000) + client.access_lifetime;
    let subject = grant.user_id.map_or_else(|| client.id.to_string(), |id| id.to_string());
    let mut claims = json!({
        "iss": issuer,
        "sub": subject,
        "aud": resource.url(issuer),
        "client_id": client.id,
        "client_generation": client.generation,
        "iat": now_s,
        "exp": exp,
        "jti": world.id(TokenId::new),
        "scope": words(scopes, identity),
        "account_id": grant.account_id,
        "grant_id": grant.id,
    });
    if let Some(jkt) = jkt {
        claims["cnf"] = json!({ "jkt": jkt });
    }
    Ok(Access { jwt: signer.sign(TYP, &claims)?, expires_at: exp * 1_000 })
}

/// As OAuth writes them: one text, blanks between.
pub(super) fn words(scopes: &Scopes, identity: Identity) -> String {
    let mut words: Vec<&str> = identity.words().collect();
    words.extend(scopes.iter().map(Scope::as_str));
    words.join(" ")
}
