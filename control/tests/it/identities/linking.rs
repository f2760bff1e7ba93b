//! Linking what a provider says to a person who is signed in, and taking it away again.

use http::Method;
use serde_json::{Value, json};

use super::{Way, away, back, begin, counts, location, provider::Provider, signed_in, through, turned_away, with_providers};
use crate::{
    app::{Answer, TestApp, on_both},
    auth::{PASSWORD, cookies},
    factors::{code, turned_on},
};

use super::MINE;

async fn ask(app: &TestApp, session: &str, body: &Value) -> Answer {
    app.with_key(session).post(MINE, &body.to_string()).await
}

fn wish() -> Value {
    json!({"provider": "id", "password": PASSWORD, "return_to": "/portal/keys"})
}

/// Linked to whoever has the session.
async fn link(app: &TestApp, provider: &Provider, session: &str) -> Answer {
    let way: Way = away(&ask(app, session, &wish()).await);
    back(app.anyone(), &way.cookie, &provider.agree(&way.url)).await
}

async fn unlink(app: &TestApp, session: &str, id: &str) -> Answer {
    app.with_key(session).send(Method::DELETE, &format!("{MINE}/{id}"), "").await
}

async fn mine(app: &TestApp, session: &str) -> Vec<Value> {
    app.with_key(session).get(MINE).await.data()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_is_linked_by_the_password_signs_in_until_it_is_taken_away() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        let mut wrong = wish();
        wrong["password"] = "not the password".into();
        ask(&app, &session, &wrong).await.refused(401, "credentials_invalid");
        wrong = wish();
        wrong["provider"] = "nobody".into();
        ask(&app, &session, &wrong).await.refused(404, "not_found");

        // Whatever address it has there: she has shown that both are hers.
        provider.set(|knobs| knobs.claims["email"] = "ann@work.example".into());
        assert_eq!(location(&link(&app, &provider, &session).await), "/portal/keys");
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "Another way to sign in");
        let ann = signed_in(&app, &through(&app, &provider, "id").await).await;
        assert_eq!(ann["email"], "ann@example.com");
        let held = mine(&app, &session).await;
        assert_eq!((held.len(), &held[0]["provider"], &held[0]["email"]), (1, &json!("id"), &json!("ann@work.example")));
        // Once more is nothing new.
        assert_eq!(location(&link(&app, &provider, &session).await), "/portal/keys");
        assert_eq!(counts(&app).await, (2, 1));

        let id = held[0]["id"].as_str().unwrap();
        assert_eq!(unlink(&app, &session, id).await.data()["items"], json!([]));
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "A way to sign in was taken away");
        unlink(&app, &session, id).await.refused(404, "not_found");
        let actions = app.with_key(&session).get("/api/v1/audit?limit=100").await.body.to_string();
        assert!(actions.contains("identity.linked") && actions.contains("identity.unlinked"));
        // It is nobody's then, and no account's by its address.
        provider.set(|knobs| knobs.claims["email"] = "ann@example.com".into());
        turned_away(&through(&app, &provider, "id").await, "identity_unlinked");
    })
    .await;
}

#[tokio::test]
async fn an_identity_is_one_persons() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        app.person("ann@example.com").await;
        app.person("eve@example.com").await;
        let (ann, eve) = (app.session("ann@example.com").await, app.session("eve@example.com").await);
        link(&app, &provider, &ann).await;
        turned_away(&link(&app, &provider, &eve).await, "conflict");
        let id = mine(&app, &ann).await[0]["id"].as_str().unwrap().to_owned();
        unlink(&app, &eve, &id).await.refused(404, "not_found");
        assert_eq!((mine(&app, &ann).await.len(), mine(&app, &eve).await.len()), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn nothing_is_linked_to_a_session_that_has_ended_meanwhile() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        let way = away(&ask(&app, &session, &wish()).await);
        app.with_key(&session).post("/api/v1/auth/logout", "{}").await.data();
        turned_away(&back(app.anyone(), &way.cookie, &provider.agree(&way.url)).await, "session_expired");
        // And what was begun to sign in links nothing.
        assert_eq!(counts(&app).await, (2, 0));
    })
    .await;
}

#[tokio::test]
async fn the_second_factor_is_asked_for_after_a_provider_and_before_linking() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let (secret, codes) = turned_on(&app).await;
        let asked = app.login("ann@example.com", PASSWORD).await;
        let ticket = asked.data()["ticket"].as_str().unwrap();
        let session = app.auth("second-factor", &json!({"ticket": ticket, "code": codes[0]})).await;
        let session = session.data()["session"]["token"].as_str().unwrap().to_owned();
        ask(&app, &session, &wish()).await.refused(401, "second_factor_invalid");
        let mut with_code = wish();
        with_code["code"] = code(&secret, app.world.now_ms()).into();
        let way = away(&ask(&app, &session, &with_code).await);
        back(app.anyone(), &way.cookie, &provider.agree(&way.url)).await;

        let way = begin(&app, "id").await;
        let came = back(app.anyone(), &way.cookie, &provider.agree(&way.url)).await;
        let ticket = location(&came).strip_prefix("/portal/keys#second_factor=").unwrap().to_owned();
        assert!(cookies(&came).is_empty(), "no session before the factor was shown");
        app.auth("second-factor", &json!({"ticket": ticket, "code": "000000"})).await.refused(401, "second_factor_invalid");
        let signed_in = app.auth("second-factor", &json!({"ticket": ticket, "code": codes[1]})).await;
        assert_eq!(signed_in.data()["status"], "signed_in");
    })
    .await;
}

#[tokio::test]
async fn the_last_way_to_sign_in_stays() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let came = through(&app, &provider, "id").await;
        let session = cookies(&came).into_iter().find(|(name, ..)| name == "__Host-clearway_session").unwrap().1;
        let id = mine(&app, &session).await[0]["id"].as_str().unwrap().to_owned();
        unlink(&app, &session, &id).await.refused(409, "conflict");
        // A password by mail is another way.
        app.auth("reset-password", &json!({"email": "ann@example.com"})).await.data();
        let (_, token) = app.mailed("ann@example.com").await.unwrap();
        app.auth("reset-password/confirm", &json!({"token": token, "password": PASSWORD})).await.data();
        let session = app.session("ann@example.com").await;
        unlink(&app, &session, &id).await.data();
        assert_eq!(counts(&app).await, (2, 0));
    })
    .await;
}

#[tokio::test]
async fn identities_are_exported_and_erased_with_their_person() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        link(&app, &provider, &session).await;
        ask(&app, &session, &wish()).await.data();
        let export = app.with_key(&session).get("/api/v1/users/me/export").await;
        assert_eq!(export.data()["identities"][0]["subject"], "subject-1");
        let body = json!({ "password": PASSWORD }).to_string();
        app.with_key(&session).send(Method::DELETE, "/api/v1/users/me", &body).await.data();
        let asked: i64 = app.database.db.query("SELECT count(*) FROM provider_requests").scalar().await.unwrap();
        assert_eq!((counts(&app).await, asked), ((2, 0), 0));
    })
    .await;
}
