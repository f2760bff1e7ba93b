//! Accounts as the proxies hold them.

use async_trait::async_trait;
use clearway_config::{AccountId, sync::v1};

use super::store::{self, Fed};
use crate::{
    db::{self, Db},
    sync::{ChangeKind, Feed},
};

#[derive(Debug, Clone, Copy)]
pub struct AccountFeed;

#[async_trait]
impl Feed for AccountFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::Account
    }

    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        changes(store::fed(db, ids).await?)
    }

    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let rows = store::fed_after(db, after.unwrap_or_default(), limit).await?;
        let next = rows.last().filter(|_| rows.len() >= limit as usize).map(|row| row.id.clone());
        Ok((changes(rows)?, next))
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(0)
    }
}

fn changes(rows: Vec<Fed>) -> db::Result<v1::Changes> {
    let account = |row: Fed| {
        let id = db::decode::<AccountId>("accounts.id", &row.id)?.to_vec();
        let policies = row.policies()?;
        Ok(v1::Account { id, plan: row.plan, suspended: row.suspended_at.is_some(), policies })
    };
    let accounts = rows.into_iter().map(account).collect::<db::Result<_>>()?;
    Ok(v1::Changes { accounts, ..v1::Changes::default() })
}
