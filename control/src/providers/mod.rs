//! Providers: services where people may show who they are, instead of by a password here. GitHub, Google, or any other that
//! speaks OpenID Connect; which there are is for the settings to say.
//!
//! Sends a browser there ([`Provider::location`]), and makes of what it comes back with whom the provider says that it is
//! ([`Provider::ask`]): by the authorization code flow with PKCE (RFC 7636, S256). Each provider has a redirect URI of its
//! own, and an `iss` that is not its own is refused (RFC 9207), so that an answer of one is never taken to another.
//!
//! Plumbing: it knows no user, no session and no table. Whoever calls it keeps `state`, `nonce` and verifier.

mod exchange;
mod fetch;
mod github;
mod openid;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clearway_config::settings::process::{ProviderSettings, SignInSettings, Speaks};
use clearway_filters::jwt::Refusal;
use url::Url;
use zeroize::Zeroizing;

pub use self::fetch::FetchError;
use self::{exchange::Client, fetch::Fetcher, github::GitHub, openid::OpenId};

/// How long it may take to ask a provider who somebody is, in all.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where a provider sends browsers back to, below the public URL.
pub const CALLBACK: &str = "/api/v1/auth/providers/{name}/callback";

/// The providers of the settings, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Providers(Arc<BTreeMap<String, Provider>>);

/// One of them.
pub struct Provider {
    pub name: String,
    /// What people read.
    pub title: String,
    client: Client,
    speaks: Spoken,
}

enum Spoken {
    OpenId(OpenId),
    GitHub(GitHub),
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("sign_in.providers.{name}: {file} cannot be read: {why}", file = file.display())]
    Unreadable { name: String, file: PathBuf, why: std::io::Error },
    #[error("sign_in.providers.{name}: there is no secret: name a client_secret_file, or set {variable}", variable = ProviderSettings::secret_variable(name))]
    NoSecret { name: String },
    #[error("sign_in.providers.{name}: {why}")]
    Unusable { name: String, why: String },
}

/// Why nobody knows who it is.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("too many providers are being asked")]
    Busy,
    #[error("the provider does not take the code: {0}")]
    Code(String),
    #[error("the provider cannot be asked")]
    Fetch(#[source] FetchError),
    #[error("the provider took too long")]
    Slow,
    #[error("the provider answers what is none: {0}")]
    Malformed(&'static str),
    #[error("the provider's answer is of another: {0}")]
    Issuer(&'static str),
    #[error("the ID token is refused: {0:?}")]
    Token(Refusal),
}

/// What a browser has come back with, and what is known of the request that it answers.
#[derive(Clone, Copy)]
pub struct Returned<'a> {
    pub code: &'a str,
    /// As the answer says it (RFC 9207).
    pub issuer: Option<&'a str>,
    pub verifier: &'a str,
    pub nonce: &'a str,
}

/// Whom a provider says that it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    /// Who says so: a name that no two providers have, whatever they are called in the settings.
    pub issuer: String,
    /// What the provider calls the person, for good.
    pub subject: String,
    /// In lower case, and theirs as the provider has verified; `None` where it has not, or says none.
    pub email: Option<String>,
    /// Fit to be shown; may be empty.
    pub name: String,
}

impl Providers {
    /// Reads secrets and authorities. `secret` is what the environment says of a variable.
    pub fn new(
        settings: &SignInSettings,
        public_url: &str,
        secret: impl Fn(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Self, ProviderError> {
        let made = settings.providers.iter().map(|(name, settings)| {
            let secret = match secret(&ProviderSettings::secret_variable(name)) {
                Some(given) => given,
                None => read_secret(name, settings)?,
            };
            let title = if settings.title.is_empty() { name.clone() } else { settings.title.clone() };
            let back = format!("{}{}", public_url.trim_end_matches('/'), CALLBACK.replace("{name}", name));
            let unusable = |why: String| ProviderError::Unusable { name: name.clone(), why };
            let authorities = settings.ca_file.as_ref().map(|file| read(name, file)).transpose()?;
            let (speaks, plain, asked): (_, _, &[&str]) = match settings.speaks() {
                Speaks::OpenId(issuer) => {
                    let plain = issuer.starts_with("http://");
                    (Spoken::OpenId(OpenId::new(issuer)), plain, &["openid", "email", "profile"])
                }
                Speaks::GitHub(site) => {
                    let plain = site.starts_with("http://");
                    (Spoken::GitHub(GitHub::new(&site).map_err(unusable)?), plain, &["read:user", "user:email"])
                }
            };
            let scopes = asked.iter().map(|scope| (*scope).to_owned()).chain(settings.scopes.iter().cloned()).collect();
            let fetcher = Fetcher::new(plain, authorities.as_deref()).map_err(unusable)?;
            let client = Client::new(&settings.client_id, secret, scopes, &back, fetcher).map_err(unusable)?;
            Ok((name.clone(), Provider { name: name.clone(), title, client, speaks }))
        });
        Ok(Self(Arc::new(made.collect::<Result<_, _>>()?)))
    }

    pub fn find(&self, name: &str) -> Option<&Provider> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.values()
    }
}

fn read(name: &str, file: &Path) -> Result<Vec<u8>, ProviderError> {
    std::fs::read(file).map_err(|why| ProviderError::Unreadable { name: name.to_owned(), file: file.to_owned(), why })
}

fn read_secret(name: &str, settings: &ProviderSettings) -> Result<Zeroizing<String>, ProviderError> {
    let missing = || ProviderError::NoSecret { name: name.to_owned() };
    let file = settings.client_secret_file.as_ref().ok_or_else(missing)?;
    let bytes = Zeroizing::new(read(name, file)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| missing())?.trim();
    if text.is_empty() { Err(missing()) } else { Ok(Zeroizing::new(text.to_owned())) }
}

impl Provider {
    /// Where a browser is sent. `anew`: whoever is signed in there is to show once more who they are.
    pub async fn location(&self, state: &str, nonce: &str, verifier: &str, anew: bool) -> Result<Url, Fault> {
        let fetcher = &self.client.fetcher;
        let prompt = anew.then_some(("prompt", self.speaks.prompt_anew()));
        match &self.speaks {
            Spoken::GitHub(github) => {
                let more: Vec<_> = prompt.into_iter().collect();
                Ok(self.client.location(&github.endpoints, state, verifier, &more))
            }
            Spoken::OpenId(openid) => {
                let metadata = within(openid.metadata(fetcher)).await?;
                let more: Vec<_> = std::iter::once(("nonce", nonce)).chain(prompt).collect();
                Ok(self.client.location(&metadata.endpoints, state, verifier, &more))
            }
        }
    }

    /// Redeems the code, and asks who it is of.
    pub async fn ask(&self, returned: Returned<'_>, now_ms: i64) -> Result<Profile, Fault> {
        within(async {
            match &self.speaks {
                Spoken::GitHub(github) => github.ask(&self.client, returned).await,
                Spoken::OpenId(openid) => openid.ask(&self.client, returned, now_ms).await,
            }
        })
        .await
    }
}

impl Spoken {
    /// The `prompt` by which a provider asks a person who is signed in there: for their password (OpenID Connect Core 1.0,
    /// 3.1.2.1), or at least which account it is to be. GitHub and Google know no more, and Google refuses what it does not know.
    fn prompt_anew(&self) -> &'static str {
        match self {
            Self::OpenId(openid) if !openid.is_google() => "login",
            Self::OpenId(_) | Self::GitHub(_) => "select_account",
        }
    }
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Busy => Self::Busy,
            other => Self::Fetch(other),
        }
    }
}

async fn within<T>(asking: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or(Err(Fault::Slow))
}

/// An address that could be one of a person here.
fn address(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let formed = lower.len() <= 254 && lower.is_ascii() && lower.parse::<lettre::Address>().is_ok();
    formed.then_some(lower)
}

/// A name as far as it can be shown.
fn shown(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    name.trim().to_owned()
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Neither code nor verifier belongs in a log.
impl fmt::Debug for Returned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Nor do names and addresses.
impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
