//! What a client is, and which words a registration may have.

use std::str::FromStr;

use clearway_config::{AccountId, ClientId, RegistrationTokenId, Scopes};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Clients of one account at most, whatever its plan.
pub(in crate::oauth) const CLIENTS_MAX: i64 = 100;
/// Characters of a name at most.
pub(in crate::oauth) const NAME_CHARS_MAX: usize = 100;
/// Characters of a homepage's address at most.
pub(in crate::oauth) const HOMEPAGE_CHARS_MAX: usize = 1_000;
/// How long an older secret may go on beside a new one.
pub(in crate::oauth) const SECRET_OVERLAP_MAX_S: u64 = 30 * 24 * 3_600;
/// Secrets of one client in force at the same time, at most.
pub(super) const SECRETS_MAX: i64 = 5;

/// How a client proves at the token endpoint that it is itself (RFC 7591, 2). It does so in this way, and in no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OauthAuthMethod)]
pub(in crate::oauth) enum AuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    /// It signs by a key of its own, of which the public half is registered (RFC 7523).
    PrivateKeyJwt,
    /// It has no secret: a program on people's machines, or in their browsers.
    None,
}

impl AuthMethod {
    pub(in crate::oauth) const ALL: [AuthMethod; 4] =
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt, Self::None];

    pub(in crate::oauth) const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }
}

impl FromStr for AuthMethod {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|method| method.as_str() == text);
        found.ok_or("must be client_secret_basic, client_secret_post, private_key_jwt or none")
    }
}

/// What a client may ask the token endpoint by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OauthGrantType)]
pub(in crate::oauth) enum GrantType {
    AuthorizationCode,
    RefreshToken,
    ClientCredentials,
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
}

impl GrantType {
    pub(in crate::oauth) const ALL: [GrantType; 4] =
        [Self::AuthorizationCode, Self::RefreshToken, Self::ClientCredentials, Self::DeviceCode];

    pub(in crate::oauth) const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }
}

impl FromStr for GrantType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|grant| grant.as_str() == text);
        found.ok_or(
            "must be authorization_code, refresh_token, client_credentials or urn:ietf:params:oauth:grant-type:device_code",
        )
    }
}

/// Who has registered a client that was not registered by its account (RFC 7591).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::oauth) enum RegisteredBy {
    /// Itself, as anyone could.
    Anyone,
    /// Itself, by a token of its account's.
    Token(RegistrationTokenId),
}

impl std::fmt::Display for RegisteredBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Token(id) => id.fmt(f),
        }
    }
}

impl FromStr for RegisteredBy {
    type Err = <RegistrationTokenId as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "anyone" { Ok(Self::Anyone) } else { text.parse().map(Self::Token) }
    }
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::oauth) struct Client {
    pub(in crate::oauth) id: ClientId,
    pub(in crate::oauth) account_id: AccountId,
    pub(in crate::oauth) name: String,
    pub(in crate::oauth) homepage: Option<String>,
    pub(in crate::oauth) auth_method: AuthMethod,
    pub(in crate::oauth) grant_types: Vec<GrantType>,
    pub(in crate::oauth) redirect_uris: Vec<String>,
    /// The most that it may ask for.
    pub(in crate::oauth) scopes: Scopes,
    /// In seconds.
    pub(in crate::oauth) access_lifetime: i64,
    /// In seconds.
    pub(in crate::oauth) refresh_lifetime: i64,
    /// Its public keys (RFC 7517), where it signs.
    pub(in crate::oauth) jwks: Option<Value>,
    /// Whether it is given no other tokens than those that are bound to a key (RFC 9449, 5.2).
    pub(in crate::oauth) dpop_bound: bool,
    /// `None`: its account.
    pub(in crate::oauth) registered_by: Option<RegisteredBy>,
    pub(in crate::oauth) disabled_at: Option<i64>,
    /// Counts how often all that was issued was ended at once, from 1.
    pub(in crate::oauth) generation: i64,
    /// Counts its changes, from 1.
    pub(in crate::oauth) version: i64,
    pub(in crate::oauth) created_at: i64,
    pub(in crate::oauth) updated_at: i64,
}

impl Client {
    pub(in crate::oauth) fn may(&self, grant: GrantType) -> bool {
        self.grant_types.contains(&grant)
    }

    pub(in crate::oauth) fn is_confidential(&self) -> bool {
        self.auth_method != AuthMethod::None
    }

    pub(in crate::oauth) fn has_secret(&self) -> bool {
        matches!(self.auth_method, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost)
    }
}

/// A client on its way in.
#[derive(Debug)]
pub(in crate::oauth) struct NewClient {
    pub(in crate::oauth) name: String,
    pub(in crate::oauth) homepage: Option<String>,
    pub(in crate::oauth) auth_method: AuthMethod,
    pub(in crate::oauth) grant_types: Vec<GrantType>,
    pub(in crate::oauth) redirect_uris: Vec<String>,
    pub(in crate::oauth) scopes: Scopes,
    pub(in crate::oauth) access_lifetime: i64,
    pub(in crate::oauth) refresh_lifetime: i64,
    pub(in crate::oauth) jwks: Option<Value>,
    pub(in crate::oauth) dpop_bound: bool,
}

/// `None` leaves a field as it is. How a client authenticates stays: whoever wants another makes another client.
#[derive(Debug, Default)]
pub(in crate::oauth) struct ClientUpdate {
    pub(in crate::oauth) name: Option<String>,
    pub(in crate::oauth) homepage: Option<Option<String>>,
    pub(in crate::oauth) grant_types: Option<Vec<GrantType>>,
    pub(in crate::oauth) redirect_uris: Option<Vec<String>>,
    pub(in crate::oauth) scopes: Option<Scopes>,
    pub(in crate::oauth) access_lifetime: Option<i64>,
    pub(in crate::oauth) refresh_lifetime: Option<i64>,
    pub(in crate::oauth) jwks: Option<Value>,
    pub(in crate::oauth) dpop_bound: Option<bool>,
    pub(in crate::oauth) disabled: Option<bool>,
}
