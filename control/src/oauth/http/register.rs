//! `/oauth/register`: applications that register themselves (RFC 7591), and `/oauth/register/{id}`, where each reads its own
//! registration, replaces it, or takes it away (RFC 7592). There is neither where the settings say that none may.

use axum::{
    Extension, Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use clearway_config::{ClientId, settings::process::ClientRegistration};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::{
    Oauth, issuer,
    tokens::{enforced, kept_by_nobody},
    userinfo::presented,
};
use crate::{
    http::{
        Api, ApiError, Context,
        fields::{BODY_BYTES_MAX, read_json},
    },
    oauth::{
        clients::Client,
        opaque::Opaque,
        refusal::{Refusal, Word},
        registration::{self, Registered},
    },
};

pub(super) async fn register(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    request: Request,
) -> Result<Response, Refused> {
    let context = admitted(&api, &oauth, &request)?;
    if !oauth.pace.registers(context.address, api.world.now_ms()) {
        return Err(too_often().into());
    }
    let headers = request.headers().clone();
    let shown = shown(&headers)?;
    let said = read(request).await?;
    let mut tx = api.db.begin().await.map_err(Refusal::from)?;
    let registered = registration::register(&mut tx, &api, shown, &said).await;
    let registered = registered.inspect_err(|refusal| counted(&api, &oauth, &context, refusal))?;
    tx.commit().await.map_err(Refusal::from)?;
    let Registered { client, secret, access } = registered;
    let body = document(&api, &client, secret.as_ref(), access.reveal());
    Ok(kept_by_nobody((StatusCode::CREATED, Json(body)).into_response()))
}

/// Without the secrets: their hashes are all that is kept.
pub(super) async fn read_one(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let context = admitted(&api, &oauth, &request)?;
    let shown = shown(request.headers())?;
    let mut tx = api.db.begin().await.map_err(Refusal::from)?;
    let client = registration::proved(&mut tx, named(&id)?, shown).await;
    let client = client.inspect_err(|refusal| counted(&api, &oauth, &context, refusal))?;
    tx.commit().await.map_err(Refusal::from)?;
    let body = document(&api, &client, None, shown.unwrap_or_default());
    Ok(kept_by_nobody(Json(body).into_response()))
}

/// Replaces all that it was registered with; what is not said any more is as if it never was (RFC 7592, 2.2).
pub(super) async fn replace(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let context = admitted(&api, &oauth, &request)?;
    let headers = request.headers().clone();
    let (shown, id) = (shown(&headers)?, named(&id)?);
    let said = read(request).await?;
    let mut tx = api.db.begin().await.map_err(Refusal::from)?;
    let client = registration::proved(&mut tx, id, shown).await;
    let client = client.inspect_err(|refusal| counted(&api, &oauth, &context, refusal))?;
    let client = registration::replace(&mut tx, &api, &client, &said).await?;
    tx.commit().await.map_err(Refusal::from)?;
    let body = document(&api, &client, None, shown.unwrap_or_default());
    Ok(kept_by_nobody(Json(body).into_response()))
}

/// Answered once no proxy takes its tokens any more, or refuses all requests.
pub(super) async fn remove(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let context = admitted(&api, &oauth, &request)?;
    let shown = shown(request.headers())?;
    let mut tx = api.db.begin().await.map_err(Refusal::from)?;
    let client = registration::proved(&mut tx, named(&id)?, shown).await;
    let client = client.inspect_err(|refusal| counted(&api, &oauth, &context, refusal))?;
    let ended = registration::leave(&mut tx, &api, &client).await?;
    tx.commit().await.map_err(Refusal::from)?;
    enforced(&api, ended).await;
    Ok(kept_by_nobody(StatusCode::NO_CONTENT.into_response()))
}

/// In OAuth's words, or, where nobody may register, as any path is refused that is none.
pub(super) enum Refused {
    None,
    By(Refusal),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::By(refusal)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::None => ApiError::not_found().into_response(),
            Self::By(refusal) => refusal.into_response(),
        }
    }
}

fn admitted(api: &Api, oauth: &Oauth, request: &Request) -> Result<Context, Refused> {
    if api.oauth.registration == ClientRegistration::Closed {
        return Err(Refused::None);
    }
    let context = request.extensions().get::<Context>().cloned();
    let context = context.ok_or_else(|| Refusal::new(Word::ServerError, "Try again."))?;
    if !oauth.pace.admit(context.address, api.world.now_ms()) {
        return Err(too_often().into());
    }
    Ok(context)
}

fn too_often() -> Refusal {
    Refusal::new(Word::SlowDown, "Too many requests from this address; wait a minute.")
}

/// Whoever shows what is no token is counted as a client is that is not itself.
fn counted(api: &Api, oauth: &Oauth, context: &Context, refusal: &Refusal) {
    if refusal.word == Word::InvalidToken {
        oauth.pace.failed(context.address, api.world.now_ms());
    }
}

/// The token that a request shows. One that shows something else there shows none that is good.
fn shown(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    match presented(headers) {
        None if headers.contains_key(header::AUTHORIZATION) => Err(Refusal::invalid_token()),
        shown => Ok(shown),
    }
}

fn named(id: &str) -> Result<ClientId, Refusal> {
    id.parse().map_err(|_| Refusal::invalid_token())
}

async fn read(request: Request) -> Result<Map<String, Value>, Refusal> {
    let unread = || Refusal::new(Word::InvalidClientMetadata, "The body must be a JSON object.");
    let bytes = read_json(request, BODY_BYTES_MAX).await.map_err(|_| unread())?;
    serde_json::from_slice(&bytes).map_err(|_| unread())
}

fn document(api: &Api, client: &Client, secret: Option<&Opaque>, access: &str) -> Map<String, Value> {
    let mut body = registration::described(client);
    if let Some(secret) = secret {
        body.insert("client_secret".into(), secret.reveal().into());
        // Until it is replaced.
        body.insert("client_secret_expires_at".into(), 0.into());
    }
    body.insert("registration_access_token".into(), access.into());
    body.insert("registration_client_uri".into(), format!("{}/oauth/register/{}", issuer(api), client.id).into());
    body
}
