//! The authorization code flow (RFC 6749, 4.1) as a client, by the crate `oauth2`.

use std::fmt;

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, ExtraTokenFields,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse,
    TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType},
};
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Fault,
    fetch::{FetchError, Fetcher},
};

type Tokens = StandardTokenResponse<WithIdToken, BasicTokenType>;
type Flow = oauth2::Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// What Clearway is to one provider.
pub(super) struct Client {
    pub(super) id: String,
    secret: Zeroizing<String>,
    scopes: Vec<String>,
    back: RedirectUrl,
    pub(super) fetcher: Fetcher,
}

/// Where a provider is spoken to; both are checked.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    pub(super) authorization: Url,
    pub(super) token: Url,
    /// Whether the secret goes into the body instead of the header.
    pub(super) secret_in_body: bool,
}

/// What a code was redeemed for.
pub(super) struct Redeemed {
    pub(super) access_token: Zeroizing<String>,
    pub(super) id_token: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WithIdToken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

impl ExtraTokenFields for WithIdToken {}

impl fmt::Debug for WithIdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WithIdToken(…)")
    }
}

impl Client {
    pub(super) fn new(
        id: &str,
        secret: Zeroizing<String>,
        scopes: Vec<String>,
        back: &str,
        fetcher: Fetcher,
    ) -> Result<Self, String> {
        let back = RedirectUrl::new(back.to_owned()).map_err(|why| format!("control.public_url is none: {why}"))?;
        Ok(Self { id: id.to_owned(), secret, scopes, back, fetcher })
    }

    fn flow(&self, endpoints: &Endpoints) -> Flow {
        let auth_type = if endpoints.secret_in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
        oauth2::Client::new(ClientId::new(self.id.clone()))
            .set_client_secret(ClientSecret::new(self.secret.to_string()))
            .set_auth_type(auth_type)
            .set_auth_uri(AuthUrl::from_url(endpoints.authorization.clone()))
            .set_token_uri(TokenUrl::from_url(endpoints.token.clone()))
            .set_redirect_uri(self.back.clone())
    }

    /// Where a browser is sent, with what the provider is told besides. The verifier has 43 to 128 characters.
    pub(super) fn location(&self, endpoints: &Endpoints, state: &str, verifier: &str, more: &[(&'static str, &str)]) -> Url {
        let flow = self.flow(endpoints);
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned()));
        let state = CsrfToken::new(state.to_owned());
        let mut request =
            flow.authorize_url(|| state).add_scopes(self.scopes.iter().cloned().map(Scope::new)).set_pkce_challenge(challenge);
        for (name, value) in more {
            request = request.add_extra_param(*name, (*value).to_owned());
        }
        request.url().0
    }

    pub(super) async fn redeem(&self, endpoints: &Endpoints, code: &str, verifier: &str) -> Result<Redeemed, Fault> {
        let flow = self.flow(endpoints);
        let request = flow
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
        let tokens = request.request_async(&self.fetcher).await.map_err(fault)?;
        Ok(Redeemed {
            access_token: Zeroizing::new(tokens.access_token().secret().clone()),
            id_token: tokens.extra_fields().id_token.clone(),
        })
    }
}

/// Of an answer that cannot be read nothing is passed on: it may hold tokens.
fn fault(error: RequestTokenError<FetchError, BasicErrorResponse>) -> Fault {
    match error {
        RequestTokenError::ServerResponse(said) => Fault::Code(said.error().as_ref().chars().take(64).collect()),
        RequestTokenError::Request(why) => why.into(),
        // GitHub refuses with a 200.
        RequestTokenError::Parse(_, body) => match serde_json::from_slice::<BasicErrorResponse>(&body) {
            Ok(said) => Fault::Code(said.error().as_ref().chars().take(64).collect()),
            Err(_) => Fault::Malformed("the answer to the code"),
        },
        RequestTokenError::Other(_) => Fault::Malformed("the answer to the code"),
    }
}
