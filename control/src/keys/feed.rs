//! Keys as the proxies hold them: one credential a secret.

use async_trait::async_trait;
use clearway_config::{AccountId, KeyId, sync::v1};

use super::{credential_store, model::earlier, signing, store};
use crate::{
    db::{self, Db},
    secrets::Secrets,
    sync::{ChangeKind, Feed},
};

#[derive(Debug, Clone)]
pub struct KeyFeed {
    pub secrets: Secrets,
}

#[async_trait]
impl Feed for KeyFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::Key
    }

    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        self.changes(&credential_store::credentials_of(db, ids).await?)
    }

    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let rows = credential_store::credentials_after(db, after.unwrap_or_default(), limit).await?;
        // Whether the page was full is a matter of keys, of which each has one row or more.
        let mut ids: Vec<&str> = rows.iter().map(|row| row.key_id.as_str()).collect();
        ids.dedup();
        let next = (ids.len() >= limit as usize).then(|| ids.last().map(ToString::to_string)).flatten();
        Ok((self.changes(&rows)?, next))
    }

    async fn count(&self, db: &Db) -> db::Result<u64> {
        Ok(u64::try_from(credential_store::count_secrets(db).await?).unwrap_or(0))
    }
}

impl KeyFeed {
    fn changes(&self, rows: &[credential_store::Credential]) -> db::Result<v1::Changes> {
        let credentials = rows.iter().filter_map(|row| self.credential(row)).collect::<db::Result<_>>()?;
        Ok(v1::Changes { credentials, ..v1::Changes::default() })
    }

    /// `None` for a key without a secret.
    fn credential(&self, row: &credential_store::Credential) -> Option<db::Result<v1::Credential>> {
        let hash = row.hash.clone()?;
        let read = || {
            let ends_at = earlier(row.secret_expires_at, row.key_expires_at);
            Ok(v1::Credential {
                hash,
                key_id: db::decode::<KeyId>("api_keys.id", &row.key_id)?.to_vec(),
                account_id: db::decode::<AccountId>("api_keys.account_id", &row.account_id)?.to_vec(),
                revoked: row.secret_revoked_at.or(row.key_revoked_at).is_some(),
                // Before 1970 is long ago too.
                expires_at: ends_at.map(|at| u64::try_from(at).unwrap_or(0)),
                scopes: row.scopes.0.iter().map(ToString::to_string).collect(),
                allowed_addresses: row.allowed_addresses.0.iter().map(ToString::to_string).collect(),
                limits: Some(store::limits(row.per_second, row.per_day, row.per_month, row.concurrent).into()),
                require_signature: row.require_signature,
                signing_secret: self.signing_secret(row),
                sealed_signing_secret: Vec::new(),
            })
        };
        Some(read())
    }

    /// Empty where there is none, and where it does not open: proxies then refuse the key, and go on with all others.
    fn signing_secret(&self, row: &credential_store::Credential) -> Vec<u8> {
        let Some((of, sealed)) = row.secret_id.as_ref().zip(row.signing_secret.as_ref()).filter(|_| row.require_signature) else {
            return Vec::new();
        };
        match signing::open(&self.secrets, of, sealed) {
            Ok(plain) => plain.to_vec(),
            Err(why) => {
                tracing::error!(key.id = row.key_id, error.cause = %why, "a signing secret cannot be read: its key is refused");
                Vec::new()
            }
        }
    }
}
