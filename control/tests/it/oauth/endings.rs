//! What ends with something else: an installation, a membership, a person.

use serde_json::{Value, json};

use super::{Browser, CLIENTS, Stand, claims, redirected, refused, text};
use crate::{
    app::{Answer, TestApp, on_both},
    marketplace::{DEVELOPER, content, judge, published},
};

const INSTALLATIONS: &str = "/api/v1/installations";

/// A stand whose application is that of a developer's app, which is published.
async fn of_an_app(app: TestApp) -> (Stand, String, String) {
    let (_, developer) = app.account(DEVELOPER).await;
    let id = published(&app, &developer, &content("Channels")).await;
    let mut stand = Stand::new(app).await;
    let body = json!({"name": "Channels", "redirect_uris": [super::REDIRECT], "scopes": ["read:events", "read:keys"]});
    let made = stand.app.with_key(&developer).post(CLIENTS, &body.to_string()).await;
    (stand.client, stand.secret) = (made.id().to_owned(), made.data()["client_secret"].as_str().unwrap().to_owned());
    (stand, id, developer)
}

async fn link(stand: &Stand, developer: &str, app: &str, client: &str) -> Answer {
    let body = json!({ "client_id": client }).to_string();
    stand.app.with_key(developer).put(&format!("/api/v1/apps/{app}/client"), &body).await
}

async fn install(stand: &Stand, app: &str, scopes: &[&str]) -> String {
    stand.app.world.advance(1);
    let body = json!({"app": app, "scopes": scopes}).to_string();
    stand.app.with_key(&stand.bearer).post(INSTALLATIONS, &body).await.id().to_owned()
}

const BOTH: &[(&str, &str)] = &[("scope", "read:events read:keys")];

async fn tokens(stand: &Stand) -> Answer {
    let back = redirected(&stand.decide(BOTH).await);
    let answer = stand.redeem(back["code"].as_str().unwrap_or_else(|| panic!("{back}")), &[]).await;
    assert!(answer.status.is_success(), "{:#}", answer.body);
    answer
}

/// How far the end has been told, which an answer that did not wait could not say.
#[track_caller]
fn waited(answer: &Answer) {
    assert!(answer.data()["propagation"].is_object(), "{:#}", answer.body);
}

#[tokio::test]
async fn an_app_is_let_do_what_it_was_installed_for_until_it_is_uninstalled() {
    on_both(async |app: TestApp| {
        let (stand, id, developer) = of_an_app(app).await;
        let before = tokens(&stand).await;
        waited(&link(&stand, &developer, &id, &stand.client).await);
        assert!(!stand.is_active(text(&before, "access_token")).await, "it was let do that as something else");
        refused(&stand.refresh(text(&before, "refresh_token")).await, 400, "invalid_grant");
        assert_eq!(redirected(&stand.decide(BOTH).await)["error"], "access_denied", "it is not installed");

        let installation = install(&stand, &id, &["read:events"]).await;
        let issued = tokens(&stand).await;
        assert_eq!(text(&issued, "scope"), "read:events", "no more than it was installed for");
        let path = format!("{INSTALLATIONS}/{installation}");
        stand.app.with_key(&stand.bearer).put(&path, r#"{"scopes": ["read:events", "read:keys"]}"#).await.data();
        let wide = tokens(&stand).await;
        assert_eq!(text(&wide, "scope"), "read:events read:keys");
        waited(&stand.app.with_key(&stand.bearer).put(&path, r#"{"scopes": ["read:events"]}"#).await);
        assert!(!stand.is_active(text(&wide, "access_token")).await, "it has more than is granted");
        assert!(stand.is_active(text(&issued, "access_token")).await);

        let other = Stand { client: stand.register(&json!({})).await.0, ..stand };
        let elsewhere = redirected(&other.decide(&[]).await)["code"].clone();
        assert!(elsewhere.is_string());
        let (client, secret) = (claims(text(&issued, "access_token"))["client_id"].as_str().unwrap().to_owned(), &other.secret);
        waited(&other.app.with_key(&other.bearer).delete(&path).await);
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", text(&issued, "refresh_token"))];
        refused(&other.token_as(&client, secret, &pairs).await, 400, "invalid_grant");
        other.app.with_key(text(&issued, "access_token")).get("/api/v1/events").await.refused(401, "token_invalid");
        let grants = other.app.with_key(&other.bearer).get("/api/v1/oauth/grants").await;
        let left: Vec<_> = grants.data()["items"].as_array().unwrap().iter().map(|grant| grant["client_id"].clone()).collect();
        assert_eq!(left, [json!(other.client)], "what others were let do goes on");
        let log = other.app.with_key(&other.bearer).get("/api/v1/audit?action=oauth_grant.revoked").await;
        assert_eq!(log.data()["items"][0]["changes"]["revoked_for"]["after"], "installation", "{:#}", log.body);
    })
    .await;
}

#[tokio::test]
async fn an_app_has_one_client_of_its_own_account_which_is_not_deleted_under_it() {
    on_both(async |app: TestApp| {
        let (stand, id, developer) = of_an_app(app).await;
        link(&stand, &stand.bearer, &id, &stand.client).await.refused(404, "not_found");
        let (strange, _) = stand.register(&json!({})).await;
        link(&stand, &developer, &id, &strange).await.refused(400, "validation_error");
        let path = format!("/api/v1/apps/{id}/client");
        let read = async || {
            let read = stand.app.with_key(&developer).get(&format!("/api/v1/developer/apps/{id}/client")).await;
            read.data()["client_id"].clone()
        };
        assert_eq!(read().await, Value::Null);
        link(&stand, &developer, &id, &stand.client).await.data();
        assert_eq!(read().await, json!(stand.client));
        let again = link(&stand, &developer, &id, &stand.client).await;
        assert_eq!(again.data()["propagation"], Value::Null, "nothing has changed");
        let other = published(&stand.app, &developer, &content("Others")).await;
        link(&stand, &developer, &other, &stand.client).await.refused(409, "conflict");
        let (_, deleter) = stand.app.account(&["write:apps"]).await;
        stand.app.with_key(&deleter).delete(&path).await.refused(404, "not_found");
        stand.app.admin().delete(&format!("{CLIENTS}/{}", stand.client)).await.refused(409, "conflict");
        install(&stand, &id, &["read:events", "read:keys"]).await;
        let issued = tokens(&stand).await;
        judge(&stand.app, &id, "suspend").await.data();
        assert!(!stand.is_active(text(&issued, "access_token")).await, "a suspended app is let do nothing");
        refused(&stand.refresh(text(&issued, "refresh_token")).await, 400, "invalid_grant");
        waited(&stand.app.with_key(&developer).delete(&path).await);
        assert_eq!(read().await, Value::Null);
        stand.app.admin().delete(&format!("{CLIENTS}/{}", stand.client)).await.data();
    })
    .await;
}

#[tokio::test]
async fn what_a_person_has_let_do_ends_with_their_membership_and_with_them() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        // Bob is a member of Ann's account, and lets her application act there and in his own.
        stand.app.person("bob@example.com").await;
        let invite = r#"{"email": "bob@example.com", "role": "developer"}"#;
        stand.app.with_key(&stand.bearer).post("/api/v1/members/invitations", invite).await.data();
        let (_, token) = stand.app.mailed("bob@example.com").await.unwrap();
        let bob = stand.app.session("bob@example.com").await;
        let accept = json!({ "token": token }).to_string();
        let joined = stand.app.with_key(&bob).post("/api/v1/invitations/accept", &accept).await;
        let id = joined.data()["user"]["id"].as_str().unwrap().to_owned();
        let browsing = Browser::of(&stand.app, "bob@example.com").await;
        let here = stand.account.clone();
        let there = browsing.account.clone();
        let given = async |account: &str| {
            let back = redirected(&stand.decide_as(&browsing, &[("account_id", account)]).await);
            stand.redeem(back["code"].as_str().unwrap_or_else(|| panic!("{back}")), &[]).await
        };
        let (ours, his) = (given(&here).await, given(&there).await);
        let removed = stand.app.with_key(&stand.bearer).delete(&format!("/api/v1/members/{id}")).await;
        waited(&removed);
        assert!(!stand.is_active(text(&ours, "access_token")).await);
        refused(&stand.refresh(text(&ours, "refresh_token")).await, 400, "invalid_grant");
        assert!(stand.is_active(text(&his, "access_token")).await, "in his own account he is who he was");

        let suspend = format!("/api/v1/admin/users/{id}/suspend");
        stand.app.admin().post(&suspend, r#"{"reason": "spam"}"#).await.data();
        assert!(!stand.is_active(text(&his, "access_token")).await);
        stand.app.admin().post(&format!("/api/v1/admin/users/{id}/resume"), "").await.data();
        refused(&stand.refresh(text(&his, "refresh_token")).await, 400, "invalid_grant");
        assert!(!stand.is_active(text(&his, "access_token")).await, "it does not come back with him");

        let again = Browser::of(&stand.app, "bob@example.com").await;
        let back = redirected(&stand.decide_as(&again, &[]).await);
        let last = stand.redeem(back["code"].as_str().unwrap(), &[]).await;
        let session = stand.app.session("bob@example.com").await;
        let erase = json!({"password": crate::auth::PASSWORD}).to_string();
        let erased = stand.app.with_key(&session).send(http::Method::DELETE, "/api/v1/users/me", &erase).await;
        waited(&erased);
        assert!(!stand.is_active(text(&last, "access_token")).await);
        refused(&stand.refresh(text(&last, "refresh_token")).await, 400, "invalid_grant");
        let told: i64 =
            stand.app.database.db.query("SELECT count(*) FROM changes WHERE kind = 'oauth_revocation'").scalar().await.unwrap();
        assert!(told >= 3, "proxies are told of each: {told}");
    })
    .await;
}

/// Everything that is stored of a person is theirs to have.
#[tokio::test]
async fn what_a_person_has_let_do_is_in_their_export_without_any_token() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let issued = stand.tokens().await;
        let export = stand.app.with_key(&stand.bearer).get("/api/v1/users/me/export").await;
        let given = export.data()["oauth_grants"].as_array().unwrap();
        assert_eq!((given.len(), &given[0]["client_id"]), (1, &json!(stand.client)), "{:#}", export.body);
        assert_eq!((&given[0]["scopes"], &given[0]["account_id"]), (&json!(["read:keys"]), &json!(stand.account)));
        let all = export.body.to_string();
        for secret in [text(&issued, "access_token"), text(&issued, "refresh_token"), &stand.secret] {
            assert!(!all.contains(secret));
        }
    })
    .await;
}
