//! Taking in what proxies report.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use async_trait::async_trait;
use clearway_config::{AccountId, KeyId, ProxyId, sync::v1};

use super::{reached, store};
use crate::{
    db::{self, Db},
    sync::UsageSink,
    world::World,
};

#[derive(Debug, Clone)]
pub struct Sink {
    pub world: World,
}

#[async_trait]
impl UsageSink for Sink {
    async fn ingest(&self, db: &Db, proxy: &ProxyId, batch: v1::UsageBatch) -> db::Result<()> {
        // Sorted and without repetition: two batches lock rows in one order, and no row is written twice.
        let mut days: BTreeMap<(&'static str, String, u32), i64> = BTreeMap::new();
        let mut uses: BTreeMap<String, (i64, Option<String>)> = BTreeMap::new();
        for total in &batch.totals {
            let Some((kind, id)) = subject(total) else { continue };
            let admitted = i64::try_from(total.admitted).unwrap_or(i64::MAX);
            let last_used = i64::try_from(total.last_used_at).unwrap_or(0);
            if kind == "key" && last_used > 0 {
                let used = (last_used, address(&total.last_used_address));
                let newest = uses.entry(id.clone()).or_insert_with(|| used.clone());
                if used.0 > newest.0 {
                    *newest = used;
                }
            }
            let most = days.entry((kind, id, total.day)).or_insert(admitted);
            *most = admitted.max(*most);
        }
        let days: Vec<_> = days.into_iter().map(|((kind, id, day), admitted)| store::Day { kind, id, day, admitted }).collect();
        let periods = reached::periods(&days);
        let uses = uses.into_iter().map(|(id, (at, address))| store::LastUse { id, at, address }).collect();
        let mut tx = db.begin().await?;
        store::keep_greatest(&mut tx, proxy, &batch.ledger_id, days).await?;
        store::keep_latest(&mut tx, uses).await?;
        reached::tell(&mut tx, &self.world, periods).await?;
        tx.commit().await
    }
}

/// A total of something unknown is passed over: a newer proxy may count more kinds.
fn subject(total: &v1::UsageTotal) -> Option<(&'static str, String)> {
    match total.subject() {
        v1::Subject::Account => Some(("account", AccountId::from_slice(&total.subject_id)?.to_string())),
        v1::Subject::Key => Some(("key", KeyId::from_slice(&total.subject_id)?.to_string())),
        v1::Subject::Unspecified => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let address: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some(address.to_string())
}
