//! `/auth/providers` and `/users/me/identities`.

use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use clearway_config::{ErrorCode, IdentityId, envelope::Success};
use http::{HeaderValue, StatusCode, header};
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::{
    act, back,
    request::{self, Begun, COOKIE, GOOD_MS},
    store,
    view::{AwayView, IdentityView, ProviderView, ProvidersView},
};
use crate::{
    auth::{FormStep, Once, Visitor, confirm_fully, password, ticket_cookie},
    db::Page,
    factors::CODE_CHARS_MAX,
    http::{Answer, Answered, Api, ApiError, Body, Fields, Form, Id, List, Person, fields, time::rfc3339},
    providers::{Provider, Providers, Returned},
};

/// Bytes in what a provider sends a browser back with.
const QUERY_BYTES_MAX: usize = 8 * 1024;
const PROVIDER_CHARS_MAX: usize = 32;

pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(providers))
        .routes(routes!(begin))
        .routes(routes!(callback))
        .routes(routes!(list, link))
        .routes(routes!(unlink))
}

#[derive(ToSchema)]
#[schema(example = json!({"return_to": "/portal/"}))]
struct BeginForm {
    /// Where the browser goes in the end: a path that begins with `/portal/`, or an authorization request.
    return_to: Option<String>,
}

impl Form for BeginForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { return_to: fields.optional("return_to", back::return_to)? })
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"provider": "github", "password": "correct horse battery"}))]
struct LinkForm {
    /// Its name.
    provider: String,
    /// The current password. Whoever has none sets one first, by `/auth/reset-password`.
    #[schema(value_type = String, max_length = 128)]
    password: Zeroizing<String>,
    /// Where a second factor is asked for: a code of the app, or a recovery code.
    code: Option<String>,
    /// As for signing in.
    return_to: Option<String>,
}

impl Form for LinkForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let provider = fields.required("provider", fields::text(PROVIDER_CHARS_MAX));
        let password = fields.required("password", password);
        let code = fields.optional("code", fields::text(CODE_CHARS_MAX));
        let return_to = fields.optional("return_to", back::return_to);
        Some(Self { provider: provider?, password: password?, code: code?, return_to: return_to? })
    }
}

fn named<'p>(providers: &'p Providers, name: &str) -> Result<&'p Provider, ApiError> {
    providers.find(name).ok_or_else(ApiError::not_found)
}

/// List the providers to sign in by
///
/// As the settings name them.
#[utoipa::path(get, path = "/auth/providers", operation_id = "auth_providers", tag = "auth",
    responses((status = 200, description = "The providers", body = Success<ProvidersView>)))]
async fn providers(State(api): State<Api>) -> Answered {
    Answer::ok(&ProvidersView { providers: api.providers.iter().map(ProviderView::from).collect() })
}

/// Sign in by a provider
///
/// For a browser: the answer sets a cookie, and says where to go. The provider sends the browser back to
/// `/auth/providers/{name}/callback`, and from there it comes to `return_to`, signed in by the session's cookie. Where a
/// second factor is asked for it comes there with `#second_factor=` and a ticket for `/auth/second-factor`, and where it did
/// not work with `#error=` and a code; an authorization request is gone on with by way of the page on which people sign in,
/// which asks and tells by itself. Whoever is not known becomes a person where the provider has verified the address, nobody has
/// it here, and `control.registration` is `open`; or is `invited`, and an invitation waits for this very address, which is
/// accepted by that.
#[utoipa::path(post, path = "/auth/providers/{name}", operation_id = "auth_by_provider", tag = "auth", request_body = BeginForm,
    params(("name" = String, Path, description = "The provider's name")),
    responses((status = 200, description = "Where to go", body = Success<AwayView>)))]
async fn begin(State(api): State<Api>, visitor: Visitor, Path(name): Path<String>, Body(form, _): Body<BeginForm>) -> Answered {
    visitor.may_get_cookie()?;
    let provider = named(&api.providers, &name)?;
    let return_to = form.return_to.unwrap_or_else(|| back::HOME.into());
    away(&request::begin(&api, provider, &visitor, return_to, None, false).await?)
}

/// [`begin`] for the page on which people sign in: where to go, and the cookie to set. `page` is where they came from, and
/// `anew` whether they are to show once more who they are.
pub async fn begin_by_form(
    api: &Api,
    visitor: &Visitor,
    provider: &Provider,
    page: &str,
    anew: bool,
) -> Result<(Url, HeaderValue), ApiError> {
    visitor.may_get_cookie()?;
    let begun = request::begin(api, provider, visitor, page.to_owned(), None, anew).await?;
    let cookie = cookie(&begun);
    Ok((begun.url, cookie))
}

fn away(begun: &Begun) -> Answered {
    let view = AwayView { url: begun.url.to_string(), expires_at: rfc3339(begun.expires_at) };
    Ok(Answer::ok(&view)?.no_store().header(header::SET_COOKIE, cookie(begun)))
}

fn cookie(begun: &Begun) -> HeaderValue {
    let life_s = GOOD_MS / 1_000;
    let cookie = format!("{COOKIE}={}; Path=/; Max-Age={life_s}; Secure; HttpOnly; SameSite=Lax", begun.cookie.reveal());
    let mut cookie = HeaderValue::try_from(cookie).expect("a token is ASCII");
    cookie.set_sensitive(true);
    cookie
}

/// Come back from a provider
///
/// Where a provider sends browsers: what it says is good for the browser that was sent there, once, within ten minutes.
#[utoipa::path(get, path = "/auth/providers/{name}/callback", operation_id = "auth_provider_callback", tag = "auth",
    params(("name" = String, Path, description = "The provider's name"),
        ("state" = String, Query, description = "As it was sent there"),
        ("code" = Option<String>, Query, description = "What the provider answers about"),
        ("iss" = Option<String>, Query, description = "Who answers (RFC 9207)"),
        ("error" = Option<String>, Query, description = "Why there is no code")),
    responses((status = 303, description = "To `return_to`, or by way of the page on which people sign in")))]
async fn callback(
    State(api): State<Api>,
    visitor: Visitor,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let unknown = || ApiError::new(ErrorCode::ProviderAnswerUnknown);
    let provider = named(&api.providers, &name)?;
    let said = Said::read(query.as_deref().unwrap_or_default()).ok_or_else(unknown)?;
    let cookie = visitor.cookie(COOKIE).and_then(Once::parse).ok_or_else(unknown)?;
    let state = said.state.as_deref().and_then(Once::parse).ok_or_else(unknown)?;
    let request = request::take(&api, provider, &cookie, &state).await?;
    let ended = finish(&api, &visitor, provider, &said, (&cookie, &state), request.link).await;
    let return_to = &request.return_to;
    // What is told stands in a page of ours, or else behind `#`, which no server's log sees.
    let is_page = request.link.is_none() && back::is_page(return_to);
    Ok(match ended {
        Ok(Some(FormStep::SignedIn(cookies))) => see_other(return_to, cookies),
        Ok(Some(FormStep::Waits(ticket))) if is_page => {
            see_other(&back::sign_in_page(return_to, None), vec![ticket_cookie(&ticket)])
        }
        Ok(Some(FormStep::Waits(ticket))) => see_other(&format!("{return_to}#second_factor={}", ticket.reveal()), Vec::new()),
        Ok(None) => see_other(return_to, Vec::new()),
        // Whoever runs this has to hear of it, and not only the person.
        Err(error) if error.code().status() == 500 => return Err(error),
        Err(error) if is_page => see_other(&back::sign_in_page(return_to, Some(error.code())), Vec::new()),
        Err(error) => see_other(&format!("{return_to}#error={}", error.code().as_str()), Vec::new()),
    })
}

/// `None`: an identity was linked.
async fn finish(
    api: &Api,
    visitor: &Visitor,
    provider: &Provider,
    said: &Said,
    (cookie, state): (&Once, &Once),
    link: Option<(clearway_config::UserId, clearway_config::SessionId)>,
) -> Result<Option<FormStep>, ApiError> {
    let code = said.code.as_deref().ok_or_else(|| ApiError::new(ErrorCode::ProviderDenied))?;
    let (verifier, nonce) = (request::verifier(cookie, state), request::nonce(cookie, state));
    let returned = Returned { code, issuer: said.issuer.as_deref(), verifier: &verifier, nonce: &nonce };
    let profile = provider.ask(returned, api.world.now_ms()).await.map_err(|fault| request::refusal(provider, &fault))?;
    match link {
        Some(who) => act::link(api, visitor, provider, &profile, who).await.map(|()| None),
        None => act::sign_in(api, visitor, provider, &profile).await.map(Some),
    }
}

/// What a provider sends a browser back with. Whatever else it says is its own business.
#[derive(Default)]
struct Said {
    state: Option<String>,
    /// None where there is an error.
    code: Option<String>,
    issuer: Option<String>,
}

impl Said {
    /// `None` where it is too long, or says something twice (RFC 6749, 3.1).
    fn read(query: &str) -> Option<Self> {
        if query.len() > QUERY_BYTES_MAX {
            return None;
        }
        let (mut said, mut error) = (Self::default(), None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut said.state,
                "code" => &mut said.code,
                "iss" => &mut said.issuer,
                "error" => &mut error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        if error.is_some() {
            said.code = None;
        }
        Some(said)
    }
}

fn see_other(to: &str, cookies: Vec<HeaderValue>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::try_from(to).expect("a path of ours and what is told are ASCII"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// List one's identities
///
/// Who one is at providers, at most 10.
#[utoipa::path(get, path = "/users/me/identities", operation_id = "identities_list", tag = "people", security(("session" = [])),
    responses((status = 200, description = "The identities", body = Success<List<IdentityView>>)))]
async fn list(State(api): State<Api>, person: Person) -> Answered {
    let identities = store::of_person(&api.db, person.user_id, act::IDENTITIES_MAX).await?;
    let page = Page::<_, String> { items: identities.into_iter().map(IdentityView::from).collect(), next: None };
    Answer::ok(&List::of(page, None))
}

/// Link an identity
///
/// For a browser, as signing in by a provider: what the provider says is linked to whoever is signed in now. It takes the
/// password, and a code where a second factor is asked for.
#[utoipa::path(post, path = "/users/me/identities", operation_id = "identities_link", tag = "people", request_body = LinkForm,
    security(("session" = [])), responses((status = 200, description = "Where to go", body = Success<AwayView>), (status = 404)))]
async fn link(State(api): State<Api>, person: Person, visitor: Visitor, Body(form, _): Body<LinkForm>) -> Answered {
    let provider = named(&api.providers, &form.provider)?;
    let user = confirm_fully(&api, &person, form.password, form.code.as_deref()).await?;
    let return_to = form.return_to.unwrap_or_else(|| back::HOME.into());
    away(&request::begin(&api, provider, &visitor, return_to, Some((user.id, person.session_id)), false).await?)
}

/// Take an identity away
///
/// Nobody signs in by it any more. The last way to sign in stays. The address is told.
#[utoipa::path(delete, path = "/users/me/identities/{id}", operation_id = "identities_unlink", tag = "people",
    params(("id" = String, Path, description = "The identity's id, `ident_…`")), security(("session" = [])),
    responses((status = 200, description = "Those that are left", body = Success<List<IdentityView>>)))]
async fn unlink(State(api): State<Api>, person: Person, Id(id): Id<IdentityId>) -> Answered {
    act::unlink(&api, &person, id).await?;
    list(State(api), person).await
}
