//! Webhooks as the proxies hold them: with what is secret opened, for a stream that is between us alone.

use async_trait::async_trait;
use clearway_config::{WebhookId, seal::Unopened, sync::v1};

use super::{
    model::{OauthMethod, Webhook},
    secret::{self, Kind, Secret},
    store,
};
use crate::{
    db::{self, Db},
    secrets::Secrets,
    sync::{ChangeKind, Feed},
    world::World,
};

#[derive(Debug, Clone)]
pub struct WebhookFeed {
    pub secrets: Secrets,
    pub world: World,
}

/// With a certificate each they fit into a message, with room to spare.
const PAGE_ROWS_MAX: u32 = 64;

#[async_trait]
impl Feed for WebhookFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::Webhook
    }

    /// Those that are gone are named as removed.
    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        let webhooks = self.webhooks(db, ids).await?;
        let ids = ids.iter().map(|id| db::decode::<WebhookId>("changes.subject_id", id)).collect::<db::Result<Vec<_>>>()?;
        let removed = ids.iter().map(|id| id.to_vec()).filter(|id| !webhooks.iter().any(|webhook| webhook.id == *id));
        Ok(v1::Changes { removed_webhooks: removed.collect(), webhooks, ..v1::Changes::default() })
    }

    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let limit = limit.min(PAGE_ROWS_MAX);
        let ids = store::ids_after(db, after.unwrap_or_default(), limit).await?;
        let webhooks = self.webhooks(db, &ids).await?;
        let next = ids.into_iter().nth(limit as usize - 1);
        Ok((v1::Changes { webhooks, ..v1::Changes::default() }, next))
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(0)
    }
}

impl WebhookFeed {
    async fn webhooks(&self, db: &Db, ids: &[String]) -> db::Result<Vec<v1::Webhook>> {
        let found = store::some(db, ids).await?;
        let secrets = store::live_secrets(db, ids, self.world.now_ms()).await?;
        Ok(found.iter().map(|webhook| self.webhook(webhook, &secrets)).collect())
    }

    fn webhook(&self, webhook: &Webhook, secrets: &[Secret]) -> v1::Webhook {
        let settings = &webhook.settings;
        let opened = self.opened(webhook, secrets).inspect_err(|why| {
            // The proxy posts nothing then, says so at each attempt, and goes on with all others.
            tracing::error!(webhook.id = %webhook.id, error.cause = %why, "a webhook's secrets cannot be read");
        });
        v1::Webhook {
            id: webhook.id.to_vec(),
            account_id: webhook.account_id.to_vec(),
            url: settings.url.clone(),
            active: settings.active && webhook.health.disabled_at.is_none(),
            brand: webhook.brand().to_owned(),
            headers: settings
                .headers
                .iter()
                .map(|header| v1::Header { name: header.name.clone(), value: header.value.clone() })
                .collect(),
            connect_timeout_ms: settings.timeouts.connect_ms.unwrap_or(0),
            first_byte_timeout_ms: settings.timeouts.first_byte_ms.unwrap_or(0),
            total_timeout_ms: settings.timeouts.total_ms.unwrap_or(0),
            client_certificate: settings
                .client_certificate
                .as_ref()
                .map(|own| own.chain.clone().into_bytes())
                .unwrap_or_default(),
            oauth: settings.oauth.as_ref().map(|oauth| v1::OauthClient {
                token_url: oauth.client.token_url.clone(),
                client_id: oauth.client.client_id.clone(),
                scope: oauth.client.scope.clone(),
                secret_in_body: oauth.client.method == OauthMethod::ClientSecretPost,
            }),
            secrets: opened.ok(),
            sealed_secrets: Vec::new(),
        }
    }

    fn opened(&self, webhook: &Webhook, secrets: &[Secret]) -> Result<v1::WebhookSecrets, Unopened> {
        let settings = &webhook.settings;
        let open = |kind: Kind, sealed: Option<&Vec<u8>>| match sealed {
            Some(sealed) => kind.open(&self.secrets, webhook.id, sealed),
            None => Ok(Vec::new()),
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| Unopened);
        let signing = secrets.iter().filter(|secret| secret.webhook_id == webhook.id).map(|secret| {
            let (hmac_key, ed25519_seed) = secret::open(&self.secrets, secret)?;
            let expires_at = secret.expires_at.map(|at| u64::try_from(at).unwrap_or(0));
            Ok(v1::WebhookSecret { hmac_key, ed25519_seed, expires_at })
        });
        Ok(v1::WebhookSecrets {
            signing: signing.collect::<Result<_, _>>()?,
            authorization: text(open(Kind::Authorization, settings.sealed_authorization.as_ref())?)?,
            client_key: open(Kind::ClientKey, settings.client_certificate.as_ref().map(|own| &own.sealed_key))?,
            oauth_client_secret: text(open(Kind::OauthSecret, settings.oauth.as_ref().map(|oauth| &oauth.sealed_secret))?)?,
        })
    }
}
