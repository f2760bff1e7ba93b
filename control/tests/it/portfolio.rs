//! What developers show beside their apps, and what accounts ask whoever runs Clearway.

use serde_json::{Value, json};

use crate::app::{TestApp, on_both};

const DEVELOPER: &[&str] = &["read:apps", "write:apps", "delete:apps"];
const PROJECTS: &str = "/api/v1/portfolio/projects";
const TICKETS: &str = "/api/v1/support/tickets";

#[tokio::test]
async fn a_project_is_its_accounts_until_it_is_published() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(DEVELOPER).await;
        let (_, other) = app.account(DEVELOPER).await;
        let made = app.with_key(&mine).post(PROJECTS, r#"{"title": "Dashboard", "tags": ["charts"]}"#).await;
        let path = format!("{PROJECTS}/{}", made.id());
        let shown = async || app.anyone().get(&format!("/api/v1/developers/{account}/projects")).await.data()["items"].clone();
        assert_eq!(shown().await, json!([]));
        let published = app.with_key(&mine).post(&format!("{path}/publish"), "").await;
        assert!(published.data()["published_at"].is_string());
        assert_eq!(shown().await, json!([published.data()]));
        let changed = app.with_key(&mine).header("if-match", "\"2\"").put(&path, r#"{"url": "https://example.com/"}"#).await;
        assert_eq!((&changed.data()["version"], &changed.data()["title"]), (&json!(3), &json!("Dashboard")));
        app.with_key(&mine).header("if-match", "\"2\"").put(&path, "{}").await.refused(412, "precondition_failed");
        for wrong in
            [json!({"title": null}), json!({"url": "javascript:alert(1)"}), json!({"app_id": "app_0000000000000000000000"})]
        {
            app.with_key(&mine).put(&path, &wrong.to_string()).await.refused(400, "validation_error");
        }
        app.with_key(&mine).post(PROJECTS, "{}").await.refused(400, "validation_error");
        app.with_key(&other).get(&path).await.refused(404, "not_found");
        app.with_key(&other).put(&path, "{}").await.refused(404, "not_found");
        app.with_key(&other).delete(&path).await.refused(404, "not_found");
        app.with_key(&other).post(&format!("{path}/publish"), "").await.refused(404, "not_found");
        let summary = app.with_key(&mine).get("/api/v1/portfolio").await;
        assert_eq!((&summary.data()["projects"], &summary.data()["published"]), (&json!(1), &json!(1)));
        app.with_key(&mine).post(&format!("{path}/publish"), r#"{"published": false}"#).await.data();
        assert_eq!(shown().await, json!([]));
        app.with_key(&mine).delete(&path).await.data();
        app.with_key(&mine).get(&path).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn a_ticket_goes_between_its_account_and_the_operator_and_nobody_else_sees_it() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(&["read:user", "write:user"]).await;
        let (_, other) = app.account(&["read:user", "write:user"]).await;
        let made = app.with_key(&mine).post(TICKETS, r#"{"subject": "Late", "body": "Since noon."}"#).await;
        let path = format!("{TICKETS}/{}", made.id());
        assert_eq!(made.data()["state"], "open");
        app.with_key(&other).get(&path).await.refused(404, "not_found");
        app.with_key(&other).post(&format!("{path}/messages"), r#"{"body": "x"}"#).await.refused(404, "not_found");
        app.with_key(&other).post(&format!("{path}/close"), "").await.refused(404, "not_found");
        assert_eq!(app.with_key(&other).get(TICKETS).await.data()["items"], json!([]));
        let waiting = app.admin().get("/api/v1/admin/support/tickets?state=open").await;
        assert_eq!(waiting.data()["items"][0]["id"], made.id());
        let answered = app.admin().post(&format!("{path}/messages"), r#"{"body": "It is mended."}"#).await;
        assert_eq!(answered.data()["state"], "answered");
        app.with_key(&mine).post(&format!("{path}/messages"), r#"{"body": " \n"}"#).await.refused(400, "validation_error");
        app.with_key(&mine).post(&format!("{path}/close"), "").await.data();
        let again = app.with_key(&mine).post(&format!("{path}/messages"), r#"{"body": "Not quite."}"#).await;
        assert_eq!((&again.data()["state"], &again.data()["messages"]), (&json!("open"), &json!(3)));
        let whole = app.with_key(&mine).get(&path).await;
        let said: Vec<Value> =
            whole.data()["messages"].as_array().unwrap().iter().map(|m| json!([m["staff"], m["body"]])).collect();
        assert_eq!(said, [json!([false, "Since noon."]), json!([true, "It is mended."]), json!([false, "Not quite."])]);
    })
    .await;
}
