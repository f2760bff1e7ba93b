//! Objects as the proxies hold them: as they are written.

use async_trait::async_trait;
use clearway_config::sync::v1;
use serde_json::Value;

use super::{Stored, store};
use crate::{
    db::{self, Db},
    sync::{ChangeKind, Feed},
};

#[derive(Debug, Clone, Copy)]
pub struct RouteFeed;

#[async_trait]
impl Feed for RouteFeed {
    fn kind(&self) -> ChangeKind {
        ChangeKind::GatewayObject
    }

    /// Those that are gone are named as removed.
    async fn load(&self, db: &Db, ids: &[String]) -> db::Result<v1::Changes> {
        let found = store::some(db, ids).await?;
        let is_there = |id: &str| {
            let (kind, name) = id.split_once('/').unwrap_or_default();
            found.iter().any(|stored| stored.object.kind.as_str() == kind && stored.object.name == name)
        };
        let gone = ids.iter().filter(|id| !is_there(id)).filter_map(|id| id.split_once('/'));
        let removed = gone.map(|(kind, name)| v1::GatewayObjectName { kind: kind.to_owned(), name: name.to_owned() }).collect();
        Ok(v1::Changes { removed_gateway_objects: removed, ..changes(found) })
    }

    async fn page(&self, db: &Db, after: Option<String>, limit: u32) -> db::Result<(v1::Changes, Option<String>)> {
        let after = after.unwrap_or_default();
        let (kind, name) = after.split_once('/').unwrap_or_default();
        let found = store::after(db, kind, name, limit).await?;
        let next = found.last().filter(|_| found.len() >= limit as usize);
        let next = next.map(|stored| format!("{}/{}", stored.object.kind, stored.object.name));
        Ok((changes(found), next))
    }

    async fn count(&self, _: &Db) -> db::Result<u64> {
        Ok(0)
    }
}

fn changes(found: Vec<Stored>) -> v1::Changes {
    let object = |Stored { object, .. }: Stored| v1::GatewayObject {
        kind: object.kind.as_str().to_owned(),
        name: object.name,
        spec: Value::Object(object.spec).to_string().into_bytes(),
    };
    v1::Changes { gateway_objects: found.into_iter().map(object).collect(), ..v1::Changes::default() }
}
