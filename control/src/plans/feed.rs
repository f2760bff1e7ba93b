//! Plans as the proxies hold them: retired ones too, because accounts may be on them.

use async_trait::async_trait;
use clearway_config::sync::v1;

use super::store::{self, Stored};
use crate::{
    db::{self, Db},
    sync::{ChangeKind, Feed},
};

#[derive(Debug, Clone, Copy)]
pub struct PlanFeed;

#[async_trait]
impl Feed for PlanFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::Plan
    }

    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        Ok(changes(store::some(db, ids).await?))
    }

    /// They are few: one page holds them all.
    async fn page(&self, db: &Db, after: Option<String>, _: u32) -> db::Result<(v1::Changes, Option<String>)> {
        match after {
            None => Ok((changes(store::all(db).await?), None)),
            Some(_) => Ok((v1::Changes::default(), None)),
        }
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(0)
    }
}

fn changes(stored: Vec<Stored>) -> v1::Changes {
    let plan = |Stored { plan, .. }: Stored| v1::Plan {
        name: plan.name,
        limits: Some(plan.limits.into()),
        on_quota_store_loss: plan.on_quota_store_loss.as_str().to_owned(),
    };
    v1::Changes { plans: stored.into_iter().map(plan).collect(), ..v1::Changes::default() }
}
