//! `key.*`: API keys. No event holds a secret, only its shown beginning.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Emission::{Emitted, Waiting},
    Time,
};

/// A key as it is after what happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Key {
    /// `key_…`
    pub key_id: String,
    pub name: String,
    /// `live` or `test`.
    pub environment: String,
    pub scopes: Vec<String>,
    pub expires_at: Option<Time>,
}

impl Key {
    fn example() -> Self {
        Self {
            key_id: "key_1QjvzY8L2d0ZB9oU4hXwVn".into(),
            name: "ci".into(),
            environment: "live".into(),
            scopes: vec!["read:apps".into()],
            expires_at: None,
        }
    }
}

events! {
    /// An API key was created.
    KeyCreated = "key.created" v 1; Emitted; of key.key_id; {
        #[serde(flatten)]
        key: Key = Key::example(),
        /// The beginning of its secret.
        secret_shown: String = "clw_live_ehv1".into(),
    }

    /// An API key reached its expiry. Sent within about a minute of it.
    KeyExpired = "key.expired" v 1; Emitted; of key.key_id; {
        #[serde(flatten)]
        key: Key = Key { expires_at: Some(Time(1_795_176_000_000)), ..Key::example() },
    }

    /// An API key's secret was found where it should not be.
    KeyLeaked = "key.leaked" v 1; Waiting("secret scanning"); of key.key_id; {
        #[serde(flatten)]
        key: Key = Key::example(),
        /// The beginning of the secret that was found.
        secret_shown: String = "clw_live_ehv1".into(),
        /// Where it was found, where that is known.
        found_at: Option<String> = Some("https://example.com/repository/config.js".into()),
        /// Whether the secret was revoked for it.
        revoked: bool = true,
    }

    /// An API key was revoked, for good.
    KeyRevoked = "key.revoked" v 1 also "key.deleted"; Emitted; of key.key_id; {
        #[serde(flatten)]
        key: Key = Key::example(),
        revoked_at: Time = Time(1_795_176_000_000),
    }

    /// An API key was given a new secret; older ones end after the overlap.
    KeyRotated = "key.rotated" v 1; Emitted; of key.key_id; {
        #[serde(flatten)]
        key: Key = Key::example(),
        /// The beginning of its new secret.
        secret_shown: String = "clw_live_9Zk2".into(),
        /// For how long the older secrets are still accepted at most.
        overlap_seconds: u64 = 86_400,
    }

    /// What an API key may do, its name or its expiry was changed.
    KeyUpdated = "key.updated" v 1; Emitted; of key.key_id; {
        #[serde(flatten)]
        key: Key = Key::example(),
        /// The members of the key that were changed.
        changed: Vec<String> = vec!["scopes".into()],
    }
}
