//! Signing in by a provider, as people do it and as those do who would be them.

mod attacks;
mod joining;
mod linking;
pub(crate) mod provider;

use clearway_config::settings::process::Registration;
use serde_json::{Value, json};

use self::provider::Provider;
use crate::{
    app::{Answer, Client, TestApp, on_both},
    auth::{PASSWORD, cookies},
};

const AUTH: &str = "/api/v1/auth/providers";
pub(crate) const MINE: &str = "/api/v1/users/me/identities";

/// A browser on its way: where it was sent, and what it is known by.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) url: String,
    pub(crate) cookie: String,
}

pub(crate) fn away(answer: &Answer) -> Way {
    let url = answer.data()["url"].as_str().unwrap().to_owned();
    let (name, value, attributes) = cookies(answer).remove(0);
    assert_eq!(attributes, "Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax");
    Way { url, cookie: format!("{name}={value}") }
}

/// With two providers.
pub(crate) async fn with_providers(app: TestApp) -> (TestApp, Provider, Provider) {
    let (first, second) = (Provider::start().await, Provider::start().await);
    let providers = first.providers(&second);
    (app.with(|api| api.providers = providers), first, second)
}

async fn begin(app: &TestApp, provider: &str) -> Way {
    away(&app.anyone().post(&format!("{AUTH}/{provider}"), r#"{"return_to": "/portal/keys"}"#).await)
}

pub(crate) async fn back(client: Client<'_>, cookie: &str, path: &str) -> Answer {
    client.header("cookie", cookie).header("sec-fetch-site", "cross-site").get(path).await
}

/// There and back, by the browser that began.
async fn through(app: &TestApp, provider: &Provider, name: &str) -> Answer {
    let way = begin(app, name).await;
    back(app.anyone(), &way.cookie, &provider.agree(&way.url)).await
}

#[track_caller]
pub(crate) fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{:#}", answer.body);
    answer.headers["location"].to_str().unwrap()
}

/// The person whose session the browser was given.
async fn signed_in(app: &TestApp, answer: &Answer) -> Value {
    assert_eq!(location(answer), "/portal/keys");
    let session = cookies(answer).into_iter().find(|(name, ..)| name == "__Host-clearway_session").unwrap();
    let current = app.anyone().header("cookie", &format!("{}={}", session.0, session.1)).get("/api/v1/auth/user").await;
    current.data()["user"].clone()
}

#[track_caller]
fn turned_away(answer: &Answer, code: &str) {
    assert_eq!(location(answer), format!("/portal/keys#error={code}"));
    assert!(!answer.headers.contains_key("set-cookie"));
}

/// How many people there are, and identities.
pub(crate) async fn counts(app: &TestApp) -> (i64, i64) {
    let people = app.database.db.query("SELECT count(*) FROM users").scalar().await.unwrap();
    (people, app.database.db.query("SELECT count(*) FROM identities").scalar().await.unwrap())
}

#[tokio::test]
async fn whoever_comes_from_a_provider_becomes_a_person_and_is_the_same_the_next_time() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let listed = app.anyone().get(AUTH).await;
        assert_eq!(listed.data()["providers"][1], json!({"name": "id", "title": "Example ID"}));
        for name in ["id", "github"] {
            // Another person for each: nobody has the address twice.
            let email = format!("ann.{name}@example.com");
            provider.set(|knobs| {
                knobs.claims["email"] = email.as_str().into();
                knobs.emails[1]["email"] = email.as_str().into();
            });
            let first = signed_in(&app, &through(&app, &provider, name).await).await;
            assert_eq!((&first["email"], &first["name"]), (&json!(email), &json!("Ann")), "{name}");
            // The address may change at the provider: the person stays.
            provider.set(|knobs| {
                knobs.claims["email"] = "other@example.com".into();
                knobs.emails[1]["email"] = "other@example.com".into();
            });
            let again = signed_in(&app, &through(&app, &provider, name).await).await;
            assert_eq!((&again["id"], &again["email"]), (&first["id"], &json!(email)));
            app.login(&email, "").await.refused(401, "credentials_invalid");
        }
        assert_eq!(counts(&app).await, (3, 2));
        let actions = app.admin().get("/api/v1/audit?limit=100&action=identity.linked").await.body.to_string();
        assert!(actions.contains("identity.linked") && !actions.contains("example.com"), "the log holds no address");
        app.anyone().post(&format!("{AUTH}/nobody"), "{}").await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn an_address_that_only_userinfo_says_is_taken_from_there() {
    let (app, provider, _) = with_providers(TestApp::new(crate::databases::Engine::Sqlite).await).await;
    provider.set(|knobs| {
        knobs.claims = json!({"email": null, "email_verified": null});
        knobs.userinfo = json!({"sub": "subject-1", "email": "eve@example.com", "email_verified": true});
    });
    let eve = signed_in(&app, &through(&app, &provider, "id").await).await;
    assert_eq!(eve["email"], "eve@example.com");
    provider.set(|knobs| knobs.userinfo["sub"] = "another".into());
    turned_away(&through(&app, &provider, "id").await, "provider_unusable");
}

#[tokio::test]
async fn who_may_become_a_person_is_for_the_settings_to_say() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        signed_in(&app, &through(&app, &provider, "id").await).await;
        let app = app.with(|api| api.registration = Registration::Invited);
        signed_in(&app, &through(&app, &provider, "id").await).await;
        provider.set(|knobs| knobs.claims = json!({"sub": "subject-2", "email": "bob@example.com"}));
        turned_away(&through(&app, &provider, "id").await, "registration_closed");
        assert_eq!(counts(&app).await, (2, 1));
    })
    .await;
}

#[tokio::test]
async fn an_address_proves_nothing_by_itself() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        for email_verified in [json!(false), json!("true"), json!(1), Value::Null] {
            provider.set(|knobs| knobs.claims["email_verified"] = email_verified);
            turned_away(&through(&app, &provider, "id").await, "provider_address_unverified");
        }
        provider.set(|knobs| knobs.claims = json!({"email": "not an address"}));
        turned_away(&through(&app, &provider, "id").await, "provider_address_unverified");
        provider.set(|knobs| knobs.emails[1]["verified"] = false.into());
        turned_away(&through(&app, &provider, "github").await, "provider_address_unverified");
        // A verified address that is not the primary one is not taken in its place.
        provider.set(|knobs| knobs.emails = json!([{"email": "ann@example.com", "primary": false, "verified": true}]));
        turned_away(&through(&app, &provider, "github").await, "provider_address_unverified");
        assert_eq!(counts(&app).await, (1, 0));
    })
    .await;
}

#[tokio::test]
async fn somebody_elses_address_opens_nothing_of_theirs() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        app.person("ann@example.com").await;
        for name in ["id", "github"] {
            turned_away(&through(&app, &provider, name).await, "identity_unlinked");
        }
        provider.set(|knobs| knobs.claims["email"] = "admin@example.com".into());
        turned_away(&through(&app, &provider, "id").await, "identity_unlinked");
        assert_eq!(counts(&app).await, (2, 0));
        assert_eq!(app.login("ann@example.com", PASSWORD).await.data()["status"], "signed_in");
    })
    .await;
}

#[tokio::test]
async fn a_suspended_person_is_not_let_in_by_a_provider_either() {
    on_both(async |app: TestApp| {
        let (app, provider, _) = with_providers(app).await;
        let ann = signed_in(&app, &through(&app, &provider, "id").await).await;
        let path = format!("/api/v1/admin/users/{}/suspend", ann["id"].as_str().unwrap());
        app.admin().post(&path, r#"{"reason": "spam"}"#).await.data();
        turned_away(&through(&app, &provider, "id").await, "account_suspended");
    })
    .await;
}
