//! Keys and their secrets as values, and how rotation changes them. No IO.

use std::net::IpAddr;

use clearway_config::{AccountId, Environment, KeyHash, KeyId, Limits, Scopes, SecretId};
use ipnet::IpNet;
use serde::Serialize;
use utoipa::ToSchema;

use crate::events;

/// Addresses or networks that a key may list.
pub(super) const ALLOWED_MAX: usize = 64;
/// Characters in a key's name.
pub(super) const NAME_CHARS_MAX: usize = 100;
/// Secrets of a key that may be alive at the same time.
pub(super) const LIVE_SECRETS_MAX: usize = 16;
/// Seconds for which the old secret stays valid unless a rotation says otherwise.
pub(super) const OVERLAP_DEFAULT: u64 = 24 * 60 * 60;
pub(super) const OVERLAP_MAX: u64 = 30 * 24 * 60 * 60;

#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub id: KeyId,
    pub account_id: AccountId,
    pub name: String,
    pub environment: Environment,
    pub scopes: Scopes,
    /// Empty allows every address.
    pub allowed: Vec<IpNet>,
    pub limits: Limits,
    /// Requests made with it must be signed. Each of its secrets has a signing secret then, and none otherwise.
    pub require_signature: bool,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    /// Counts its changes; a rotation is none.
    pub version: i64,
}

/// What a key is made from.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    pub environment: Environment,
    pub scopes: Scopes,
    pub allowed: Vec<IpNet>,
    pub limits: Limits,
    pub require_signature: bool,
    pub expires_at: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    pub id: SecretId,
    pub key_id: KeyId,
    pub hash: KeyHash,
    /// Its beginning, which may be shown.
    pub shown: String,
    /// The signing secret beside it, sealed; of a key that requires signatures.
    pub signing_secret: Option<Vec<u8>>,
    pub created_at: i64,
    /// When its overlap ends; `None` for the current one, which lives as long as the key.
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = KeyStatus)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Active,
    Expired,
    Revoked,
}

impl Key {
    pub fn status(&self, now_ms: i64) -> Status {
        if self.revoked_at.is_some() {
            Status::Revoked
        } else if self.expires_at.is_some_and(|at| at <= now_ms) {
            Status::Expired
        } else {
            Status::Active
        }
    }
}

impl From<&Key> for events::Key {
    fn from(key: &Key) -> Self {
        Self {
            key_id: key.id.to_string(),
            name: key.name.clone(),
            environment: key.environment.as_str().to_owned(),
            scopes: key.scopes.iter().map(ToString::to_string).collect(),
            expires_at: key.expires_at.map(events::Time),
        }
    }
}

impl Secret {
    /// When it stops being accepted: never later than its key.
    pub fn ends_at(&self, key_expires_at: Option<i64>) -> Option<i64> {
        earlier(self.expires_at, key_expires_at)
    }

    pub fn is_live(&self, key: &Key, now_ms: i64) -> bool {
        self.revoked_at.is_none() && self.ends_at(key.expires_at).is_none_or(|at| at > now_ms)
    }

    /// What a rotation makes of a secret there is: it ends after the overlap, or when it would have ended
    /// anyway. The end is fixed here, so that a later update of the key's expiry does not bring it back.
    /// Without an overlap it is revoked: a proxy whose clock is behind must refuse it too.
    #[must_use]
    pub fn superseded(mut self, key: &Key, overlap_s: u64, now_ms: i64) -> Self {
        let overlap_ms = i64::try_from(overlap_s.min(OVERLAP_MAX) * 1000).expect("30 days of milliseconds fit");
        self.expires_at = earlier(self.ends_at(key.expires_at), Some(now_ms.saturating_add(overlap_ms)));
        if overlap_s == 0 {
            self.revoked_at = self.revoked_at.or(Some(now_ms));
        }
        self
    }
}

/// The earlier of two ends, of which `None` is never.
pub(super) fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// A network, or a bare address as the network that holds only it. Bits beyond the prefix are dropped.
pub(super) fn allowed_of(text: &str) -> Result<IpNet, String> {
    let wrong = || "must be an address or a network such as 192.0.2.0/24 or 2001:db8::/32".to_owned();
    let net = match text.parse::<IpNet>() {
        Ok(net) => net.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| wrong())?),
    };
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_network_of_itself() {
        for (text, means) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8::1/32", "2001:db8::/32"),
        ] {
            assert_eq!(allowed_of(text).unwrap().to_string(), means);
        }
        for wrong in ["", "192.0.2", "192.0.2.0/33", "example.com", "::/129"] {
            assert!(allowed_of(wrong).is_err(), "{wrong}");
        }
    }
}
