//! What proxies report, on both engines.

use clearway_config::{AccountId, KeyId, ProxyId, sync::v1};

use super::{Sink, store};
use crate::{
    db::{
        Db,
        testing::{TestDb, on_both},
    },
    sync::UsageSink,
};

fn total(subject: v1::Subject, id: Vec<u8>, day: u32, admitted: u64) -> v1::UsageTotal {
    v1::UsageTotal {
        subject: subject.into(),
        subject_id: id,
        day,
        admitted,
        last_used_at: 1_000 + admitted,
        last_used_address: vec![192, 0, 2, u8::try_from(admitted).unwrap()],
    }
}

async fn report(db: &Db, proxy: u128, ledger: u8, totals: Vec<v1::UsageTotal>) {
    let batch = v1::UsageBatch { sequence: 1, ledger_id: vec![ledger; 16], totals };
    Sink.ingest(db, &ProxyId::new(1, proxy), batch).await.unwrap();
}

async fn days(db: &Db, account: AccountId) -> Vec<(i64, i64)> {
    let days = store::account_days(db, account, 0, 100).await.unwrap();
    days.into_iter().map(|total| (total.day, total.admitted)).collect()
}

#[tokio::test]
async fn a_batch_that_comes_twice_or_late_counts_once() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let account = AccountId::new(1, 1 << 100);
        let of = |day, admitted| vec![total(v1::Subject::Account, account.to_vec(), day, admitted)];
        report(&db, 1 << 60, 1, of(7, 10)).await;
        report(&db, 1 << 60, 1, of(7, 30)).await;
        report(&db, 1 << 60, 1, of(7, 30)).await;
        report(&db, 1 << 60, 1, of(7, 20)).await;
        assert_eq!(days(&db, account).await, [(7, 30)]);
        // Other ledgers count beside it: another proxy's, and the same proxy's after its directory was lost.
        report(&db, 2 << 60, 2, of(7, 5)).await;
        report(&db, 1 << 60, 3, of(8, 1)).await;
        assert_eq!(days(&db, account).await, [(7, 35), (8, 1)]);
    })
    .await;
}

#[tokio::test]
async fn one_batch_may_repeat_a_subject_and_name_unknown_ones() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let account = AccountId::new(1, 1 << 100);
        let mut totals = vec![
            total(v1::Subject::Account, account.to_vec(), 7, 9),
            total(v1::Subject::Account, account.to_vec(), 7, 4),
            total(v1::Subject::Unspecified, account.to_vec(), 7, 4),
            total(v1::Subject::Key, vec![1, 2, 3], 7, 4),
        ];
        totals[0].last_used_address.clear();
        report(&db, 1, 1, totals).await;
        assert_eq!(days(&db, account).await, [(7, 9)]);
        report(&db, 1, 1, Vec::new()).await;
    })
    .await;
}

#[tokio::test]
async fn the_latest_use_of_a_key_is_kept_with_its_address() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let key = KeyId::new(1, 1 << 100);
        let last = async || {
            let sql = "SELECT last_used_at, last_used_address FROM key_uses WHERE key_id = $1";
            db.query(sql).bind(key.to_string()).one::<(i64, String)>().await.unwrap()
        };
        report(&db, 1, 1, vec![total(v1::Subject::Key, key.to_vec(), 7, 20)]).await;
        assert_eq!(last().await, (1_020, "192.0.2.20".into()));
        report(&db, 2, 2, vec![total(v1::Subject::Key, key.to_vec(), 7, 10)]).await;
        assert_eq!(last().await, (1_020, "192.0.2.20".into()), "an earlier use elsewhere changes nothing");
        let mut later = total(v1::Subject::Key, key.to_vec(), 7, 30);
        later.last_used_address = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        report(&db, 2, 2, vec![later]).await;
        assert_eq!(last().await, (1_030, "2001:db8::1".into()));
    })
    .await;
}
