//! Keys as the proxies hold them: one credential a secret.

use async_trait::async_trait;
use clearway_config::{AccountId, KeyId, sync::v1};

use super::{model::earlier, store};
use crate::{
    db::{self, Db},
    sync::{ChangeKind, Feed},
};

#[derive(Debug, Clone, Copy)]
pub struct KeyFeed;

#[async_trait]
impl Feed for KeyFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::Key
    }

    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        changes(&store::credentials_of(db, ids).await?)
    }

    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let rows = store::credentials_after(db, after.unwrap_or_default(), limit).await?;
        // Whether the page was full is a matter of keys, of which each has one row or more.
        let mut ids: Vec<&str> = rows.iter().map(|row| row.key_id.as_str()).collect();
        ids.dedup();
        let next = (ids.len() >= limit as usize).then(|| ids.last().map(ToString::to_string)).flatten();
        Ok((changes(&rows)?, next))
    }

    async fn count(&self, db: &Db) -> db::Result<u64> {
        Ok(u64::try_from(store::count_secrets(db).await?).unwrap_or(0))
    }
}

fn changes(rows: &[store::Credential]) -> db::Result<v1::Changes> {
    let credentials = rows.iter().filter_map(credential).collect::<db::Result<_>>()?;
    Ok(v1::Changes { credentials, ..v1::Changes::default() })
}

/// `None` for a key without a secret.
fn credential(row: &store::Credential) -> Option<db::Result<v1::Credential>> {
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
        })
    };
    Some(read())
}
