//! The first tokens of a grant that a person has made, by whatever way.

use super::{
    GRANT_LIFE_MS,
    clients::{Client, GrantType},
    code::unsigned,
    dpop,
    grants::Grant,
    identity::{self, SignedIn},
    refresh,
    refusal::Refusal,
    resource::Resource,
    signing::Signer,
    store::grants,
    token::{self, Extent, Issued},
};
use crate::{db::Tx, http::Api};

/// What tokens are given for.
#[derive(Debug)]
pub(super) struct First<'f> {
    pub(super) grant: Grant,
    /// What of the grant they are good for.
    pub(super) resource: Resource,
    /// When the person signed in, in milliseconds since 1970.
    pub(super) authenticated_at: Option<i64>,
    /// For the ID token to repeat.
    pub(super) nonce: Option<&'f str>,
    /// The thumbprint of the key that the client has proved.
    pub(super) jkt: Option<&'f str>,
}

/// Gives them; the grant goes on for as long as they can be refreshed.
pub(super) async fn first(
    tx: &mut Tx,
    api: &Api,
    signer: &Signer,
    client: &Client,
    First { mut grant, resource, authenticated_at, nonce, jkt }: First<'_>,
) -> Result<Issued, Refusal> {
    let (world, issuer) = (&api.world, super::http::issuer(api));
    let now_ms = world.now_ms();
    let standing = grants::standing(&mut *tx, grant.account_id, grant.user_id, client.id).await?;
    let scopes = standing.and_then(|standing| standing.allows(&grant)).ok_or_else(Refusal::invalid_grant)?;
    let extent = Extent { scopes: &scopes, identity: grant.identity, resource: &resource, jkt };
    let access = token::access(world, signer, &issuer, client, &grant, extent).map_err(unsigned)?;
    let refreshed = client.may(GrantType::RefreshToken);
    // Without a refresh token nothing comes after this.
    grant.expires_at = if refreshed { grant.created_at + GRANT_LIFE_MS } else { access.expires_at };
    let refresh_token = if refreshed { Some(refresh::first(tx, world, client, &grant).await?) } else { None };
    grants::used(tx, grant.id, now_ms, grant.expires_at).await?;
    if let Some(jkt) = jkt.filter(|_| !client.is_confidential()) {
        grants::bind(tx, grant.id, jkt).await?;
    }
    let id_token = match grant.user_id.zip(authenticated_at).filter(|_| grant.identity.openid) {
        Some((user, authenticated_at)) => {
            let signed_in = SignedIn { user, authenticated_at, nonce, access_token: &access.jwt };
            Some(identity::id_token(world, signer, &issuer, client, &signed_in).map_err(unsigned)?)
        }
        None => None,
    };
    Ok(Issued {
        access_token: access.jwt,
        token_type: dpop::token_type(jkt).into(),
        expires_in: (access.expires_at - now_ms).div_euclid(1_000),
        refresh_token: refresh_token.map(|token| token.reveal().to_owned()),
        scope: token::words(&scopes, grant.identity),
        id_token,
    })
}
