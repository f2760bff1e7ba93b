//! What an account lets an app do, and how that ends.

use serde_json::{Value, json};

use super::{DEVELOPER, content, judge, published};
use crate::app::{TestApp, on_both};

const INSTALLER: &[&str] = &[
    "read:apps",
    "write:apps",
    "read:events",
    "read:keys",
    "write:keys",
    "read:webhooks",
    "write:webhooks",
    "write:marketplace",
];
const PATH: &str = "/api/v1/installations";

async fn install(app: &TestApp, key: &str, body: Value) -> crate::app::Answer {
    app.world.advance(1);
    app.with_key(key).post(PATH, &body.to_string()).await
}

#[tokio::test]
async fn an_account_grants_what_it_chooses_between_what_is_needed_and_what_is_asked_for() {
    on_both(async |app: TestApp| {
        let (_, developer) = app.account(DEVELOPER).await;
        let id = published(&app, &developer, &content("Channels")).await;
        let (account, mine) = app.account(INSTALLER).await;
        let try_with = async |scopes: &[&str]| install(&app, &mine, json!({"app": id, "scopes": scopes})).await;
        try_with(&["read:keys"]).await.refused(400, "validation_error");
        try_with(&["read:events", "write:keys"]).await.refused(400, "validation_error");
        try_with(&["read:events", "admin:platform"]).await.refused(400, "validation_error");
        let (_, poor) = app.account(&["write:apps"]).await;
        install(&app, &poor, json!({"app": id})).await.refused(403, "scope_missing");
        install(&app, &mine, json!({"app": "nothing-of-the-kind"})).await.refused(404, "not_found");

        let made = install(&app, &mine, json!({"app": "channels"})).await;
        assert_eq!((&made.data()["scopes"], &made.data()["account_id"]), (&json!(["read:events"]), &json!(account)));
        install(&app, &mine, json!({"app": id})).await.refused(409, "conflict");
        let path = format!("{PATH}/{}", made.id());
        let wider =
            app.with_key(&mine).header("if-match", "\"1\"").put(&path, r#"{"scopes": ["read:events", "read:keys"]}"#).await;
        assert_eq!((&wider.data()["version"], &wider.data()["propagation"]), (&json!(2), &Value::Null));
        app.with_key(&mine)
            .header("if-match", "\"1\"")
            .put(&path, r#"{"scopes": ["read:events"]}"#)
            .await
            .refused(412, "precondition_failed");
        assert_eq!(app.anyone().get(&format!("/api/v1/apps/{id}")).await.data()["install_count"], 1);
        assert_eq!(app.with_key(&mine).get(PATH).await.data()["items"].as_array().unwrap().len(), 1);

        let (_, other) = app.account(INSTALLER).await;
        app.with_key(&other).get(&path).await.refused(404, "not_found");
        app.with_key(&other).put(&path, r#"{"scopes": ["read:events"]}"#).await.refused(404, "not_found");
        app.with_key(&other).delete(&path).await.refused(404, "not_found");
        app.with_key(&other).delete(&format!("/api/v1/apps/{}/uninstall", made.id())).await.refused(404, "not_found");
        app.with_key(&developer).get(&path).await.refused(404, "not_found");
        assert_eq!(app.with_key(&other).get(PATH).await.data()["items"], json!([]));

        judge(&app, &id, "suspend").await.data();
        install(&app, &other, json!({"app": id})).await.refused(409, "conflict");
    })
    .await;
}

#[tokio::test]
async fn whatever_belongs_to_an_app_ends_with_its_installation() {
    on_both(async |app: TestApp| {
        let (developers, developer) = app.account(DEVELOPER).await;
        let id = published(&app, &developer, &content("Channels")).await;
        let (account, mine) = app.account(INSTALLER).await;
        let body = json!({"app": id, "scopes": ["read:events", "read:keys"]}).to_string();
        let made = app.with_key(&mine).header("idempotency-key", "once").post("/api/v1/apps/install", &body).await;
        let again = app.with_key(&mine).header("idempotency-key", "once").post("/api/v1/apps/install", &body).await;
        assert_eq!(made.data(), again.data());
        let path = format!("{PATH}/{}", made.id());
        let key = async |scopes: &[&str]| {
            app.world.advance(1);
            app.with_key(&mine).post("/api/v1/keys", &json!({"name": "app", "scopes": scopes}).to_string()).await
        };
        let (reader, lister) = (key(&["read:events"]).await, key(&["read:keys"]).await);
        let hook = app.with_key(&mine).post("/api/v1/webhooks", r#"{"url": "https://example.com/", "events": ["app.*"]}"#).await;
        let tie = async |what: &str, id: &str| app.with_key(&mine).put(&format!("{path}/{what}/{id}"), "").await;
        let keys = app.with_key(&mine).get("/api/v1/keys").await;
        let own = keys.data()["items"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        tie("keys", &own).await.refused(409, "conflict");
        tie("keys", reader.id()).await.data();
        tie("keys", lister.id()).await.data();
        tie("keys", lister.id()).await.data();
        let whole = tie("webhooks", hook.id()).await;
        assert_eq!(whole.data()["keys"], json!([reader.id(), lister.id()]));
        assert_eq!(whole.data()["webhooks"], json!([hook.id()]));

        let narrowed = app.with_key(&mine).put(&path, r#"{"scopes": ["read:events"]}"#).await;
        assert!(narrowed.data()["propagation"].is_object());
        let status = async |id: &str| app.with_key(&mine).get(&format!("/api/v1/keys/{id}")).await.data()["status"].clone();
        assert_eq!((status(reader.id()).await, status(lister.id()).await), (json!("active"), json!("revoked")));
        app.with_key(lister.secret()).get("/api/v1/keys").await.refused(401, "key_revoked");

        let ended = app.with_key(&mine).delete(&path).await;
        assert!(ended.data()["uninstalled_at"].is_string());
        assert_eq!(status(reader.id()).await, json!("revoked"));
        assert_eq!(status(&own).await, json!("active"));
        app.with_key(&mine).get(&format!("/api/v1/webhooks/{}", hook.id())).await.refused(404, "not_found");
        app.with_key(&mine).delete(&path).await.refused(404, "not_found");
        tie("keys", &own).await.refused(404, "not_found");
        let rows: Vec<(String, String)> = app
            .database
            .db
            .query("SELECT account_id, type FROM events WHERE type IN ('app.installed', 'app.uninstalled') ORDER BY sequence")
            .all()
            .await
            .unwrap();
        let told = |of: &str| rows.iter().filter(|(account, _)| account == of).map(|(_, kind)| kind.as_str()).collect::<Vec<_>>();
        assert_eq!(told(&account), ["app.installed", "app.uninstalled"]);
        assert_eq!(told(&developers), ["app.installed", "app.uninstalled"]);

        install(&app, &mine, json!({"app": id})).await.data();
        let fares = app.with_key(&developer).get(&format!("/api/v1/developer/apps/{id}/analytics?days=1")).await;
        assert_eq!((&fares.data()["installs"], &fares.data()["uninstalls"]), (&json!(2), &json!(1)));
        assert_eq!((&fares.data()["total"]["installs"], &fares.data()["series"][0]["day"]), (&json!(1), &json!("2026-11-20")));
        app.with_key(&mine).get(&format!("/api/v1/developer/apps/{id}/analytics")).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn two_who_install_at_once_have_the_app_once() {
    on_both(async |app: TestApp| {
        let (_, developer) = app.account(DEVELOPER).await;
        let id = published(&app, &developer, &content("Channels")).await;
        let (_, mine) = app.account(INSTALLER).await;
        let body = json!({"app": id}).to_string();
        let one = async || app.with_key(&mine).post(PATH, &body).await.status.as_u16();
        let mut both = <[u16; 2]>::from(tokio::join!(one(), one()));
        both.sort_unstable();
        assert_eq!(both, [201, 409]);
        assert_eq!(app.anyone().get(&format!("/api/v1/apps/{id}")).await.data()["install_count"], 1);
    })
    .await;
}
