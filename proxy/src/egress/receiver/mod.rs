//! A webhook, made ready: what is read of it once, when it is first posted to. Its URL ([`target`]), whom its receiver is
//! believed by and what it is shown ([`trust`]), and where an access token for it is to be had ([`oauth`]).
//!
//! Where something of it cannot be used, that is kept as its fault, and an attempt says it.

pub(in crate::egress) mod oauth;
pub(in crate::egress) mod target;
pub(in crate::egress) mod trust;

use clearway_filters::webhook::{Signer, SigningKey};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::{
    oauth::OauthClient,
    target::{MalformedUrl, Target},
    trust::Identity,
};
use crate::{
    egress::post::message::is_ours,
    snapshot::{Webhook, webhooks::Secrets},
};

/// Headers of its own that a webhook may have at most.
const HEADERS_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Or why nothing can be posted.
    pub(in crate::egress) ready: Result<Ready, String>,
}

/// What posting takes.
#[derive(Debug)]
pub(in crate::egress) struct Ready {
    pub(in crate::egress) id: HeaderValue,
    pub(in crate::egress) target: Target,
    /// `X-<Brand>-Signature`, where there is a brand.
    pub(in crate::egress) brand: Option<HeaderName>,
    pub(in crate::egress) headers: HeaderMap,
    /// Without a key where control could not say the secrets.
    pub(in crate::egress) signer: Signer,
    pub(in crate::egress) authorization: Option<HeaderValue>,
    pub(in crate::egress) identity: Option<Identity>,
    pub(in crate::egress) oauth: Option<OauthClient>,
}

impl Endpoint {
    pub(crate) fn of(webhook: &Webhook) -> Self {
        Self { ready: Ready::of(webhook) }
    }
}

impl Ready {
    fn of(webhook: &Webhook) -> Result<Self, String> {
        let Webhook { secrets, .. } = webhook;
        let secrets = secrets.as_ref();
        let mut keys = Vec::new();
        for secret in secrets.map_or(&[][..], |secrets| secrets.signing()) {
            let seed = secret.ed25519_seed.as_ref().map_or(&[][..], |seed| &seed[..]);
            keys.push(SigningKey::from_slices(&secret.hmac_key, seed, secret.expires_at).map_err(|e| e.to_string())?);
        }
        let mut headers = HeaderMap::new();
        // Control takes none of ours; whoever had one let through would speak in this process' name.
        let own = webhook.headers.iter().filter(|(name, _)| !is_ours(name, webhook.brand_header.as_ref()));
        for (name, value) in own.take(HEADERS_MAX) {
            headers.append(name.clone(), value.clone());
        }
        let url = |what: &str, e: MalformedUrl| format!("its {what} cannot be posted to: {e}");
        let mut ready = Self {
            id: HeaderValue::try_from(webhook.id.to_string()).map_err(|e| e.to_string())?,
            target: Target::parse(&webhook.url.to_string()).map_err(|e| url("URL", e))?,
            brand: webhook.brand_header.clone(),
            headers,
            signer: Signer::new(keys),
            authorization: secrets.and_then(Secrets::authorization),
            identity: None,
            oauth: None,
        };
        // What follows needs the secrets; without them nothing is signed either.
        let Some(secrets) = secrets else { return Ok(ready) };
        if !webhook.client_certificate.is_empty() {
            let identity = Identity::read(&webhook.client_certificate, &secrets.client_key);
            ready.identity = Some(identity.map_err(|e| e.to_string())?);
        }
        if let Some(oauth) = &webhook.oauth {
            let target = Target::parse(&oauth.token_url.to_string()).map_err(|e| url("token URL", e))?;
            let (secret, scope) = (&secrets.oauth_client_secret, oauth.scope.as_deref());
            ready.oauth = Some(OauthClient::new(target, &oauth.client_id, secret, scope, oauth.secret_in_body));
        }
        Ok(ready)
    }
}
