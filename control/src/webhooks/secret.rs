//! What a webhook's deliveries are signed by, and what else of it is secret: sealed where it is stored, shown once or never.

use clearway_config::{WebhookId, WebhookSecretId, seal::Unopened};
use clearway_filters::webhook::{HmacSecret, Seed};

use crate::{
    secrets::{Purpose, Secrets},
    world::World,
};

const HMAC_KEY: Purpose = Purpose("webhook_secrets.sealed_hmac_key");
const SEED: Purpose = Purpose("webhook_secrets.sealed_ed25519_seed");
const AUTHORIZATION: Purpose = Purpose("webhooks.sealed_authorization");
const CLIENT_KEY: Purpose = Purpose("webhooks.sealed_client_key");
const OAUTH_SECRET: Purpose = Purpose("webhooks.sealed_oauth_secret");

/// A version of a webhook's secret, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub id: WebhookSecretId,
    pub webhook_id: WebhookId,
    pub(super) sealed_hmac_key: Vec<u8>,
    pub(super) sealed_ed25519_seed: Option<Vec<u8>>,
    /// `whpk_…`; of a webhook that signs by ed25519 too.
    pub public_key: Option<String>,
    pub created_at: i64,
    /// When its overlap ends; `None` for the current one.
    pub expires_at: Option<i64>,
}

impl Secret {
    pub fn is_live(&self, now_ms: i64) -> bool {
        self.expires_at.is_none_or(|at| at > now_ms)
    }
}

/// 32 random bytes to sign by.
pub(super) fn mint(world: &World) -> HmacSecret {
    HmacSecret::new(&world.random()).expect("32 bytes are among the 24 to 64 that a secret may have")
}

/// A new secret of a webhook; with a pair of ed25519 keys where it signs by one.
pub(super) fn new(world: &World, secrets: &Secrets, of: WebhookId, key: &HmacSecret, ed25519: bool) -> Secret {
    let id = world.id(WebhookSecretId::new);
    let secret = Secret {
        id,
        webhook_id: of,
        sealed_hmac_key: secrets.seal(HMAC_KEY, &id.to_string(), key.bytes()),
        sealed_ed25519_seed: None,
        public_key: None,
        created_at: world.now_ms(),
        expires_at: None,
    };
    if ed25519 { with_ed25519(world, secrets, secret) } else { secret }
}

/// The secret with a new pair of ed25519 keys.
pub(super) fn with_ed25519(world: &World, secrets: &Secrets, secret: Secret) -> Secret {
    let seed = Seed::new(world.random());
    Secret {
        sealed_ed25519_seed: Some(secrets.seal(SEED, &secret.id.to_string(), seed.bytes())),
        public_key: Some(seed.public().to_string()),
        ..secret
    }
}

/// The HMAC key, and the seed; empty where there is none.
pub(super) fn open(secrets: &Secrets, secret: &Secret) -> Result<(Vec<u8>, Vec<u8>), Unopened> {
    let row = secret.id.to_string();
    let key = secrets.open(HMAC_KEY, &row, &secret.sealed_hmac_key)?;
    let seed = secret.sealed_ed25519_seed.as_ref().map(|sealed| secrets.open(SEED, &row, sealed)).transpose()?;
    Ok((key.to_vec(), seed.map(|seed| seed.to_vec()).unwrap_or_default()))
}

/// Something secret of a webhook that is not what it is signed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Authorization,
    ClientKey,
    OauthSecret,
}

impl Kind {
    fn purpose(self) -> Purpose {
        match self {
            Self::Authorization => AUTHORIZATION,
            Self::ClientKey => CLIENT_KEY,
            Self::OauthSecret => OAUTH_SECRET,
        }
    }

    pub(super) fn seal(self, secrets: &Secrets, of: WebhookId, plain: &str) -> Vec<u8> {
        secrets.seal(self.purpose(), &of.to_string(), plain.as_bytes())
    }

    pub(super) fn open(self, secrets: &Secrets, of: WebhookId, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        secrets.open(self.purpose(), &of.to_string(), sealed).map(|plain| plain.to_vec())
    }
}
