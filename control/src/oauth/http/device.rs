//! `/oauth/device_authorization`, where devices begin, and `/oauth/device`, where people type what a device shows (RFC 8628).

use std::fmt::Write as _;

use axum::{
    Extension, Json,
    extract::{FromRequestParts, Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;

use super::{
    Oauth,
    authorize::{failed, from_our_page, sign_in_at, too_often, unreadable},
    consent, issuer,
    page::{Escaped, hidden, page, wrong},
    tokens::{Call, call, kept_by_nobody},
};
use crate::{
    auth,
    http::{Api, ApiError, Browser},
    oauth::{
        authorize::wanted,
        clients::GrantType,
        device::{self, Agreed, Device},
        params::Params,
        refusal::{Refusal, Word},
        resource::Resource,
        store::{clients, devices as store},
    },
    sessions,
};

/// A device begins.
pub(super) async fn begin(
    State(api): State<Api>,
    Extension(oauth): Extension<Oauth>,
    request: Request,
) -> Result<Response, Refusal> {
    let Call { client, params } = call(&api, &oauth, request).await?;
    if !client.may(GrantType::DeviceCode) {
        return Err(Refusal::new(Word::UnauthorizedClient, "The client is not registered for this grant type."));
    }
    let wanted = wanted(&client, params.get("scope")).map_err(|says| Refusal::new(Word::InvalidScope, says))?;
    let resource = Resource::read(&issuer(&api), params.get("resource"))?.unwrap_or_default();
    let begun = device::begin(&api, &client, wanted, resource).await?;
    Ok(kept_by_nobody(Json(begun).into_response()))
}

/// Where people come with a code, by hand or by a picture of an address.
pub(super) async fn show(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (mut parts, _) = request.into_parts();
    let params = match Params::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        Ok(params) => params,
        Err(why) => return unreadable(&why),
    };
    let text = params.get("user_code");
    let browser = match Browser::from_request_parts(&mut parts, &api).await {
        Ok(browser) => browser,
        Err(error) => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(text.and_then(device::typed).map(|code| ("user_code", code)));
            return sign_in_at(&format!("/oauth/device?{}", query.finish()), &error);
        }
    };
    let Some(text) = text else { return form(StatusCode::OK, None) };
    match waiting(&api, &browser, text).await {
        Ok(Ok(device)) => confirm(&api, &browser, &device).await.unwrap_or_else(|error| failed(&error)),
        Ok(Err(refused)) => refused,
        Err(error) => failed(&error),
    }
}

pub(super) async fn decide(State(api): State<Api>, Extension(oauth): Extension<Oauth>, request: Request) -> Response {
    if let Some(refused) = too_often(&api, &oauth, &request) {
        return refused;
    }
    let (params, browser) = match from_our_page(&api, request).await {
        Ok(sent) => sent,
        Err(refused) => return refused,
    };
    match waiting(&api, &browser, params.get("user_code").unwrap_or_default()).await {
        Ok(Ok(device)) => decided(&api, &params, &browser, &device).await.unwrap_or_else(|error| failed(&error)),
        Ok(Err(refused)) => refused,
        Err(error) => failed(&error),
    }
}

/// The device that shows a code, or the page for whoever has typed something else. Each that is typed is counted.
async fn waiting(api: &Api, browser: &Browser, text: &str) -> Result<Result<Device, Response>, ApiError> {
    let now_ms = api.world.now_ms();
    let mut tx = api.db.begin().await?;
    let admitted = auth::count_device_code(&mut tx, &api.world, browser.user_id).await?;
    tx.commit().await?;
    if !admitted {
        return Ok(Err(form(StatusCode::TOO_MANY_REQUESTS, Some("You have typed too many codes. Wait an hour."))));
    }
    let found = match device::typed(text) {
        Some(code) => store::waiting(&api.db, &code, now_ms).await?,
        None => None,
    };
    let unknown =
        "No device waits with this code. Codes last ten minutes: begin anew on the device, and type what it shows then.";
    Ok(found.ok_or_else(|| form(StatusCode::NOT_FOUND, Some(unknown))))
}

async fn confirm(api: &Api, browser: &Browser, device: &Device) -> Result<Response, ApiError> {
    let client = clients::find(&api.db, None, device.client_id).await?.filter(|client| client.disabled_at.is_none());
    let client = client.ok_or_else(ApiError::not_found)?;
    let mut body = String::new();
    consent::asks(&mut body, &client, &device.wanted);
    writeln!(
        body,
        "<p class=\"wrong\">Allow this only if you have begun it yourself, on a device in front of you that shows <strong>{}</strong>. \
         Whoever sent you the code or the link would get the access.</p>\n\
         <p><small>No more than your role in the account allows is given.</small></p>",
        Escaped(&device.shown_code())
    )
    .expect("a String takes everything");
    body.push_str("<form method=\"post\" action=\"/oauth/device\" autocomplete=\"off\">\n");
    hidden(&mut body, "user_code", &device.user_code);
    consent::decision(&mut body, api, browser).await?;
    Ok(page(StatusCode::OK, &format!("Allow {}?", client.name), &body, None))
}

async fn decided(api: &Api, params: &Params, browser: &Browser, device: &Device) -> Result<Response, ApiError> {
    let mut tx = api.db.begin().await?;
    let first = if params.get("decision") == Some("allow") {
        let given = consent::given(&mut tx, params, browser, device.client_id, &device.wanted).await?;
        let Some((account_id, scopes)) = given else {
            return Ok(wrong(StatusCode::FORBIDDEN, "You may not give that in this account."));
        };
        let authenticated_at = sessions::began_at(&mut tx, browser.session_id).await?.unwrap_or_default();
        let agreed = Agreed { account_id, scopes, authenticated_at };
        device::allow(&mut tx, &api.world, browser, device, agreed).await?
    } else {
        // Whatever is not a clear yes is a no.
        store::decide(&mut tx, device, None).await?
    };
    if !first {
        return Ok(form(StatusCode::NOT_FOUND, Some("It was decided already.")));
    }
    tx.commit().await?;
    Ok(page(StatusCode::OK, "Done", "<p>You can go back to your device.</p>\n", None))
}

fn form(status: StatusCode, says: Option<&str>) -> Response {
    let mut body = String::new();
    if let Some(says) = says {
        writeln!(body, "<p class=\"wrong\">{}</p>", Escaped(says)).expect("a String takes everything");
    }
    body.push_str(
        "<form method=\"get\" action=\"/oauth/device\" autocomplete=\"off\">\n\
         <label for=\"user_code\">The code that your device shows</label>\n\
         <input id=\"user_code\" name=\"user_code\" required maxlength=\"16\" autocapitalize=\"characters\" spellcheck=\"false\">\n\
         <button>Go on</button>\n</form>\n",
    );
    page(status, "Connect a device", &body, None)
}
