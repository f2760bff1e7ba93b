//! A key on the wire.

use clearway_config::{AccountId, Environment, KeyId, Limits, Scopes, SecretId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    model::{Key, Secret, Status},
    store::Use,
};
use crate::{http::time::rfc3339, sync::Propagation};

/// An API key. Its secret is not part of it: that is shown once, by the operation that makes it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "key_1QjvzY8L2d0ZB9oU4hXwVn", "account_id": "acct_1QjvzY8L2d0ZB9oU4hXwVm", "name": "ci", "environment": "live",
    "scopes": ["read:apps"], "status": "active", "allowed_addresses": ["192.0.2.0/24"],
    "limits": {"per_second": 5, "per_day": null, "per_month": null, "concurrent": null}, "require_signature": false, "version": 1,
    "created_at": "2026-11-20T12:00:00.000Z", "expires_at": null, "revoked_at": null,
    "last_used": {"at": "2026-11-20T12:30:00.000Z", "address": "192.0.2.7"},
    "secrets": [{"id": "sec_1QjvzY8L2d0ZB9oU4hXwVo", "shown": "clw_live_ehv1", "created_at": "2026-11-20T12:00:00.000Z", "expires_at": null}]
}))]
pub(super) struct KeyView {
    #[schema(value_type = String)]
    id: KeyId,
    #[schema(value_type = String)]
    account_id: AccountId,
    name: String,
    /// `live` or `test`.
    #[schema(value_type = String)]
    environment: Environment,
    #[schema(value_type = Vec<String>)]
    scopes: Scopes,
    status: Status,
    /// Networks that the key may be used from; empty allows every address.
    allowed_addresses: Vec<String>,
    limits: LimitsView,
    /// Whether requests made with it must be signed (RFC 9421).
    require_signature: bool,
    /// Counts its changes, of which a rotation is none; also its `ETag`.
    version: i64,
    /// RFC 3339 in UTC, as are all times.
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used: Option<LastUsedView>,
    /// Those that are accepted, newest first.
    secrets: Vec<SecretView>,
}

/// A key's own limits beside its account's; null is none.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct LimitsView {
    per_second: Option<u32>,
    per_day: Option<u64>,
    per_month: Option<u64>,
    concurrent: Option<u32>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct LastUsedView {
    at: String,
    address: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = KeySecretView)]
pub(super) struct SecretView {
    #[schema(value_type = String)]
    id: SecretId,
    /// The secret's beginning.
    shown: String,
    created_at: String,
    /// When it stops being accepted: never later than the key.
    expires_at: Option<String>,
}

/// The answer that shows a secret, this once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct KeyIssued {
    #[serde(flatten)]
    pub(super) key: KeyView,
    /// The whole secret. Null when the answer is a replay of an idempotency key: it is stored nowhere.
    pub(super) secret: Option<String>,
    /// What requests are to be signed by, 32 bytes in base64. Only where the key requires signatures, and not in a replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signing_secret: Option<String>,
    /// How far the change has come. Null in a replay.
    pub(super) propagation: Option<Propagation>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct KeyChanged {
    #[serde(flatten)]
    pub(super) key: KeyView,
    /// What requests are to be signed by from now on, 32 bytes in base64. Only where this change has turned
    /// `require_signature` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signing_secret: Option<String>,
    /// How far the change has come.
    pub(super) propagation: Propagation,
}

impl From<Limits> for LimitsView {
    fn from(limits: Limits) -> Self {
        let Limits { per_second, per_day, per_month, concurrent, overage: _ } = limits;
        Self { per_second, per_day, per_month, concurrent }
    }
}

impl KeyView {
    pub(super) fn new(key: &Key, secrets: &[Secret], last_use: Option<Use>, now_ms: i64) -> Self {
        let live = secrets.iter().filter(|secret| key.revoked_at.is_none() && secret.is_live(key, now_ms));
        Self {
            id: key.id,
            account_id: key.account_id,
            name: key.name.clone(),
            environment: key.environment,
            scopes: key.scopes.clone(),
            status: key.status(now_ms),
            allowed_addresses: key.allowed.iter().map(ToString::to_string).collect(),
            limits: key.limits.into(),
            require_signature: key.require_signature,
            version: key.version,
            created_at: rfc3339(key.created_at),
            expires_at: key.expires_at.map(rfc3339),
            revoked_at: key.revoked_at.map(rfc3339),
            last_used: last_use.map(|used| LastUsedView { at: rfc3339(used.last_used_at), address: used.last_used_address }),
            secrets: live
                .map(|secret| SecretView {
                    id: secret.id,
                    shown: secret.shown.clone(),
                    created_at: rfc3339(secret.created_at),
                    expires_at: secret.ends_at(key.expires_at).map(rfc3339),
                })
                .collect(),
        }
    }
}
