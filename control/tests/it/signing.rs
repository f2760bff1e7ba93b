use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::app::{Answer, TestApp, on_both};

const ALL: &[&str] = &["read:keys", "write:keys"];

/// The signing secret that an answer shows.
#[track_caller]
fn shown(answer: &Answer) -> String {
    let shown = answer.data()["signing_secret"].as_str().unwrap().to_owned();
    assert_eq!(STANDARD.decode(&shown).unwrap().len(), 32);
    assert_eq!(answer.headers["cache-control"], "no-store");
    shown
}

#[tokio::test]
async fn a_signing_secret_is_shown_once_by_whatever_makes_it() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(ALL).await;
        let made = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "s", "require_signature": true}"#).await;
        let first = shown(&made);
        assert_eq!(made.data()["require_signature"], true);
        let id = made.id().to_owned();
        let rotated = app.with_key(&mine).post(&format!("/api/v1/keys/{id}/rotate"), "").await;
        assert_ne!(shown(&rotated), first);
        let read = app.with_key(&mine).get(&format!("/api/v1/keys/{id}")).await;
        assert_eq!(read.data()["require_signature"], true);
        let list = app.with_key(&mine).get("/api/v1/keys").await;
        for seen in [&read.body, &list.body] {
            let seen = seen.to_string();
            assert!(!seen.contains("signing_secret") && !seen.contains(&first));
        }
        let plain = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "p"}"#).await;
        assert_eq!(plain.data().get("signing_secret"), None);
    })
    .await;
}

#[tokio::test]
async fn an_update_makes_and_forgets_the_signing_secret() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(ALL).await;
        let id = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "u"}"#).await.id().to_owned();
        let path = format!("/api/v1/keys/{id}");
        let put = async |body: &str| {
            app.world.advance(1);
            app.with_key(&mine).put(&path, body).await
        };
        let first = shown(&put(r#"{"require_signature": true}"#).await);
        assert_eq!(put(r#"{"require_signature": true}"#).await.data().get("signing_secret"), None, "nothing has changed");
        assert_eq!(put(r#"{"require_signature": null}"#).await.data()["require_signature"], false);
        assert_ne!(shown(&put(r#"{"require_signature": true}"#).await), first);
        put(r#"{"require_signature": "yes"}"#).await.refused(400, "validation_error");
        let log = app.admin().get(&format!("/api/v1/audit?account_id={account}&action=key.updated")).await;
        let said = log.body.to_string();
        assert!(!said.contains(&first));
        let changed: Vec<&Value> =
            log.data()["items"].as_array().unwrap().iter().map(|entry| &entry["changes"]["require_signature"]["after"]).collect();
        assert_eq!(changed, [true, false, true].map(Value::from).iter().collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn a_repeated_creation_does_not_show_the_signing_secret_again() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(ALL).await;
        let make = async || {
            let client = app.with_key(&mine).header("idempotency-key", "once");
            client.post("/api/v1/keys", r#"{"name": "i", "require_signature": true}"#).await
        };
        let first = make().await;
        shown(&first);
        let again = make().await;
        assert_eq!(again.id(), first.id());
        assert_eq!((&again.data()["secret"], again.data().get("signing_secret")), (&Value::Null, None));
    })
    .await;
}

#[tokio::test]
async fn a_key_that_requires_signatures_is_not_taken_here_and_does_not_lock_itself_out() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(ALL).await;
        let body = r#"{"name": "s", "scopes": ["read:keys"], "require_signature": true}"#;
        let signs = app.with_key(&mine).post("/api/v1/keys", body).await;
        app.with_key(signs.secret()).get("/api/v1/keys").await.refused(401, "signature_missing");
        let list = app.with_key(&mine).get("/api/v1/keys").await;
        let own = list.data()["items"].as_array().unwrap().iter().find(|key| key["name"] == "first").unwrap();
        let own = own["id"].as_str().unwrap();
        let locked = app.with_key(&mine).put(&format!("/api/v1/keys/{own}"), r#"{"require_signature": true}"#).await;
        locked.refused(409, "conflict");
    })
    .await;
}
