//! The endpoints that clients call themselves: tokens, their revocation and their introspection.

use axum::{
    Extension, Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use clearway_config::{GrantId, Scopes};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{Oauth, issuer};
use crate::{
    audit::Actor,
    db::Tx,
    http::{Api, Context, nonce_header},
    oauth::{
        authorize::{Wanted, wanted},
        bearer::{self, Access},
        client_auth,
        clients::{Client, GrantType},
        code::{self, Redemption, Shown, unsigned},
        device, dpop,
        grants::Grant,
        identity::Identity,
        opaque::{Kind, Opaque},
        params::Params,
        refresh,
        refusal::{Refusal, Word},
        resource::Resource,
        revoke::{self as ending, Ended},
        signing::Signer,
        store::{grants, refresh as refresh_tokens},
        token::{self, Extent, Issued},
    },
    sync::Wait,
};

/// A request of a client that is itself.
pub(super) struct Call {
    pub(super) client: Client,
    pub(super) params: Params,
}

pub(super) async fn call(api: &Api, oauth: &Oauth, request: Request) -> Result<Call, Refusal> {
    let context = request.extensions().get::<Context>().cloned();
    let context = context.ok_or_else(|| Refusal::new(Word::ServerError, "Try again."))?;
    if !oauth.pace.admit(context.address, api.world.now_ms()) {
        return Err(Refusal::new(Word::SlowDown, "Too many requests from this address; wait a minute."));
    }
    let headers: HeaderMap = request.headers().clone();
    let params = Params::of_body(request).await?;
    let client = client_auth::authenticate(api, &oauth.pace, context.address, &headers, &params).await?;
    Ok(Call { client, params })
}

pub(super) async fn token(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    request: Request,
) -> Result<Response, Refusal> {
    let shown = dpop::shown(request.headers())?.map(str::to_owned);
    let Call { client, params } = call(&api, &oauth, request).await?;
    let proof = dpop::proved(&api, &client, shown.as_deref(), "/oauth/token").await?;
    let jkt = proof.as_deref();
    let missing = |name: &str| Refusal::new(Word::InvalidRequest, format!("{name} is missing."));
    let resource = Resource::read(&issuer(&api), params.get("resource"))?;
    let grant_type = params.get("grant_type").ok_or_else(|| missing("grant_type"))?;
    let grant_type: GrantType = grant_type
        .parse()
        .map_err(|_| Refusal::new(Word::UnsupportedGrantType, "The metadata says which grant types there are."))?;
    if !client.may(grant_type) {
        return Err(Refusal::new(Word::UnauthorizedClient, "The client is not registered for this grant type."));
    }
    // Before the transaction: the first key is made in one of its own.
    let signer = Signer::current(&api).await.map_err(unsigned)?;
    let mut tx = api.db.begin().await?;
    let shown = match grant_type {
        GrantType::AuthorizationCode => {
            let redemption = Redemption {
                code: params.get("code").ok_or_else(|| missing("code"))?,
                redirect_uri: params.get("redirect_uri").ok_or_else(|| missing("redirect_uri"))?,
                verifier: params.get("code_verifier").ok_or_else(|| missing("code_verifier"))?,
                resource,
                jkt,
            };
            code::redeem(&mut tx, &api, &signer, &client, redemption).await?
        }
        GrantType::RefreshToken => {
            let presented = params.get("refresh_token").ok_or_else(|| missing("refresh_token"))?;
            let asked = asked(&client, &params)?;
            refresh::refresh(&mut tx, &api, &signer, &client, presented, (asked, resource), jkt).await?
        }
        GrantType::DeviceCode => {
            let presented = params.get("device_code").ok_or_else(|| missing("device_code"))?;
            device::ask(&mut tx, &api, &signer, &client, presented, (resource, jkt)).await?
        }
        GrantType::ClientCredentials => {
            let Wanted { scopes: asked, identity } = wanted(&client, params.get("scope")).map_err(invalid_scope)?;
            if !identity.is_none() {
                return Err(invalid_scope("There is no person to know of."));
            }
            Shown::Issued(by_itself(&mut tx, &api, &signer, &client, (&asked, resource.unwrap_or_default(), jkt)).await?)
        }
    };
    tx.commit().await?;
    match shown {
        Shown::Issued(issued) => {
            let mut answer = kept_by_nobody(Json(issued).into_response());
            if proof.is_some() {
                answer.headers_mut().extend(dpop::next_nonce(&api).await?.as_ref().map(nonce_header));
            }
            Ok(answer)
        }
        Shown::Refused(refusal, ended) => {
            enforced(&api, ended).await;
            Err(refusal)
        }
    }
}

fn asked(client: &Client, params: &Params) -> Result<Option<Wanted>, Refusal> {
    let Some(words) = params.get("scope") else { return Ok(None) };
    wanted(client, Some(words)).map(Some).map_err(invalid_scope)
}

fn invalid_scope(says: &'static str) -> Refusal {
    Refusal::new(Word::InvalidScope, says)
}

/// A client in its own account (RFC 6749, 4.4): a grant that ends with its one token.
async fn by_itself(
    tx: &mut Tx,
    api: &Api,
    signer: &Signer,
    client: &Client,
    (asked, resource, jkt): (&Scopes, Resource, Option<&str>),
) -> Result<Issued, Refusal> {
    let now_ms = api.world.now_ms();
    let standing = grants::standing(&mut *tx, client.account_id, None, client.id).await?;
    let scopes = standing.and_then(|standing| standing.by_client(asked)).ok_or_else(Refusal::invalid_grant)?;
    let grant = Grant {
        id: api.world.id(GrantId::new),
        client_id: client.id,
        account_id: client.account_id,
        user_id: None,
        scopes: scopes.clone(),
        identity: Identity::default(),
        created_at: now_ms,
        last_used_at: now_ms,
        expires_at: now_ms + client.access_lifetime * 1_000,
        revoked_at: None,
        resource,
        jkt: None,
    };
    grants::insert(tx, &grant).await?;
    let extent = Extent { scopes: &scopes, identity: grant.identity, resource: &grant.resource, jkt };
    let access = token::access(&api.world, signer, &issuer(api), client, &grant, extent).map_err(unsigned)?;
    Ok(Issued {
        access_token: access.jwt,
        token_type: dpop::token_type(jkt).into(),
        expires_in: (access.expires_at - now_ms).div_euclid(1_000),
        refresh_token: None,
        scope: token::words(&scopes, grant.identity),
        id_token: None,
    })
}

/// RFC 7009. What is not the client's own, or not known, is answered as if it had been revoked: it is good for nothing.
/// With a refresh token its whole grant ends, with an access token that token alone.
pub(super) async fn revoke(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    request: Request,
) -> Result<Response, Refusal> {
    let Call { client, params } = call(&api, &oauth, request).await?;
    let token = params.get("token").ok_or_else(|| Refusal::new(Word::InvalidRequest, "token is missing."))?;
    let mut tx = api.db.begin().await?;
    let ended = if let Some(refresh) = Opaque::parse(Kind::Refresh, token) {
        match refresh_tokens::grant_of(&mut tx, &refresh.hash(), client.id).await? {
            Some(id) => match grants::lock(&mut tx, None, id).await? {
                Some(grant) => ending::end(&mut tx, &api.world, &Actor::System, &grant, "client").await?,
                None => Ended::default(),
            },
            None => Ended::default(),
        }
    } else {
        match bearer::read(&api.db, &issuer(&api), token, api.world.now_ms()).await? {
            Some(access) if access.client_id == client.id => {
                let revision = ending::end_token(&mut tx, access.id, api.world.now_ms()).await?;
                Ended { grants: 0, revision: Some(revision) }
            }
            _ => Ended::default(),
        }
    };
    tx.commit().await?;
    enforced(&api, ended).await;
    Ok(kept_by_nobody(StatusCode::OK.into_response()))
}

/// RFC 7662, for clients that prove that they are themselves, of their own tokens.
pub(super) async fn introspect(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    request: Request,
) -> Result<Response, Refusal> {
    let Call { client, params } = call(&api, &oauth, request).await?;
    if !client.is_confidential() {
        return Err(Refusal::new(Word::UnauthorizedClient, "Only clients that prove that they are themselves may ask."));
    }
    let token = params.get("token").ok_or_else(|| Refusal::new(Word::InvalidRequest, "token is missing."))?;
    let said = match Opaque::parse(Kind::Refresh, token) {
        Some(refresh) => of_refresh(&api, &client, &refresh).await?,
        None => match bearer::live(&api.db, &issuer(&api), token, api.world.now_ms()).await? {
            Some((access, scopes)) if access.client_id == client.id => Some(of_access(&api, &access, &scopes)),
            _ => None,
        },
    };
    Ok(kept_by_nobody(Json(said.unwrap_or_else(|| json!({ "active": false }))).into_response()))
}

fn of_access(api: &Api, access: &Access, scopes: &Scopes) -> Value {
    let mut said = json!({
        "active": true,
        "scope": token::words(scopes, access.identity),
        "client_id": access.client_id,
        "token_type": dpop::token_type(access.bound.as_deref()),
        "exp": access.expires_at_s,
        "iat": access.issued_at_s,
        "sub": access.subject,
        "aud": format!("{}{}", issuer(api), access.below.as_deref().unwrap_or_default()),
        "iss": issuer(api),
        "jti": access.id,
        "account_id": access.account_id,
    });
    if let Some(jkt) = &access.bound {
        said["cnf"] = json!({ "jkt": jkt });
    }
    said
}

async fn of_refresh(api: &Api, client: &Client, refresh: &Opaque) -> Result<Option<Value>, Refusal> {
    let now_ms = api.world.now_ms();
    let hash = refresh.hash();
    let Some(id) = refresh_tokens::grant_of(&api.db, &hash, client.id).await? else { return Ok(None) };
    let (held, grant) = (refresh_tokens::find(&api.db, &hash).await?, grants::find(&api.db, None, id).await?);
    let (Some(held), Some(grant)) = (held, grant) else { return Ok(None) };
    if held.used_at.is_some() || held.expires_at <= now_ms || !grant.is_live(now_ms) {
        return Ok(None);
    }
    let subject = grant.user_id.map_or_else(|| client.id.to_string(), |id| id.to_string());
    Ok(Some(json!({
        "active": true,
        "scope": token::words(&grant.scopes, grant.identity),
        "client_id": client.id,
        "exp": held.expires_at.div_euclid(1_000),
        "sub": subject,
        "iss": issuer(api),
        "account_id": grant.account_id,
    })))
}

/// Waits until no proxy takes it any more, or refuses everything.
pub(super) async fn enforced(api: &Api, ended: Ended) {
    if let Some(revision) = ended.revision {
        api.hub.propagated(revision, Wait::Enforced).await;
    }
}

pub(super) fn kept_by_nobody(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
