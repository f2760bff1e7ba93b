//! `/oauth/par`: where clients push what they are going to ask a person for.

use axum::{
    Extension, Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::json;

use super::{
    Oauth, issuer,
    tokens::{Call, call, kept_by_nobody},
};
use crate::{
    http::Api,
    oauth::{
        authorize::{self, Faulty},
        dpop, pushed,
        refusal::{Refusal, Word},
    },
};

/// Whatever is wrong with a request is told here, where nobody is sent anywhere yet.
pub(super) async fn push(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    request: Request,
) -> Result<Response, Refusal> {
    let shown = dpop::shown(request.headers())?.map(str::to_owned);
    let Call { client, params } = call(&api, &oauth, request).await?;
    // Only what it comes with: whoever has to prove a key does so where tokens are given.
    let jkt = match shown {
        Some(shown) => dpop::proved(&api, &client, Some(&shown), "/oauth/par").await?,
        None => None,
    };
    if params.get("request_uri").is_some() {
        return Err(Refusal::new(Word::InvalidRequest, "A request that is pushed names no other."));
    }
    let asked = authorize::of_client(client, &params, &issuer(&api)).map_err(|faulty| match faulty {
        Faulty::Page(says) => Refusal::new(Word::InvalidRequest, says),
        Faulty::Back { word, says, .. } => Refusal::new(Word::Authorization(word), says),
        Faulty::Store(error) => error.into(),
    })?;
    if jkt.is_some() && asked.jkt.is_some() && jkt != asked.jkt {
        return Err(Refusal::new(Word::InvalidDpopProof, "The proof is by another key than dpop_jkt names."));
    }
    let request_uri = pushed::keep(&api.db, &api.world, &asked.client, &params, jkt).await?;
    let body = json!({ "request_uri": request_uri, "expires_in": pushed::LIFE_MS / 1_000 });
    Ok(kept_by_nobody((StatusCode::CREATED, Json(body)).into_response()))
}
