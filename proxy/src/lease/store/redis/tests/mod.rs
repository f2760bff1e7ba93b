mod differential;
mod servers;

use clearway_config::AccountId;
use clearway_filters::lease::{Asks, Beat, Caller, Incarnation, LongAsk, NodeId, call::bucket_of};

use super::*;

fn settings(url: &str) -> RedisSettings {
    RedisSettings { url: url.into(), ..RedisSettings::default() }
}

fn store(settings: &RedisSettings) -> RedisStore {
    RedisStore::open(settings, Policy::default()).unwrap()
}

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 16])
}

fn caller(n: u8, seq: u64) -> Caller {
    Caller { node: node(n), epoch: 1, seq }
}

fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

fn today() -> u32 {
    u32::try_from(jiff::Timestamp::now().as_second() / 86_400).unwrap()
}

/// Restores nothing to an account's bucket, as its only node; what it restored to.
async fn restored(store: &RedisStore, caller: Caller, account: AccountId) -> Result<Incarnation, StoreError> {
    let bucket = bucket_of(&account);
    let mut restore = Restore { caller, bucket, incarnation: None, held: vec![], done: true, members: vec![], departed: false };
    loop {
        match store.restore(&restore).await? {
            Restored::Ready(incarnation) if restore.incarnation.as_ref() == Some(&incarnation) => return Ok(incarnation),
            Restored::Ready(incarnation) | Restored::Restoring(incarnation, _) => restore.incarnation = Some(incarnation),
            Restored::Stale => panic!("nothing was held that could be stale"),
        }
    }
}

fn take_day(caller: Caller, incarnation: Option<Incarnation>, account: AccountId, holds: u64, want: u64) -> Take {
    let day = LongAsk { window: today(), limit: 1_000, holds, want, bare: false };
    Take { caller, incarnation, account, account_asks: Asks { day: Some(day), ..Asks::default() }, key: None }
}

fn beat(n: u8) -> Beat {
    Beat { caller: caller(n, 1), name: format!("node-{n}").into(), leaving: false, knows: None, lost: vec![] }
}
