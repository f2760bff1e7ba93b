//! The way of an app through its states.

use clearway_control::apps;
use serde_json::{Value, json};

use super::{DEVELOPER, act, content, judge, published};
use crate::app::{TestApp, on_both};

async fn read(app: &TestApp, key: &str, id: &str) -> Value {
    app.with_key(key).get(&format!("/api/v1/developer/apps/{id}")).await.data().clone()
}

async fn told(app: &TestApp, prefix: &str) -> Vec<String> {
    let rows: Vec<(String,)> = app.database.db.query("SELECT type FROM events ORDER BY sequence").all().await.unwrap();
    rows.into_iter().map(|(kind,)| kind).filter(|kind| kind.starts_with(prefix)).collect()
}

#[tokio::test]
async fn an_app_comes_into_the_catalogue_through_checks_and_a_person_and_leaves_it() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(DEVELOPER).await;
        let made = app.with_key(&key).post("/api/v1/apps", r#"{"name": "Slack Integration"}"#).await;
        let id = made.id().to_owned();
        assert_eq!((&made.data()["slug"], &made.data()["state"]), (&json!("slack-integration"), &json!("draft")));
        let public = format!("/api/v1/apps/{id}");
        app.anyone().get(&public).await.refused(404, "not_found");
        for early in ["publish", "withdraw", "deprecate", "restore"] {
            act(&app, &key, &id, early).await.refused(409, "conflict");
        }
        for early in ["approve", "reject", "suspend", "resume"] {
            judge(&app, &id, early).await.refused(409, "conflict");
        }

        act(&app, &key, &id, "submit").await.data();
        assert_eq!(apps::sweep(&app.api).await.unwrap(), 1);
        let rejected = read(&app, &key, &id).await;
        assert_eq!((&rejected["state"], &rejected["proposal"]["decided_by"]), (&json!("rejected"), &json!("checks")));
        let failed: Vec<_> =
            rejected["proposal"]["findings"].as_array().unwrap().iter().filter(|f| f["passed"] == false).collect();
        assert_eq!((failed.len(), &failed[0]["check"]), (1, &json!("listing")));

        let path = format!("/api/v1/apps/{id}");
        let updated = app.with_key(&key).put(&path, &content("Slack Integration").to_string()).await;
        assert_eq!((&updated.data()["state"], &updated.data()["proposal"]["reason"]), (&json!("draft"), &Value::Null));
        act(&app, &key, &id, "submit").await.data();
        app.with_key(&key).put(&path, r#"{"summary": "x"}"#).await.refused(409, "conflict");
        assert_eq!(apps::sweep(&app.api).await.unwrap(), 1);
        assert_eq!(apps::sweep(&app.api).await.unwrap(), 0);
        let queue = app.admin().get("/api/v1/admin/apps/pending").await;
        let queued = queue.data()["items"].as_array().unwrap();
        assert_eq!((queued.len(), &queued[0]["app"]["id"], &queued[0]["app"]["state"]), (1, &json!(id), &json!("in_review")));
        assert_eq!(queued[0]["permission_diff"]["added"], json!(["read:events", "read:keys"]));

        let approve = format!("/api/v1/admin/apps/{id}/approve");
        app.admin().header("if-match", "\"1\"").post(&approve, "").await.refused(412, "precondition_failed");
        judge(&app, &id, "reject").await.data();
        assert_eq!(read(&app, &key, &id).await["proposal"]["reason"], "It asks people for passwords.");
        act(&app, &key, &id, "submit").await.data();
        act(&app, &key, &id, "withdraw").await.data();
        assert_eq!(apps::sweep(&app.api).await.unwrap(), 0, "it was taken back");
        act(&app, &key, &id, "submit").await.data();
        apps::sweep(&app.api).await.unwrap();
        judge(&app, &id, "approve").await.data();
        app.anyone().get(&public).await.refused(404, "not_found");
        let live = act(&app, &key, &id, "publish").await;
        assert_eq!((&live.data()["state"], &live.data()["proposal"]), (&json!("active"), &Value::Null));
        let page = app.anyone().get("/api/v1/apps/slack-integration").await;
        assert_eq!(
            (&page.data()["id"], &page.data()["version"], &page.data()["rating"]),
            (&json!(id), &json!("1.0.0"), &Value::Null)
        );

        judge(&app, &id, "suspend").await.data();
        app.anyone().get(&public).await.refused(404, "not_found");
        act(&app, &key, &id, "restore").await.refused(409, "conflict");
        judge(&app, &id, "resume").await.data();
        act(&app, &key, &id, "deprecate").await.data();
        assert_eq!(app.anyone().get(&public).await.data()["status"], "deprecated");
        assert_eq!(app.anyone().get("/api/v1/apps").await.data()["items"], json!([]));
        act(&app, &key, &id, "restore").await.data();
        let removed = app.with_key(&key).delete(&path).await;
        assert_eq!(removed.data()["state"], "removed");
        app.with_key(&key).delete(&path).await.refused(409, "conflict");
        app.anyone().get(&public).await.refused(404, "not_found");
        assert_eq!(
            told(&app, "app.").await,
            [
                "app.created",
                "app.rejected",
                "app.updated",
                "app.rejected",
                "app.approved",
                "app.published",
                "app.suspended",
                "app.updated",
                "app.updated",
                "app.updated",
                "app.deleted"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_new_version_is_not_seen_before_it_was_reviewed_and_says_what_more_it_asks_for() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(DEVELOPER).await;
        let id = published(&app, &key, &content("Channels")).await;
        let path = format!("/api/v1/apps/{id}");
        let change = json!({
            "summary": "Posts more", "permissions": [
                {"scope": "read:events", "reason": "To post what happens to a channel."},
                {"scope": "write:keys", "reason": "To make a key for every channel."},
            ],
        });
        let edited = app.with_key(&key).put(&path, &change.to_string()).await;
        assert_eq!((&edited.data()["state"], &edited.data()["proposal"]["number"]), (&json!("active"), &json!("1.0.1")));
        assert_eq!(
            edited.data()["permission_diff"],
            json!({"added": ["write:keys"], "removed": ["read:keys"], "now_required": []})
        );
        let seen = async || app.anyone().get(&path).await.data()["summary"].clone();
        assert_eq!(seen().await, "Posts what happens to a channel");
        act(&app, &key, &id, "publish").await.refused(409, "conflict");
        super::release(&app, &key, &id).await;
        assert_eq!(seen().await, "Posts more");
        let versions = app.with_key(&key).get(&format!("/api/v1/developer/apps/{id}/versions")).await;
        let states: Vec<_> = versions.data()["items"].as_array().unwrap().iter().map(|v| v["state"].clone()).collect();
        assert_eq!(states, [json!("active"), json!("deprecated")]);
        app.with_key(&key).put(&path, r#"{"version": "1.0.0", "summary": "x"}"#).await.refused(409, "conflict");
        let older = app.with_key(&key).put(&path, r#"{"version": "0.9.0", "summary": "x"}"#).await;
        assert_eq!(older.data()["proposal"]["number"], "0.9.0");
        act(&app, &key, &id, "submit").await.data();
        apps::sweep(&app.api).await.unwrap();
        let reason = read(&app, &key, &id).await["proposal"]["reason"].clone();
        assert_eq!(reason, "version: 0.9.0 does not come after 1.0.1, which is published");
    })
    .await;
}

#[tokio::test]
async fn anothers_app_is_not_found_and_its_slug_is_never_given_again() {
    on_both(async |app: TestApp| {
        let (_, owner) = app.account(DEVELOPER).await;
        let (_, other) = app.account(DEVELOPER).await;
        let id = app.with_key(&owner).post("/api/v1/apps", &content("Channels").to_string()).await.id().to_owned();
        let path = format!("/api/v1/apps/{id}");
        app.with_key(&other).get(&format!("/api/v1/developer/apps/{id}")).await.refused(404, "not_found");
        app.with_key(&other).get(&format!("/api/v1/developer/apps/{id}/versions")).await.refused(404, "not_found");
        app.with_key(&other).put(&path, "{}").await.refused(404, "not_found");
        app.with_key(&other).delete(&path).await.refused(404, "not_found");
        for what in ["submit", "withdraw", "publish", "deprecate", "restore"] {
            act(&app, &other, &id, what).await.refused(404, "not_found");
        }
        for what in ["approve", "reject", "suspend", "resume"] {
            app.with_key(&other).post(&format!("/api/v1/admin/apps/{id}/{what}"), "").await.refused(403, "scope_missing");
        }
        assert_eq!(app.with_key(&other).get("/api/v1/developer/apps").await.data()["items"], json!([]));
        app.with_key(&owner).delete(&path).await.data();
        app.with_key(&other).post("/api/v1/apps", r#"{"name": "Channels"}"#).await.refused(409, "conflict");
        app.with_key(&other).post("/api/v1/apps", r#"{"name": "日本"}"#).await.refused(400, "validation_error");
        app.with_key(&other).post("/api/v1/apps", r#"{"name": "日本", "slug": "nihon"}"#).await.data();
    })
    .await;
}

/// What a dispatcher would write of the probe that is waited for.
async fn answer_probe(app: &TestApp, status: i64) {
    let db = &app.database.db;
    loop {
        let probe: Option<(i64, String, String)> = db
            .query(
                "SELECT e.sequence, e.only_for, e.account_id FROM events e
                 WHERE e.only_for IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.sequence = e.sequence) LIMIT 1",
            )
            .optional()
            .await
            .unwrap();
        let Some((sequence, webhook, account)) = probe else {
            tokio::task::yield_now().await;
            continue;
        };
        db.query(
            "INSERT INTO deliveries (id, account_id, webhook_id, sequence, event_type, state, claimed, attempts, schedule_start,
                 last_status, created_at, completed_at)
             VALUES ($1, $2, $3, $4, 'app.updated', 'failed', FALSE, 1, 0, $5, 1, 1)",
        )
        .bind(format!("dlv_{sequence:022}"))
        .bind(account)
        .bind(webhook)
        .bind(sequence)
        .bind(status)
        .execute()
        .await
        .unwrap();
        return;
    }
}

#[tokio::test]
async fn an_app_whose_webhook_takes_a_bad_signature_is_rejected() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(&[DEVELOPER, &["read:webhooks"]].concat()).await;
        let mut with_webhook = content("Channels");
        with_webhook["webhook_url"] = json!("https://example.com/hooks");
        let id = app.with_key(&key).post("/api/v1/apps", &with_webhook.to_string()).await.id().to_owned();
        for (status, state) in [(200, "rejected"), (401, "in_review")] {
            act(&app, &key, &id, "submit").await.data();
            let (checked, ()) = tokio::join!(apps::sweep(&app.api), answer_probe(&app, status));
            assert_eq!(checked.unwrap(), 1);
            let seen = read(&app, &key, &id).await;
            assert_eq!(seen["state"], state, "{seen:#}");
            let finding = seen["proposal"]["findings"].as_array().unwrap().last().unwrap().clone();
            assert_eq!((&finding["check"], &finding["passed"]), (&json!("webhook"), &json!(status == 401)));
        }
        assert_eq!(app.with_key(&key).get("/api/v1/webhooks").await.data()["items"], json!([]), "the probe is gone");

        act(&app, &key, &id, "withdraw").await.data();
        let inside = json!({"webhook_url": "https://169.254.169.254/latest"});
        app.with_key(&key).put(&format!("/api/v1/apps/{id}"), &inside.to_string()).await.data();
        act(&app, &key, &id, "submit").await.data();
        apps::sweep(&app.api).await.unwrap();
        let seen = read(&app, &key, &id).await;
        assert!(seen["proposal"]["reason"].as_str().unwrap().contains("not a public address"), "{seen:#}");
    })
    .await;
}
