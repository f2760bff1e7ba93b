//! The bodies of `/oauth/clients`.

use clearway_config::{AccountId, Scope, Scopes, scope::SCOPES_MAX};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::{
        Fields, Form, Paging,
        fields::{self, Wrong},
    },
    oauth::{
        ACCESS_LIFETIME, ACCESS_LIFETIME_MAX, REFRESH_LIFETIME, REFRESH_LIFETIME_MAX,
        clients::{AuthMethod, ClientUpdate, GrantType, HOMEPAGE_CHARS_MAX, NAME_CHARS_MAX, NewClient, SECRET_OVERLAP_MAX_S},
        redirect::{URI_BYTES_MAX, URIS_MAX},
    },
};

const LIFETIME_MIN: u64 = 60;

#[derive(Debug, ToSchema)]
#[schema(as = OauthClientCreateForm, example = json!({"name": "Example App", "redirect_uris": ["https://app.example/callback"], "scopes": ["read:stores"]}))]
pub(super) struct CreateForm {
    /// What people are asked about. 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: String,
    /// Where people read about it.
    pub(super) homepage: Option<String>,
    /// `client_secret_basic` unless said; `none` for what runs on people's own machines; `private_key_jwt` with `jwks`.
    pub(super) token_endpoint_auth_method: Option<AuthMethod>,
    /// `authorization_code` and `refresh_token` unless said.
    pub(super) grant_types: Option<Vec<GrantType>>,
    /// Where browsers may be sent back to, matched letter by letter: 10 at most, `https`, or `http` on a loopback address.
    pub(super) redirect_uris: Option<Vec<String>>,
    /// The most that it may ask for.
    #[schema(value_type = Vec<String>)]
    pub(super) scopes: Scopes,
    /// Seconds, 60 to 86,400; 3,600 unless said.
    #[schema(minimum = 60, maximum = 86_400)]
    pub(super) access_token_lifetime: Option<u64>,
    /// Seconds, 60 to 7,776,000; 2,592,000 unless said.
    #[schema(minimum = 60, maximum = 7_776_000)]
    pub(super) refresh_token_lifetime: Option<u64>,
    /// Public keys (RFC 7517) for ES256, EdDSA or RS256, 10 at most: with `private_key_jwt`, and only then.
    #[schema(value_type = Option<Object>)]
    pub(super) jwks: Option<Value>,
    /// Whether it is given no other tokens than those that are bound to a key (DPoP, RFC 9449); false unless said.
    pub(super) dpop_bound_access_tokens: Option<bool>,
    /// The account that the application is of; an admin may name another than its own.
    #[schema(value_type = Option<String>)]
    pub(super) account_id: Option<AccountId>,
}

#[derive(Debug, ToSchema)]
#[schema(as = OauthClientUpdateForm, example = json!({"name": "Example App"}))]
pub(super) struct UpdateForm {
    /// 1 to 100 characters. Cannot be cleared.
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: Option<String>,
    /// Null clears it.
    pub(super) homepage: Option<Option<String>>,
    /// Cannot be cleared.
    pub(super) grant_types: Option<Vec<GrantType>>,
    /// Replaces all of them.
    pub(super) redirect_uris: Option<Vec<String>>,
    /// Replaces all of them; what was granted stays granted.
    #[schema(value_type = Option<Vec<String>>)]
    pub(super) scopes: Option<Scopes>,
    /// Seconds, of tokens that are issued from now on.
    #[schema(minimum = 60, maximum = 86_400)]
    pub(super) access_token_lifetime: Option<u64>,
    /// Seconds, of tokens that are issued from now on.
    #[schema(minimum = 60, maximum = 7_776_000)]
    pub(super) refresh_token_lifetime: Option<u64>,
    /// Replaces all of its keys.
    #[schema(value_type = Option<Object>)]
    pub(super) jwks: Option<Value>,
    /// Of tokens that are issued from now on.
    pub(super) dpop_bound_access_tokens: Option<bool>,
    /// True ends all that was issued for it, at once; false lets it begin anew.
    pub(super) disabled: Option<bool>,
}

#[derive(Debug, ToSchema)]
#[schema(as = OauthClientRotateForm, example = json!({"overlap": 3600}))]
pub(super) struct RotateForm {
    /// Seconds for which older secrets go on, 0 to 2,592,000; 0 unless said.
    #[schema(maximum = 2_592_000)]
    pub(super) overlap: Option<u64>,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the document; the fields are read by name")]
pub(super) struct ListParams {
    /// Another account's; for admins.
    account_id: Option<String>,
}

#[derive(Debug)]
pub(super) struct ListForm<C> {
    pub(super) account_id: Option<AccountId>,
    pub(super) paging: Paging<C>,
}

impl Form for CreateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", fields::text(NAME_CHARS_MAX));
        let homepage = fields.optional("homepage", homepage);
        let token_endpoint_auth_method = fields.optional("token_endpoint_auth_method", fields::parsed);
        let grant_types = fields.optional("grant_types", grant_types);
        let redirect_uris = fields.optional("redirect_uris", redirect_uris);
        let scopes = fields.required("scopes", scopes);
        let access_token_lifetime = fields.optional("access_token_lifetime", lifetime(ACCESS_LIFETIME_MAX));
        let refresh_token_lifetime = fields.optional("refresh_token_lifetime", lifetime(REFRESH_LIFETIME_MAX));
        let jwks = fields.optional("jwks", object);
        let dpop_bound_access_tokens = fields.optional("dpop_bound_access_tokens", fields::yes_or_no);
        let account_id = fields.optional("account_id", fields::parsed);
        Some(Self {
            name: name?,
            homepage: homepage?,
            token_endpoint_auth_method: token_endpoint_auth_method?,
            grant_types: grant_types?,
            redirect_uris: redirect_uris?,
            scopes: scopes?,
            access_token_lifetime: access_token_lifetime?,
            refresh_token_lifetime: refresh_token_lifetime?,
            jwks: jwks?,
            dpop_bound_access_tokens: dpop_bound_access_tokens?,
            account_id: account_id?,
        })
    }
}

impl Form for UpdateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.kept("name", fields::text(NAME_CHARS_MAX));
        let homepage = fields.patch("homepage", homepage);
        let grant_types = fields.kept("grant_types", grant_types);
        let redirect_uris = fields.kept("redirect_uris", redirect_uris);
        let scopes = fields.kept("scopes", scopes);
        let access_token_lifetime = fields.kept("access_token_lifetime", lifetime(ACCESS_LIFETIME_MAX));
        let refresh_token_lifetime = fields.kept("refresh_token_lifetime", lifetime(REFRESH_LIFETIME_MAX));
        let jwks = fields.kept("jwks", object);
        let dpop_bound_access_tokens = fields.kept("dpop_bound_access_tokens", fields::yes_or_no);
        let disabled = fields.kept("disabled", fields::yes_or_no);
        Some(Self {
            name: name?,
            homepage: homepage?,
            grant_types: grant_types?,
            redirect_uris: redirect_uris?,
            scopes: scopes?,
            access_token_lifetime: access_token_lifetime?,
            refresh_token_lifetime: refresh_token_lifetime?,
            jwks: jwks?,
            dpop_bound_access_tokens: dpop_bound_access_tokens?,
            disabled: disabled?,
        })
    }
}

impl Form for RotateForm {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { overlap: fields.optional("overlap", fields::number(0, SECRET_OVERLAP_MAX_S))? })
    }
}

impl<C: std::str::FromStr<Err: std::fmt::Display>> Form for ListForm<C> {
    fn read(fields: &mut Fields) -> Option<Self> {
        let account_id = fields.optional("account_id", fields::parsed);
        let paging = Paging::read(fields);
        Some(Self { account_id: account_id?, paging: paging? })
    }
}

impl From<CreateForm> for NewClient {
    fn from(form: CreateForm) -> Self {
        let grant_types = form.grant_types.unwrap_or_else(|| vec![GrantType::AuthorizationCode, GrantType::RefreshToken]);
        Self {
            name: form.name,
            homepage: form.homepage,
            auth_method: form.token_endpoint_auth_method.unwrap_or(AuthMethod::ClientSecretBasic),
            grant_types,
            redirect_uris: form.redirect_uris.unwrap_or_default(),
            scopes: form.scopes,
            access_lifetime: form.access_token_lifetime.map_or(ACCESS_LIFETIME, signed),
            refresh_lifetime: form.refresh_token_lifetime.map_or(REFRESH_LIFETIME, signed),
            jwks: form.jwks,
            dpop_bound: form.dpop_bound_access_tokens.unwrap_or(false),
        }
    }
}

impl From<UpdateForm> for ClientUpdate {
    fn from(form: UpdateForm) -> Self {
        Self {
            name: form.name,
            homepage: form.homepage,
            grant_types: form.grant_types,
            redirect_uris: form.redirect_uris,
            scopes: form.scopes,
            access_lifetime: form.access_token_lifetime.map(signed),
            refresh_lifetime: form.refresh_token_lifetime.map(signed),
            jwks: form.jwks,
            dpop_bound: form.dpop_bound_access_tokens,
            disabled: form.disabled,
        }
    }
}

pub(super) fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

pub(super) fn lifetime(max: i64) -> impl Fn(&Value) -> Result<u64, Wrong> {
    fields::number(LIFETIME_MIN, max.unsigned_abs())
}

fn homepage(value: &Value) -> Result<String, Wrong> {
    let text = fields::text(HOMEPAGE_CHARS_MAX)(value)?;
    let formed = url::Url::parse(&text).is_ok_and(|url| url.scheme() == "https");
    if formed { Ok(text) } else { Err(("format_invalid", "must be an https:// URL".into())) }
}

/// What is in it is looked at where it goes.
fn object(value: &Value) -> Result<Value, Wrong> {
    if value.is_object() { Ok(value.clone()) } else { Err(("format_invalid", "must be an object".into())) }
}

pub(super) fn grant_types(value: &Value) -> Result<Vec<GrantType>, Wrong> {
    let named = fields::list(GrantType::ALL.len(), fields::parsed::<GrantType>)(value)?;
    Ok(GrantType::ALL.into_iter().filter(|kind| named.contains(kind)).collect())
}

fn redirect_uris(value: &Value) -> Result<Vec<String>, Wrong> {
    fields::list(URIS_MAX, fields::text(URI_BYTES_MAX))(value)
}

pub(super) fn scopes(value: &Value) -> Result<Scopes, Wrong> {
    Ok(Scopes::from(fields::list(SCOPES_MAX, fields::parsed::<Scope>)(value)?))
}
