//! What people do about themselves.

use http::Method;
use serde_json::json;

use crate::{
    app::{TestApp, on_both},
    auth::PASSWORD,
    databases::Engine,
};

const ME: &str = "/api/v1/users/me";

#[tokio::test]
async fn a_name_is_changed_by_whoever_has_seen_the_last_one() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        let read = app.with_key(&session).get(ME).await;
        let tag = read.headers["etag"].to_str().unwrap().to_owned();
        let rename = async |name: &str, tag: &str| {
            app.with_key(&session).header("if-match", tag).send(Method::PATCH, ME, &json!({ "name": name }).to_string()).await
        };
        assert_eq!(rename("Ann Miller", &tag).await.data()["name"], "Ann Miller");
        rename("Somebody", &tag).await.refused(412, "precondition_failed");
        rename("", "\"2\"").await.refused(400, "validation_error");
        assert_eq!(app.with_key(&session).get(ME).await.data()["name"], "Ann Miller");
    })
    .await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_their_person_only() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        app.person("eve@example.com").await;
        let (one, two, eve) =
            (app.session("ann@example.com").await, app.session("ann@example.com").await, app.session("eve@example.com").await);
        let list = app.with_key(&one).get(&format!("{ME}/sessions")).await;
        let items = list.data()["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        assert_eq!(items.iter().filter(|session| session["current"] == true).count(), 1);
        assert!(!list.body.to_string().contains("clws_"), "no token is told");
        let other = items.iter().find(|session| session["current"] == false).unwrap()["id"].as_str().unwrap().to_owned();
        let path = format!("{ME}/sessions/{other}");
        app.with_key(&eve).delete(&path).await.refused(404, "not_found");
        app.with_key(&one).delete(&path).await.data();
        app.with_key(&one).delete(&path).await.refused(404, "not_found");
        app.with_key(&two).get(ME).await.refused(401, "session_expired");
        let three = app.session("ann@example.com").await;
        assert_eq!(app.with_key(&one).delete(&format!("{ME}/sessions")).await.data(), &json!({"ended": 1}));
        app.with_key(&three).get(ME).await.refused(401, "session_expired");
        assert_eq!(app.with_key(&eve).get(ME).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_password_is_changed_by_whoever_knows_it() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        let (session, other) = (app.session("ann@example.com").await, app.session("ann@example.com").await);
        let change = async |current: &str, fresh: &str| {
            let body = json!({"current_password": current, "password": fresh}).to_string();
            app.with_key(&session).post(&format!("{ME}/password"), &body).await
        };
        change("not the password", "a wholly new one").await.refused(401, "credentials_invalid");
        change(PASSWORD, "password1").await.refused(400, "validation_error");
        app.with_key(&other).get(ME).await.data();
        change(PASSWORD, "a wholly new one").await.data();
        app.with_key(&other).get(ME).await.refused(401, "session_expired");
        app.with_key(&session).get(ME).await.data();
        app.login("ann@example.com", PASSWORD).await.refused(401, "credentials_invalid");
        app.login("ann@example.com", "a wholly new one").await.data();
    })
    .await;
}

#[tokio::test]
async fn whoever_has_a_session_only_cannot_try_passwords_for_long() {
    let app = TestApp::new(Engine::Sqlite).await;
    app.person("ann@example.com").await;
    let session = app.session("ann@example.com").await;
    let change = async |current: &str| {
        let body = json!({"current_password": current, "password": "a wholly new one"}).to_string();
        app.with_key(&session).post(&format!("{ME}/password"), &body).await
    };
    for _ in 0..10 {
        change("not the password").await.refused(401, "credentials_invalid");
    }
    change(PASSWORD).await.refused(429, "sign_in_locked");
    app.session("ann@example.com").await;
}

#[tokio::test]
async fn an_address_is_changed_once_the_new_one_is_proved_and_the_old_one_is_told() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        app.person("eve@example.com").await;
        let (session, eve) = (app.session("ann@example.com").await, app.session("eve@example.com").await);
        let ask = async |email: &str, password: &str| {
            app.world.advance(1);
            let body = json!({"email": email, "password": password}).to_string();
            app.with_key(&session).post(&format!("{ME}/email"), &body).await
        };
        ask("ann@example.net", "not the password").await.refused(401, "credentials_invalid");
        assert_eq!(ask("ann@example.net", PASSWORD).await.status, 202);
        assert_eq!(ask("eve@example.com", PASSWORD).await.status, 202, "whether it is somebody's is not told");
        assert_ne!(app.mailed("eve@example.com").await.unwrap().0, "Confirm your new address");
        let (_, token) = app.mailed("ann@example.net").await.unwrap();
        let confirm = async |session: &str| {
            app.world.advance(1);
            app.with_key(session).post(&format!("{ME}/email/confirm"), &json!({ "token": token }).to_string()).await
        };
        confirm(&eve).await.refused(400, "one_time_token_invalid");
        assert_eq!(confirm(&session).await.data()["email"], "ann@example.net");
        confirm(&session).await.refused(400, "one_time_token_invalid");
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "Your address was changed");
        app.login("ann@example.com", PASSWORD).await.refused(401, "credentials_invalid");
        app.login("ann@example.net", PASSWORD).await.data();
    })
    .await;
}
