//! Changing what an owner sets, and checking that it can be so.

use clearway_config::{WebhookId, settings::process::EgressSettings};
use zeroize::Zeroizing;

use super::{
    Means,
    filter::Filter,
    headers::{Brand, Header},
    model::{CONCURRENCY_DEFAULT, ClientCertificate, Oauth, OauthClient, Ordering, Settings, Timeouts},
    retry::RetryPolicy,
    secret::Kind,
    target_url,
};
use crate::{audit::Changes, certificates, events::Pattern};

/// `None` leaves a field as it is; `Some(None)` removes what it holds.
#[derive(Debug, Default)]
pub struct SettingsUpdate {
    pub url: Option<String>,
    pub description: Option<String>,
    pub events: Option<Vec<Pattern>>,
    pub filter: Option<Option<String>>,
    pub headers: Option<Vec<Header>>,
    pub authorization: Option<Option<Zeroizing<String>>>,
    pub active: Option<bool>,
    pub retry_policy: Option<RetryPolicy>,
    pub rate_limit: Option<Option<u32>>,
    pub concurrency: Option<u32>,
    pub ordering: Option<Ordering>,
    pub brand: Option<Option<Brand>>,
    pub ed25519: Option<bool>,
    pub timeouts: Option<Timeouts>,
    pub client_certificate: Option<Option<NewCertificate>>,
    pub oauth: Option<Option<NewOauth>>,
}

/// A chain and its key, both PEM, on their way in.
#[derive(Debug)]
pub struct NewCertificate {
    pub chain: String,
    pub key: Zeroizing<String>,
}

#[derive(Debug)]
pub struct NewOauth {
    pub client: OauthClient,
    /// `None` keeps the one there is.
    pub secret: Option<Zeroizing<String>>,
}

/// A field that cannot be as it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct Wrong {
    pub field: &'static str,
    pub why: String,
}

fn wrong(field: &'static str) -> impl Fn(String) -> Wrong {
    move |why| Wrong { field, why }
}

impl Settings {
    /// Of a new webhook, before anything is set.
    pub(super) fn new() -> Self {
        Self {
            url: String::new(),
            description: String::new(),
            events: Vec::new(),
            filter: None,
            headers: Vec::new(),
            sealed_authorization: None,
            active: true,
            retry_policy: RetryPolicy::default(),
            rate_limit: None,
            concurrency: CONCURRENCY_DEFAULT,
            ordering: Ordering::default(),
            brand: None,
            ed25519: false,
            timeouts: Timeouts::default(),
            client_certificate: None,
            oauth: None,
        }
    }

    /// These settings after a change of the webhook `id`.
    pub(super) fn changed(&self, means: Means<'_>, id: WebhookId, update: SettingsUpdate) -> Result<Self, Wrong> {
        let new = Self {
            url: match update.url {
                Some(url) => vetted("url", &url, means.egress)?,
                None => self.url.clone(),
            },
            description: update.description.unwrap_or_else(|| self.description.clone()),
            events: update.events.unwrap_or_else(|| self.events.clone()),
            filter: match update.filter {
                Some(Some(text)) => {
                    Filter::parse(&text).map_err(|why| wrong("filter")(why.to_string()))?;
                    Some(text)
                }
                Some(None) => None,
                None => self.filter.clone(),
            },
            headers: update.headers.unwrap_or_else(|| self.headers.clone()),
            sealed_authorization: match update.authorization {
                Some(plain) => plain.map(|plain| Kind::Authorization.seal(means.secrets, id, &plain)),
                None => self.sealed_authorization.clone(),
            },
            active: update.active.unwrap_or(self.active),
            retry_policy: update.retry_policy.unwrap_or_else(|| self.retry_policy.clone()),
            rate_limit: update.rate_limit.unwrap_or(self.rate_limit),
            concurrency: update.concurrency.unwrap_or(self.concurrency),
            ordering: update.ordering.unwrap_or(self.ordering),
            brand: match update.brand {
                Some(brand) => brand.map(|brand| brand.to_string()),
                None => self.brand.clone(),
            },
            ed25519: update.ed25519.unwrap_or(self.ed25519),
            timeouts: update.timeouts.unwrap_or(self.timeouts),
            client_certificate: match update.client_certificate {
                Some(Some(new)) => Some(certificate(means, id, &new)?),
                Some(None) => None,
                None => self.client_certificate.clone(),
            },
            oauth: match update.oauth {
                Some(Some(new)) => Some(self.oauth(means, id, new)?),
                Some(None) => None,
                None => self.oauth.clone(),
            },
        };
        if new.oauth.is_some() && new.sealed_authorization.is_some() {
            return Err(wrong("oauth")("cannot be combined with authorization: both are sent in the same header".into()));
        }
        Ok(new)
    }

    fn oauth(&self, means: Means<'_>, id: WebhookId, new: NewOauth) -> Result<Oauth, Wrong> {
        let token_url = vetted("oauth.token_url", &new.client.token_url, means.egress)?;
        let sealed_secret = match (new.secret, &self.oauth) {
            (Some(plain), _) => Kind::OauthSecret.seal(means.secrets, id, &plain),
            // A secret that was given for one server is not sent to another.
            (None, Some(old)) if old.client.token_url == token_url => old.sealed_secret.clone(),
            (None, _) => return Err(wrong("oauth.client_secret")("is required".into())),
        };
        Ok(Oauth { client: OauthClient { token_url, ..new.client }, sealed_secret })
    }

    /// What differs, without anything that is secret.
    pub(super) fn differences(&self, old: Option<&Self>) -> Changes {
        let names = |of: &Self| of.headers.iter().map(|header| header.name.clone()).collect::<Vec<_>>();
        let authorization = |of: &Self| of.sealed_authorization.as_ref().map(|_| "set");
        let oauth = |of: &Self| of.oauth.as_ref().map(|oauth| oauth.client.clone());
        let mut changes = Changes::default()
            .field("url", old.map(|old| &old.url), &self.url)
            .field("description", old.map(|old| &old.description), &self.description)
            .field("events", old.map(|old| &old.events), &self.events)
            .field("filter", old.map(|old| &old.filter), &self.filter)
            .field("headers", old.map(names), names(self))
            .field("authorization", old.map(authorization), authorization(self))
            .field("active", old.map(|old| old.active), self.active)
            .field("retry_policy", old.map(|old| &old.retry_policy), &self.retry_policy)
            .field("rate_limit", old.map(|old| old.rate_limit), self.rate_limit)
            .field("concurrency", old.map(|old| old.concurrency), self.concurrency)
            .field("ordering", old.map(|old| old.ordering), self.ordering)
            .field("brand", old.map(|old| &old.brand), &self.brand)
            .field("ed25519", old.map(|old| old.ed25519), self.ed25519)
            .field("timeouts", old.map(|old| old.timeouts), self.timeouts)
            .field("client_certificate", old.map(Self::fingerprint), self.fingerprint())
            .field("oauth", old.map(oauth), oauth(self));
        let Some(old) = old else { return changes };
        // That a secret was replaced by another is said, and nothing of either.
        let replaced = [
            ("header_values", old.headers != self.headers && names(old) == names(self)),
            ("authorization", old.sealed_authorization.is_some() && old.sealed_authorization != self.sealed_authorization),
            (
                "oauth.client_secret",
                old.oauth.as_ref().map(|of| &of.sealed_secret) != self.oauth.as_ref().map(|of| &of.sealed_secret),
            ),
        ];
        for (name, is_replaced) in replaced {
            if is_replaced && !changes.holds(name) {
                changes = changes.field(name, "as it was", "replaced");
            }
        }
        changes
    }

    /// Of the client certificate.
    pub(super) fn fingerprint(&self) -> Option<String> {
        let certificate = self.client_certificate.as_ref()?;
        certificates::facts(&certificate.chain).ok().map(|facts| facts.fingerprint)
    }
}

fn vetted(field: &'static str, url: &str, egress: &EgressSettings) -> Result<String, Wrong> {
    target_url::read(url, egress).map_err(|why| wrong(field)(why.to_string()))
}

fn certificate(means: Means<'_>, id: WebhookId, new: &NewCertificate) -> Result<ClientCertificate, Wrong> {
    let now_s = means.world.now_ms().div_euclid(1000);
    certificates::check_client(&new.chain, &new.key, now_s).map_err(|why| {
        let field = if why.is_of_key() { "client_certificate.key" } else { "client_certificate.chain" };
        wrong(field)(why.to_string())
    })?;
    Ok(ClientCertificate { chain: new.chain.clone(), sealed_key: Kind::ClientKey.seal(means.secrets, id, &new.key) })
}
