//! `/oauth/registration-tokens`: by which applications register themselves in an account.

use axum::extract::State;
use clearway_config::{AccountId, RegistrationTokenId, Scopes, envelope::Success};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::forms::{ListForm, ListParams, grant_types, scopes, signed};
use crate::{
    audit::Actor,
    http::{
        Answer, Answered, Api, Body, Fields, Form, Id, List, PageParams, Permit, Query, ReadApps, Repeatable, Turn, WriteApps,
        fields, time::rfc3339,
    },
    oauth::{
        clients::{GrantType, NAME_CHARS_MAX},
        registration::{self, LIFE_S_MAX, NewToken, Token, USES_MAX},
        store::registration as store,
    },
};

const LIFE_S_MIN: u64 = 60;
const LIFE_S: u64 = 24 * 3_600;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(delete))
}

#[derive(Debug, ToSchema)]
#[schema(as = OauthRegistrationTokenForm, example = json!({"name": "Partners", "scopes": ["read:stores"], "uses": 5}))]
struct CreateForm {
    /// 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The most that an application may ask for.
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    /// Those that an application may have; `authorization_code` and `refresh_token` unless said.
    grant_types: Option<Vec<GrantType>>,
    /// How many applications may register themselves by it, 1 to 100; 1 unless said.
    #[schema(minimum = 1, maximum = 100)]
    uses: Option<u64>,
    /// Seconds, 60 to 7,776,000; 86,400 unless said.
    #[schema(minimum = 60, maximum = 7_776_000)]
    lifetime: Option<u64>,
    /// The account that the applications will be of; an admin may name another than its own.
    #[schema(value_type = Option<String>)]
    account_id: Option<AccountId>,
}

impl Form for CreateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", fields::text(NAME_CHARS_MAX));
        let scopes = fields.required("scopes", scopes);
        let grant_types = fields.optional("grant_types", grant_types);
        let uses = fields.optional("uses", fields::number(1, USES_MAX));
        let lifetime = fields.optional("lifetime", fields::number(LIFE_S_MIN, LIFE_S_MAX));
        let account_id = fields.optional("account_id", fields::parsed);
        Some(Self {
            name: name?,
            scopes: scopes?,
            grant_types: grant_types?,
            uses: uses?,
            lifetime: lifetime?,
            account_id: account_id?,
        })
    }
}

/// A token, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthRegistrationTokenView)]
struct TokenView {
    #[schema(value_type = String)]
    id: RegistrationTokenId,
    #[schema(value_type = String)]
    account_id: AccountId,
    name: String,
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    grant_types: Vec<GrantType>,
    /// How many applications have registered themselves by it, of `uses_max`.
    uses: i64,
    uses_max: i64,
    created_at: String,
    expires_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthRegistrationTokenIssued)]
struct TokenIssued {
    #[serde(flatten)]
    made: TokenView,
    /// Shown in this answer only; null in the replay of an idempotency key.
    token: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OauthRegistrationTokenDeleted)]
struct TokenDeleted {
    #[schema(value_type = String)]
    id: RegistrationTokenId,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            account_id: token.account_id,
            name: token.name,
            scopes: token.scopes,
            grant_types: token.grant_types,
            uses: token.uses,
            uses_max: token.uses_max,
            created_at: rfc3339(token.created_at),
            expires_at: rfc3339(token.expires_at),
        }
    }
}

/// List what applications may register themselves by
///
/// In an account, newest first.
#[utoipa::path(get, path = "/oauth/registration-tokens", operation_id = "oauth_registration_tokens_list", tag = "oauth",
    params(ListParams, PageParams), security(("key" = ["read:apps"])),
    responses((status = 200, description = "A page of tokens", body = Success<List<TokenView>>)))]
async fn list(State(api): State<Api>, caller: Permit<ReadApps>, Query(form): Query<ListForm<RegistrationTokenId>>) -> Answered {
    let account = caller.account(form.account_id)?;
    let page = store::list_tokens(&api.db, account, form.paging).await?;
    Answer::ok(&List::of(page.map(TokenView::from), None))
}

/// Make a token by which applications register themselves
///
/// An initial access token (RFC 7591), shown in this answer only, of use where `oauth.registration` is `token` or `open`.
/// Applications that act without a person (`client_credentials`) get no scope that its maker lacks.
#[utoipa::path(post, path = "/oauth/registration-tokens", operation_id = "oauth_registration_tokens_create", tag = "oauth",
    request_body = CreateForm, security(("key" = ["write:apps"])),
    responses((status = 201, description = "The token", body = Success<TokenIssued>)))]
async fn create(
    State(api): State<Api>,
    caller: Permit<WriteApps>,
    repeatable: Repeatable,
    Body(form, bytes): Body<CreateForm>,
) -> Answered {
    let account = caller.account(form.account_id)?;
    let (mut tx, ticket) = match repeatable.begin(&api, &caller, &bytes).await? {
        Turn::Act(tx, ticket) => (tx, ticket),
        Turn::Replay(answer) => return Ok(answer),
    };
    let new = NewToken {
        name: form.name,
        scopes: form.scopes,
        grant_types: form.grant_types.unwrap_or_else(|| vec![GrantType::AuthorizationCode, GrantType::RefreshToken]),
        uses: signed(form.uses.unwrap_or(1)),
        lifetime: signed(form.lifetime.unwrap_or(LIFE_S)),
    };
    let (token, plain) = registration::create(&mut tx, &api.world, &Actor::from(&*caller), account, new).await?;
    let mut answer = TokenIssued { made: token.into(), token: None };
    ticket.keep(&mut tx, StatusCode::CREATED, &answer, api.world.now_ms()).await?;
    tx.commit().await?;
    answer.token = Some(plain.reveal().to_owned());
    Ok(Answer::created(&answer)?.no_store())
}

/// Take away what applications may register themselves by
///
/// Those that have go on.
#[utoipa::path(delete, path = "/oauth/registration-tokens/{id}", operation_id = "oauth_registration_tokens_delete", tag = "oauth",
    params(("id" = String, Path, description = "The token's id, `rgt_…`")), security(("key" = ["write:apps"])),
    responses((status = 200, description = "It is gone", body = Success<TokenDeleted>)))]
async fn delete(State(api): State<Api>, caller: Permit<WriteApps>, Id(id): Id<RegistrationTokenId>) -> Answered {
    let mut tx = api.db.begin().await?;
    registration::remove(&mut tx, &api.world, &Actor::from(&*caller), (caller.bounds(), id)).await?;
    tx.commit().await?;
    Answer::ok(&TokenDeleted { id })
}
