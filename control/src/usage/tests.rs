//! What proxies report, on both engines.

use clearway_config::{
    AccountId, KeyId, ProxyId,
    settings::{Plans, Source},
    sync::v1,
};

use super::{Sink, store};
use crate::{
    accounts,
    audit::Actor,
    db::{
        Db,
        testing::{TestDb, on_both},
    },
    events, plans,
    sync::UsageSink,
    world::World,
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
    Sink { world: World::system() }.ingest(db, &ProxyId::new(1, proxy), batch).await.unwrap();
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

#[tokio::test]
async fn a_quota_that_is_reached_is_told_of_once_for_its_day_and_once_for_its_month() {
    on_both(async |TestDb { db, .. }: TestDb| {
        let world = World::fixed(1_000, 3);
        let text = "[[plans]]\nname = \"p\"\ntitle = \"P\"\ncurrency = \"USD\"\nlimits = { per_day = 10, per_month = 25, overage = true }\n";
        plans::load(&db, &world, &Plans::resolve(&Source::new("plans.toml", text)).unwrap()).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let (account, _) = accounts::open(&mut tx, &world, &Actor::System, "a".into(), "p".into()).await.unwrap();
        tx.commit().await.unwrap();
        let key = KeyId::new(1, 1 << 100);
        let sql = "INSERT INTO api_keys (id, account_id, name, environment, scopes, allowed_addresses, per_day, created_at, require_signature)
                   SELECT $1, $2, 'k', 'live', scopes, scopes, 3, 0, FALSE FROM (SELECT CAST('[]' AS TEXT) AS scopes) empty";
        let postgres = sql.replace("CAST('[]' AS TEXT)", "CAST('[]' AS JSONB)");
        let sql: &'static str = if db.engine() == "sqlite" { sql } else { postgres.leak() };
        db.query(sql).bind(key.to_string()).bind(account.id.to_string()).execute().await.unwrap();

        let told = async || {
            let rows = events::after(&db, 0, 100).await.unwrap();
            let quota = rows.into_iter().filter(|row| row.kind == "quota.exceeded");
            let said = |row: events::Row| serde_json::from_str::<serde_json::Value>(&row.body).unwrap()["data"].clone();
            quota.map(|row| (row.account_id == account.id, said(row))).collect::<Vec<_>>()
        };
        let of = |day, admitted| vec![total(v1::Subject::Account, account.id.to_vec(), day, admitted)];
        report(&db, 1 << 60, 1, of(7, 6)).await;
        assert_eq!(told().await, []);
        // Over both ledgers it is ten.
        report(&db, 2 << 60, 2, of(7, 4)).await;
        report(&db, 2 << 60, 2, of(7, 5)).await;
        assert_eq!(
            told().await,
            [(true, serde_json::json!({
                "subject": "account", "subject_id": account.id, "period": "day", "period_start": "1970-01-08T00:00:00.000Z",
                "limit": 10, "admitted": 10, "overage": true,
            }))]
        );
        report(&db, 1 << 60, 1, of(8, 14)).await;
        report(&db, 1 << 60, 1, vec![total(v1::Subject::Key, key.to_vec(), 8, 3)]).await;
        let told = told().await;
        let kinds: Vec<_> = told.iter().map(|(own, said)| (*own, said["subject"].as_str().unwrap(), said["period"].as_str().unwrap())).collect();
        assert_eq!(kinds[1..], [(true, "account", "day"), (true, "account", "month"), (true, "key", "day")]);
        assert_eq!((&told[2].1["period_start"], &told[2].1["admitted"]), (&"1970-01-01T00:00:00.000Z".into(), &25.into()));

        let later = World::fixed(World::system().now_ms() + super::reached::KEPT_MS + 1, 3);
        assert_eq!(super::sweep(&db, &later).await.unwrap(), 4);
    })
    .await;
}
