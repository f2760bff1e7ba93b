//! The log of deliveries, and asking for them again, over the API. How they are attempted is tested beside the dispatcher.

use serde_json::{Value, json};

use crate::app::{NOW, TestApp, on_both};

/// An account with a webhook, and a key that may do everything with it.
struct Sender {
    account: String,
    key: String,
    webhook: String,
}

async fn sender(app: &TestApp) -> Sender {
    let (account, key) = app.account(&["read:webhooks", "write:webhooks"]).await;
    let body = r#"{"url": "https://example.com/hook", "events": ["product.*"]}"#;
    let webhook = app.with_key(&key).post("/api/v1/webhooks", body).await.id().to_owned();
    Sender { account, key, webhook }
}

/// A finished delivery with one attempt, as the dispatcher writes them.
async fn delivered(app: &TestApp, sender: &Sender, n: i64, status: i64) -> String {
    let id = format!("dlv_{n:022}");
    // Opening the account and what followed are events, too.
    let sequence = 1_000 + n;
    let (state, kind) = if status < 300 { ("succeeded", "product.created") } else { ("failed", "product.deleted") };
    let db = &app.database.db;
    db.query(
        "INSERT INTO events (sequence, id, account_id, type, version, object_id, body, created_at)
         VALUES ($1, $2, $3, $4, 1, $5, '{}', $6)",
    )
    .bind(sequence)
    .bind(format!("evt_{n:022}"))
    .bind(sender.account.clone())
    .bind(kind)
    .bind(format!("prod_{}", n % 2))
    .bind(NOW)
    .execute()
    .await
    .unwrap();
    db.query(
        "INSERT INTO deliveries (id, account_id, webhook_id, sequence, event_type, object_id, state, claimed, attempts,
             schedule_start, last_status, created_at, completed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, 1, 0, $8, $9, $9)",
    )
    .bind(id.clone())
    .bind(sender.account.clone())
    .bind(sender.webhook.clone())
    .bind(sequence)
    .bind(kind)
    .bind(format!("prod_{}", n % 2))
    .bind(state)
    .bind(status)
    .bind(NOW)
    .execute()
    .await
    .unwrap();
    db.query(
        "INSERT INTO attempts (delivery_id, number, started_at, duration_us, status, request_headers, response_headers,
             response_body, response_body_cut)
         VALUES ($1, 1, $2, 12500, $3, $4, '', 'as it came', FALSE)",
    )
    .bind(id.clone())
    .bind(NOW)
    .bind(status)
    .bind("webhook-id: evt_1\nauthorization: ***\n")
    .execute()
    .await
    .unwrap();
    db.query("UPDATE event_sequence SET last = $1").bind(sequence).execute().await.unwrap();
    db.query("UPDATE dispatch SET fanned_out = $1").bind(sequence).execute().await.unwrap();
    id
}

fn ids(answer: &crate::app::Answer) -> Vec<String> {
    answer.data()["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_webhooks_log_has_a_line_for_each_attempt() {
    on_both(async |app: TestApp| {
        let sender = sender(&app).await;
        for n in 1..=3 {
            delivered(&app, &sender, n, if n == 2 { 500 } else { 200 }).await;
        }
        let path = format!("/api/v1/webhooks/{}/logs", sender.webhook);
        let first = app.with_key(&sender.key).get(&format!("{path}?limit=2")).await;
        let lines = first.data()["logs"].as_array().unwrap();
        assert_eq!(
            lines[0],
            json!({
                "id": "log_0000000000000000000003_1", "event_id": "evt_0000000000000000000003", "event_type": "product.created",
                "object_id": "prod_1", "delivery_id": "dlv_0000000000000000000003", "attempt": 1, "status_code": 200,
                "response": "as it came", "failure": null, "reason": null, "duration_ms": 12.5,
                "started_at": "2026-11-20T00:00:00.000Z", "delivered_at": "2026-11-20T00:00:00.012Z",
            })
        );
        assert_eq!((lines.len(), &lines[1]["delivered_at"], &lines[1]["status_code"]), (2, &Value::Null, &json!(500)));
        let cursor = first.data()["next_cursor"].as_str().unwrap();
        let last = app.with_key(&sender.key).get(&format!("{path}?limit=2&cursor={cursor}")).await;
        assert_eq!(last.data()["logs"][0]["delivery_id"], "dlv_0000000000000000000001");
        assert_eq!(last.data()["next_cursor"], Value::Null);
        let failed = app.with_key(&sender.key).get(&format!("{path}?status_code=500")).await;
        assert_eq!(failed.data()["logs"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn deliveries_are_found_by_what_they_are_of_and_shown_with_their_attempts() {
    on_both(async |app: TestApp| {
        let sender = sender(&app).await;
        let mut made = Vec::new();
        for n in 1..=4 {
            made.push(delivered(&app, &sender, n, if n == 2 { 503 } else { 200 }).await);
        }
        made.reverse();
        let found = async |query: &str| ids(&app.with_key(&sender.key).get(&format!("/api/v1/deliveries?{query}")).await);
        assert_eq!(found("").await, made);
        assert_eq!(found("state=failed").await, [made[2].clone()]);
        assert_eq!(found("status_code=503").await, [made[2].clone()]);
        assert_eq!(found("event_type=product.created").await.len(), 3);
        assert_eq!(found("object_id=prod_0").await, [made[0].clone(), made[2].clone()]);
        assert_eq!(found("event_id=evt_0000000000000000000004").await, [made[0].clone()]);
        assert_eq!(found(&format!("webhook_id={}&limit=1&cursor={}", sender.webhook, made[1])).await, [made[2].clone()]);
        assert_eq!(found("from=2026-01-01T00:00:00Z").await, [""; 0]);
        let one = app.with_key(&sender.key).get(&format!("/api/v1/deliveries/{}", made[2])).await;
        assert_eq!((&one.data()["state"], &one.data()["attempt_log"][0]["status_code"]), (&json!("failed"), &json!(503)));
        let headers = json!([{"name": "webhook-id", "value": "evt_1"}, {"name": "authorization", "value": "***"}]);
        assert_eq!(one.data()["attempt_log"][0]["request_headers"], headers);
        app.with_key(&sender.key).get("/api/v1/deliveries?state=lost").await.refused(400, "validation_error");
    })
    .await;
}

#[tokio::test]
async fn deliveries_are_begun_anew_on_request() {
    on_both(async |app: TestApp| {
        let sender = sender(&app).await;
        for n in 1..=3 {
            delivered(&app, &sender, n, if n == 3 { 200 } else { 500 }).await;
        }
        let client = || app.with_key(&sender.key);
        let retried = client().post("/api/v1/deliveries/dlv_0000000000000000000001/retry", "").await;
        assert_eq!((&retried.data()["state"], &retried.data()["attempts"]), (&json!("pending"), &json!(1)));
        let recover = format!("/api/v1/webhooks/{}/recover", sender.webhook);
        let since = r#"{"since": "1970-01-01T00:00:00Z", "dry_run": true}"#;
        let foretold = client().post(&recover, since).await;
        assert_eq!(foretold.data(), &json!({"replayed": 1, "missed": 0, "more": false, "dry_run": true}));
        let recovered = client().post(&recover, r#"{"since": "1970-01-01T00:00:00Z"}"#).await;
        assert_eq!(recovered.data(), &json!({"replayed": 1, "missed": 0, "more": false, "dry_run": false}));
        let replay = r#"{"from": "1970-01-01T00:00:00Z", "states": ["succeeded"], "event_type": "product.created", "max": 10}"#;
        let replayed = client().header("idempotency-key", "once").post("/api/v1/deliveries/replay", replay).await;
        assert_eq!(replayed.data()["replayed"], 1);
        let again = client().header("idempotency-key", "once").post("/api/v1/deliveries/replay", replay).await;
        assert_eq!(again.data(), replayed.data());
        assert_eq!(client().get("/api/v1/deliveries?state=pending").await.data()["items"].as_array().unwrap().len(), 3);
        client().post("/api/v1/deliveries/replay", r#"{"states": ["pending"]}"#).await.refused(400, "validation_error");
    })
    .await;
}

#[tokio::test]
async fn another_accounts_deliveries_are_not_found() {
    on_both(async |app: TestApp| {
        let (owner, other) = (sender(&app).await, sender(&app).await);
        let delivery = delivered(&app, &owner, 1, 500).await;
        let client = || app.with_key(&other.key);
        client().get(&format!("/api/v1/deliveries/{delivery}")).await.refused(404, "not_found");
        client().post(&format!("/api/v1/deliveries/{delivery}/retry"), "").await.refused(404, "not_found");
        client().get(&format!("/api/v1/webhooks/{}/logs", owner.webhook)).await.refused(404, "not_found");
        client().post(&format!("/api/v1/webhooks/{}/test", owner.webhook), "").await.refused(404, "not_found");
        let since = r#"{"since": "1970-01-01T00:00:00Z"}"#;
        client().post(&format!("/api/v1/webhooks/{}/recover", owner.webhook), since).await.refused(404, "not_found");
        assert!(ids(&client().get("/api/v1/deliveries").await).is_empty());
        let theirs = format!(r#"{{"from": "1970-01-01T00:00:00Z", "webhook_id": "{}"}}"#, owner.webhook);
        assert_eq!(client().post("/api/v1/deliveries/replay", &theirs).await.data()["replayed"], 0);
        client().get(&format!("/api/v1/deliveries?account_id={}", owner.account)).await.refused(404, "not_found");
    })
    .await;
}
