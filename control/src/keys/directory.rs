//! Looking a caller's key up, for [`crate::http::Permit`].

use async_trait::async_trait;
use clearway_config::KeyHash;

use super::{model::earlier, store};
use crate::{
    db::{self, Db},
    http::{Held, KeyDirectory},
};

/// The keys in the database. It caches nothing: a revocation holds here from its commit on.
#[derive(Debug, Clone, Copy)]
pub struct Directory;

#[async_trait]
impl KeyDirectory for Directory {
    async fn find(&self, db: &Db, hash: &KeyHash) -> db::Result<Option<Held>> {
        let Some(found) = store::credential(db, hash).await? else { return Ok(None) };
        Ok(Some(Held {
            key_id: db::decode("api_keys.id", &found.key_id)?,
            account_id: db::decode("api_keys.account_id", &found.account_id)?,
            revoked: found.secret_revoked_at.or(found.key_revoked_at).is_some(),
            expires_at: earlier(found.secret_expires_at, found.key_expires_at),
            suspended: found.suspended_at.is_some(),
            allowed: found.allowed_addresses.0,
            scopes: found.scopes.0,
            requires_signature: found.require_signature,
        }))
    }
}
