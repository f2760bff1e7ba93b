//! OpenID Connect: discovery, keys, the ID token, and the userinfo endpoint where the token says no address.

use std::{sync::Arc, time::Duration};

use clearway_config::settings::gateway::Algorithm;
use clearway_filters::jwt::{Expected, Jwks, Refusal, Token};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use super::{
    Fault, Profile, Returned, address,
    exchange::{Client, Endpoints},
    fetch::Fetcher,
    shown,
};

/// How long what a provider says of itself is taken for granted, its keys too.
const KEPT: Duration = Duration::from_secs(3600);
/// How long a provider that could not be asked is left alone.
const PAUSE: Duration = Duration::from_secs(2);
/// Characters in a subject at most (Core 1.0, 2).
const SUBJECT_CHARS_MAX: usize = 255;
const JSON: &str = "application/json";
const GOOGLE: &str = "https://accounts.google.com";

pub(super) struct OpenId {
    issuer: String,
    /// One asks, and the others wait for what it hears.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Instant)>,
    keys: Option<(Arc<Jwks>, Instant)>,
    failed_at: Option<Instant>,
}

/// What a provider says of itself, as far as it is used; every address is checked.
pub(super) struct Metadata {
    pub(super) endpoints: Endpoints,
    keys: Url,
    userinfo: Option<Url>,
    says_issuer: bool,
}

/// OpenID Connect Discovery 1.0, 3.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Claims about a person (Core 1.0, 5.1).
#[derive(Default, Deserialize)]
struct About {
    sub: Option<String>,
    email: Option<String>,
    /// Only `true` says that it is theirs: in no other form.
    email_verified: Option<Value>,
    name: Option<String>,
}

impl OpenId {
    pub(super) fn new(issuer: String) -> Self {
        Self { issuer, known: Mutex::default() }
    }

    pub(super) fn is_google(&self) -> bool {
        self.issuer == GOOGLE
    }

    pub(super) async fn metadata(&self, fetcher: &Fetcher) -> Result<Arc<Metadata>, Fault> {
        let mut known = self.known.lock().await;
        if let Some((metadata, _)) = known.metadata.as_ref().filter(|(_, at)| at.elapsed() < KEPT) {
            return Ok(metadata.clone());
        }
        if known.failed_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(Fault::Malformed("it could not be asked a moment ago"));
        }
        match self.discover(fetcher).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                known.metadata = Some((metadata.clone(), Instant::now()));
                known.failed_at = None;
                Ok(metadata)
            }
            Err(fault) => {
                known.failed_at = Some(Instant::now());
                Err(fault)
            }
        }
    }

    async fn discover(&self, fetcher: &Fetcher) -> Result<Metadata, Fault> {
        let at = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document = fetcher.get(&fetcher.checked(&at)?, None, JSON).await?;
        let document: Document = serde_json::from_slice(&document).map_err(|_| Fault::Malformed("its metadata"))?;
        if document.issuer != self.issuer {
            return Err(Fault::Issuer("its metadata"));
        }
        let methods = document.token_endpoint_auth_methods_supported.unwrap_or_default();
        let takes = |method: &str| methods.iter().any(|one| one == method);
        Ok(Metadata {
            endpoints: Endpoints {
                authorization: fetcher.checked(&document.authorization_endpoint)?,
                token: fetcher.checked(&document.token_endpoint)?,
                secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
            },
            keys: fetcher.checked(&document.jwks_uri)?,
            userinfo: document.userinfo_endpoint.map(|url| fetcher.checked(&url)).transpose()?,
            says_issuer: document.authorization_response_iss_parameter_supported,
        })
    }

    pub(super) async fn ask(&self, client: &Client, returned: Returned<'_>, now_ms: i64) -> Result<Profile, Fault> {
        let metadata = self.metadata(&client.fetcher).await?;
        // Before the code goes anywhere: it may be another provider's (RFC 9207, 2.4).
        match returned.issuer {
            Some(issuer) if issuer != self.issuer => return Err(Fault::Issuer("iss")),
            None if metadata.says_issuer => return Err(Fault::Issuer("iss is missing")),
            _ => {}
        }
        let redeemed = client.redeem(&metadata.endpoints, returned.code, returned.verifier).await?;
        let text = redeemed.id_token.ok_or(Fault::Malformed("there is no ID token"))?;
        let token = Token::read(text.as_bytes()).map_err(Fault::Token)?;
        let expected = Expected { issuer: &self.issuer, client_id: &client.id, nonce: returned.nonce };
        let now_ms = u64::try_from(now_ms).unwrap_or(0);
        let keys = self.keys(client, &metadata, &token).await?;
        token.verify_id_token(expected, &keys, now_ms).map_err(Fault::Token)?;

        let claimed = |name: &str| token.claim(name).cloned();
        let text = |name: &str| claimed(name).and_then(|value| value.as_str().map(str::to_owned));
        let subject = text("sub").filter(|sub| is_subject(sub)).ok_or(Fault::Malformed("sub"))?;
        let mut about = About { sub: None, email: text("email"), email_verified: claimed("email_verified"), name: text("name") };
        if about.email.is_none()
            && let Some(userinfo) = &metadata.userinfo
        {
            let said = client.fetcher.get(userinfo, Some(&redeemed.access_token), JSON).await?;
            about = serde_json::from_slice(&said).map_err(|_| Fault::Malformed("userinfo"))?;
            // Core 1.0, 5.3.2: of another person, if at all.
            if about.sub.as_deref() != Some(&subject) {
                return Err(Fault::Malformed("userinfo is of another subject"));
            }
        }
        let verified = about.email_verified == Some(Value::Bool(true));
        Ok(Profile {
            issuer: self.issuer.clone(),
            subject,
            email: about.email.filter(|_| verified).and_then(|email| address(&email)),
            name: about.name.map(|name| shown(&name)).unwrap_or_default(),
        })
    }

    /// The keys; asked for again where the token is signed by one that is not known.
    async fn keys(&self, client: &Client, metadata: &Metadata, token: &Token<'_>) -> Result<Arc<Jwks>, Fault> {
        let mut known = self.known.lock().await;
        if let Some((keys, _)) = known.keys.as_ref().filter(|(_, at)| at.elapsed() < KEPT)
            && token.is_known_to(keys).map_err(Fault::Token)?
        {
            return Ok(keys.clone());
        }
        let document = client.fetcher.get(&metadata.keys, None, JSON).await?;
        let keys = Jwks::read(&document, &Algorithm::ALL).map_err(|_| Fault::Malformed("its keys"))?;
        let keys = Arc::new(keys);
        known.keys = Some((keys.clone(), Instant::now()));
        if token.is_known_to(&keys).map_err(Fault::Token)? { Ok(keys) } else { Err(Fault::Token(Refusal::KeyUnknown)) }
    }
}

/// Core 1.0, 2: at most 255 ASCII characters.
fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.len() <= SUBJECT_CHARS_MAX && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}
