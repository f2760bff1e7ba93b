//! GitHub, which has no ID token: who somebody is, and which address is theirs, its API says.

use serde::Deserialize;
use url::Url;

use super::{
    Fault, Profile, Returned, address,
    exchange::{Client, Endpoints},
    shown,
};

/// Where github.com has its API; a GitHub of one's own has it below itself.
const PUBLIC: (&str, &str) = ("https://github.com", "https://api.github.com");
const JSON: &str = "application/vnd.github+json";

pub(super) struct GitHub {
    site: Url,
    api: String,
    pub(super) endpoints: Endpoints,
}

#[derive(Deserialize)]
struct User {
    /// For good: names can be given up, and taken by others.
    id: u64,
    login: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    /// `site` is without a `/` at its end.
    pub(super) fn new(site: &str) -> Result<Self, String> {
        let at = |path: &str| Url::parse(&format!("{site}{path}")).map_err(|why| format!("github_url is none: {why}"));
        let api = if site == PUBLIC.0 { PUBLIC.1.to_owned() } else { format!("{site}/api/v3") };
        let endpoints = Endpoints {
            authorization: at("/login/oauth/authorize")?,
            token: at("/login/oauth/access_token")?,
            secret_in_body: true,
        };
        Ok(Self { site: at("")?, api, endpoints })
    }

    pub(super) async fn ask(&self, client: &Client, returned: Returned<'_>) -> Result<Profile, Fault> {
        // It need not say who it is; what it calls itself is at this site.
        if let Some(issuer) = returned.issuer
            && Url::parse(issuer).map(|issuer| issuer.origin()).ok() != Some(self.site.origin())
        {
            return Err(Fault::Issuer("iss"));
        }
        let redeemed = client.redeem(&self.endpoints, returned.code, returned.verifier).await?;
        let get = async |path: &str| -> Result<Vec<u8>, Fault> {
            let url = client.fetcher.checked(&format!("{}{path}", self.api))?;
            Ok(client.fetcher.get(&url, Some(&redeemed.access_token), JSON).await?)
        };
        let user: User = serde_json::from_slice(&get("/user").await?).map_err(|_| Fault::Malformed("/user"))?;
        let emails: Vec<Email> =
            serde_json::from_slice(&get("/user/emails?per_page=100").await?).map_err(|_| Fault::Malformed("/user/emails"))?;
        let email = emails.into_iter().find(|email| email.primary && email.verified);
        Ok(Profile {
            issuer: self.site.as_str().trim_end_matches('/').to_owned(),
            subject: user.id.to_string(),
            email: email.and_then(|email| address(&email.email)),
            name: shown(user.name.as_deref().unwrap_or(&user.login)),
        })
    }
}
