//! Authorization codes: given for a grant that a person has just made, and changed once for its tokens.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clearway_config::{AccountId, ClientId, GrantId, Scopes};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    CODE_LIFE_MS,
    clients::Client,
    grants::Grant,
    identity::Identity,
    issue::{self, First},
    opaque::{Kind, Opaque},
    refusal::{Refusal, Word},
    resource::Resource,
    revoke::{self, Ended},
    signing::Signer,
    store::{codes, grants},
    token::{self, Issued},
};
use crate::{
    audit::{self, Actor, Changes, Event},
    db::{self, Tx},
    http::Api,
    world::World,
};

/// Characters of a verifier (RFC 7636, 4.1).
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;
/// Characters of a challenge by S256: 256 bits in base64url.
const CHALLENGE_CHARS: usize = 43;

#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) grant_id: GrantId,
    pub(super) client_id: ClientId,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    pub(super) expires_at: i64,
    pub(super) used_at: Option<i64>,
    /// Repeated in the ID token.
    pub(super) nonce: Option<String>,
    /// When the person signed in, in milliseconds since 1970.
    pub(super) authenticated_at: Option<i64>,
    /// The thumbprint of the key that whoever changes it has to prove.
    pub(super) jkt: Option<String>,
}

/// What a person agrees to.
#[derive(Debug)]
pub(super) struct Agreed<'a> {
    pub(super) client: &'a Client,
    pub(super) account_id: AccountId,
    pub(super) scopes: Scopes,
    pub(super) identity: Identity,
    pub(super) redirect_uri: &'a str,
    pub(super) code_challenge: &'a str,
    pub(super) resource: &'a Resource,
    pub(super) nonce: Option<&'a str>,
    pub(super) authenticated_at: i64,
    /// The thumbprint of the key that the code is bound to.
    pub(super) jkt: Option<&'a str>,
}

/// What came of showing a code or a refresh token.
pub(super) enum Shown {
    Issued(Issued),
    /// Nothing; and something has been ended, which the proxies are to know before it is answered.
    Refused(Refusal, Ended),
}

/// Makes a grant, which lasts no longer than its code until that is used.
pub(super) async fn agree(tx: &mut Tx, world: &World, actor: &Actor, agreed: Agreed<'_>) -> db::Result<Opaque> {
    let Agreed { client, account_id, scopes, identity, redirect_uri, code_challenge, resource, nonce, authenticated_at, jkt } =
        agreed;
    let now_ms = world.now_ms();
    let grant = Grant {
        id: world.id(GrantId::new),
        client_id: client.id,
        account_id,
        user_id: actor.person(),
        scopes,
        identity,
        created_at: now_ms,
        last_used_at: now_ms,
        expires_at: now_ms + CODE_LIFE_MS,
        revoked_at: None,
        resource: resource.clone(),
        jkt: None,
    };
    grants::insert(tx, &grant).await?;
    let plain = Opaque::mint(Kind::Code, world);
    let code = Code {
        grant_id: grant.id,
        client_id: client.id,
        redirect_uri: redirect_uri.to_owned(),
        code_challenge: code_challenge.to_owned(),
        expires_at: now_ms + CODE_LIFE_MS,
        used_at: None,
        nonce: nonce.map(str::to_owned),
        authenticated_at: Some(authenticated_at),
        jkt: jkt.map(str::to_owned),
    };
    codes::insert(tx, &plain.hash(), &code, now_ms).await?;
    let object_id = grant.id.to_string();
    let changes = Changes::default().field("client_id", (), client.id).field("scopes", (), token::words(&grant.scopes, identity));
    let event = Event { action: "oauth_grant.created", account_id, object_kind: "oauth_grant", object_id: &object_id, changes };
    audit::record(tx, world, actor, event).await?;
    Ok(plain)
}

/// What the token endpoint was given with a code.
#[derive(Debug)]
pub(super) struct Redemption<'a> {
    pub(super) code: &'a str,
    pub(super) redirect_uri: &'a str,
    pub(super) verifier: &'a str,
    /// What of it the tokens are to be good for.
    pub(super) resource: Option<Resource>,
    /// The thumbprint of the key that the client has proved.
    pub(super) jkt: Option<&'a str>,
}

/// Changes a code for tokens. One that is shown again, or without what its client alone can know, ends its grant and all that
/// came of it (RFC 9700, 4.5 and 2.1.1); one of another client's is not found, and stays as it is.
pub(super) async fn redeem(
    tx: &mut Tx,
    api: &Api,
    signer: &Signer,
    client: &Client,
    Redemption { code, redirect_uri, verifier, resource, jkt }: Redemption<'_>,
) -> Result<Shown, Refusal> {
    let world = &api.world;
    let now_ms = world.now_ms();
    let Some(hash) = Opaque::parse(Kind::Code, code).map(|code| code.hash()) else { return Err(Refusal::invalid_grant()) };
    let code = codes::lock(tx, &hash, client.id).await?.ok_or_else(Refusal::invalid_grant)?;
    let grant = grants::lock(tx, None, code.grant_id).await?.ok_or_else(Refusal::invalid_grant)?;
    if code.used_at.is_some() {
        let ended = revoke::end(tx, world, &Actor::System, &grant, "code_replayed").await?;
        return Ok(Shown::Refused(Refusal::invalid_grant(), ended));
    }
    if code.expires_at <= now_ms || !grant.is_live(now_ms) {
        return Err(Refusal::invalid_grant());
    }
    let resource = grant.resource.narrowed(resource)?;
    codes::used(tx, &hash, now_ms).await?;
    let another_key = code.jkt.is_some() && code.jkt.as_deref() != jkt;
    if code.redirect_uri != redirect_uri || !verifies(&code.code_challenge, verifier) || another_key {
        let ended = revoke::end(tx, world, &Actor::System, &grant, "code_injected").await?;
        return Ok(Shown::Refused(Refusal::invalid_grant(), ended));
    }
    let first = First { grant, resource, authenticated_at: code.authenticated_at, nonce: code.nonce.as_deref(), jkt };
    Ok(Shown::Issued(issue::first(tx, api, signer, client, first).await?))
}

pub(super) fn unsigned(error: super::signing::SigningError) -> Refusal {
    match error {
        super::signing::SigningError::Store(error) => error.into(),
        error @ super::signing::SigningError::Key(_) => {
            tracing::error!(error.cause = %error, "a token could not be signed");
            Refusal::new(Word::ServerError, "Try again.")
        }
    }
}

/// Whether a challenge has the form that S256 gives it.
pub(super) fn is_challenge(text: &str) -> bool {
    text.len() == CHALLENGE_CHARS && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// RFC 7636, 4.6, by S256 alone; in constant time.
fn verifies(challenge: &str, verifier: &str) -> bool {
    let formed = VERIFIER_CHARS.contains(&verifier.len())
        && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    let computed = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    formed & bool::from(computed.as_bytes().ct_eq(challenge.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_checked_as_in_the_rfcs_example() {
        // RFC 7636, appendix B.
        let (verifier, challenge) =
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(verifies(challenge, verifier) && is_challenge(challenge));
        assert!(!verifies(challenge, &verifier.replace('d', "e")));
        assert!(!verifies(challenge, challenge), "a challenge is no verifier: plain is not taken");
        assert!(!verifies("", "") && !is_challenge(&challenge[1..]) && !is_challenge(&challenge.replace('E', "+")));
    }
}
