use clearway_config::{AccountId, KeyId, ProxyId, sync::v1};
use clearway_control::{sync::UsageSink, usage::Sink};
use serde_json::json;

use crate::app::{TestApp, on_both};

/// 2026-11-20 in days since 1970.
const TODAY: u32 = 20_777;

async fn report(app: &TestApp, ledger: u8, totals: Vec<(v1::Subject, Vec<u8>, u32, u64)>) {
    let total = |(subject, subject_id, day, admitted): (v1::Subject, Vec<u8>, u32, u64)| v1::UsageTotal {
        subject: subject.into(),
        subject_id,
        day,
        admitted,
        last_used_at: 1_795_132_000_000,
        last_used_address: vec![192, 0, 2, 7],
    };
    let totals = totals.into_iter().map(total).collect();
    let batch = v1::UsageBatch { sequence: 1, ledger_id: vec![ledger; 16], totals };
    Sink { world: app.world.clone() }.ingest(&app.database.db, &ProxyId::new(1, u128::from(ledger) << 60), batch).await.unwrap();
}

#[tokio::test]
async fn usage_is_summed_over_proxies_per_day_and_per_key() {
    on_both(async |app: TestApp| {
        let (account, secret) = app.account(&["read:analytics", "read:keys"]).await;
        let key = app.with_key(&secret).get("/api/v1/keys").await.data()["items"][0]["id"].as_str().unwrap().to_owned();
        let (account_bytes, key_bytes) = (account.parse::<AccountId>().unwrap().to_vec(), key.parse::<KeyId>().unwrap().to_vec());
        for ledger in [1, 2] {
            for day in [TODAY - 1, TODAY] {
                let n = u64::from(ledger) * 10 + u64::from(day + 1 - TODAY);
                let totals =
                    vec![(v1::Subject::Account, account_bytes.clone(), day, n), (v1::Subject::Key, key_bytes.clone(), day, n)];
                report(&app, ledger, totals).await;
            }
        }
        let path = "/api/v1/analytics/usage?from=2026-11-18&to=2026-11-20";
        let usage = app.with_key(&secret).get(path).await;
        assert_eq!(
            *usage.data(),
            json!({
                "account_id": account, "from": "2026-11-18", "to": "2026-11-20", "total": 62,
                "days": [
                    { "date": "2026-11-18", "admitted": 0 },
                    { "date": "2026-11-19", "admitted": 30 },
                    { "date": "2026-11-20", "admitted": 32 },
                ],
                "keys": [{ "id": key, "name": "first", "admitted": 62 }],
                "next_cursor": null,
            })
        );
        let of_key = app.with_key(&secret).get(&format!("{path}&key_id={key}")).await;
        assert_eq!(of_key.data()["days"], usage.data()["days"]);
        // An admin's own account was not used; it may ask for another's.
        assert_eq!(app.admin().get(path).await.data()["total"], 0);
        assert_eq!(app.admin().get(&format!("{path}&account_id={account}")).await.data()["total"], 62);
        // Another account's key is as one that was never used.
        let (_, other) = app.account(&["read:analytics"]).await;
        assert_eq!(app.with_key(&other).get(&format!("{path}&key_id={key}")).await.data()["total"], 0);
        app.with_key(&other).get(&format!("{path}&account_id={account}")).await.refused(404, "not_found");

        let read = app.with_key(&secret).get(&format!("/api/v1/keys/{key}")).await;
        assert_eq!(read.data()["last_used"], json!({ "at": "2026-11-19T23:46:40.000Z", "address": "192.0.2.7" }));
    })
    .await;
}

#[tokio::test]
async fn a_question_spans_400_days_at_most() {
    on_both(async |app: TestApp| {
        let usage = app.admin().get("/api/v1/analytics/usage").await;
        assert_eq!((&usage.data()["from"], &usage.data()["to"]), (&json!("2026-10-22"), &json!("2026-11-20")));
        assert_eq!(usage.data()["days"].as_array().unwrap().len(), 30);
        let most = app.admin().get("/api/v1/analytics/usage?from=2025-01-01&to=2026-02-04").await;
        assert_eq!(most.data()["days"].as_array().unwrap().len(), 400);
        for wrong in ["from=2025-01-01&to=2026-02-05", "from=2026-11-21", "from=yesterday", "to=2026-13-01", "offset=1"] {
            app.admin().get(&format!("/api/v1/analytics/usage?{wrong}")).await.refused(400, "validation_error");
        }
    })
    .await;
}
