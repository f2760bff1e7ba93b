//! What whoever runs Clearway does about people.

use http::Method;
use serde_json::{Value, json};

use crate::{
    app::{Answer, TestApp, on_both},
    auth::PASSWORD,
};

const USERS: &str = "/api/v1/admin/users";
const ME: &str = "/api/v1/users/me";

/// Ann's id and session.
async fn ann(app: &TestApp) -> (String, String) {
    app.person("ann@example.com").await;
    let session = app.session("ann@example.com").await;
    (app.with_key(&session).get(ME).await.id().to_owned(), session)
}

async fn admin_session(app: &TestApp) -> String {
    let signed_in = app.login("admin@example.com", &app.admin_password.clone()).await;
    signed_in.data()["session"]["token"].as_str().unwrap().to_owned()
}

async fn impersonate(app: &TestApp, by: &str, id: &str, body: Value) -> Answer {
    app.with_key(by).post(&format!("{USERS}/{id}/impersonate"), &body.to_string()).await
}

#[tokio::test]
async fn people_are_found_by_how_words_of_their_address_or_name_begin() {
    on_both(async |app: TestApp| {
        let (id, session) = ann(&app).await;
        app.person("b_b@example.com").await;
        let found = async |query: &str| {
            let page = app.admin().get(&format!("{USERS}?{query}")).await;
            let items = page.data()["items"].as_array().unwrap().clone();
            items.iter().map(|user| user["email"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("").await.len(), 3);
        assert_eq!(found("search=B_B@ex").await, ["b_b@example.com"]);
        assert_eq!(found(&format!("search={id}")).await, ["ann@example.com"]);
        assert_eq!(found("search=xample").await, Vec::<String>::new(), "it begins no word");
        assert_eq!(found("search=example+com").await.len(), 3);
        assert_eq!(found("search=example&limit=2").await.len(), 2);
        assert_eq!(found("search=%22%2A+OR").await, Vec::<String>::new(), "nothing in it is of an engine's language");
        assert_eq!(found("search=%25").await, Vec::<String>::new());
        assert_eq!(found("status=suspended").await, Vec::<String>::new());
        assert_eq!(found("limit=1").await.len(), 1);
        app.admin().get(&format!("{USERS}?status=gone")).await.refused(400, "validation_error");

        let read = app.admin().get(&format!("{USERS}/{id}")).await;
        assert_eq!((&read.data()["status"], &read.data()["sessions"]), (&json!("active"), &json!(1)));
        assert_eq!(read.data()["memberships"][0]["role"], "owner");
        let tag = read.headers["etag"].to_str().unwrap().to_owned();
        let rename =
            async || app.admin().header("if-match", &tag).put(&format!("{USERS}/{id}"), r#"{"name": "Ann Miller"}"#).await;
        assert_eq!(rename().await.data()["name"], "Ann Miller");
        assert_eq!(found("search=mill+ann").await, ["ann@example.com"]);
        let again = app.admin().put(&format!("{USERS}/{id}"), r#"{"name": "Ann Smith"}"#).await;
        assert_eq!(again.data()["name"], "Ann Smith");
        assert_eq!(found("search=miller").await, Vec::<String>::new(), "she is called so no more");
        assert_eq!(found("search=smith").await, ["ann@example.com"]);
        rename().await.refused(412, "precondition_failed");
        app.admin().get(&format!("{USERS}/user_0000000000000000000000")).await.refused(404, "not_found");
        for path in ["", &format!("/{id}")] {
            app.with_key(&session).get(&format!("{USERS}{path}")).await.refused(403, "scope_missing");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_is_suspended_is_out_at_once_and_back_when_resumed() {
    on_both(async |app: TestApp| {
        let (id, session) = ann(&app).await;
        app.auth("sign-in-link", &json!({"email": "ann@example.com"})).await.data();
        let (_, link) = app.mailed("ann@example.com").await.unwrap();
        let act = async |what: &str| app.admin().post(&format!("{USERS}/{id}/{what}"), r#"{"reason": "spam"}"#).await;
        for _ in 0..2 {
            assert_eq!(act("suspend").await.data()["status"], "suspended");
        }
        app.with_key(&session).get(ME).await.refused(401, "session_expired");
        app.login("ann@example.com", PASSWORD).await.refused(403, "account_suspended");
        app.auth("sign-in-link/confirm", &json!({ "token": link })).await.refused(400, "one_time_token_invalid");
        assert_eq!(act("resume").await.data()["status"], "active");
        app.with_key(&session).get(ME).await.refused(401, "session_expired");
        app.session("ann@example.com").await;
        let log = app.admin().get(&format!("/api/v1/audit?object_id={id}")).await;
        let count =
            |action: &str| log.data()["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == action).count();
        assert_eq!((count("user.suspended"), count("user.resumed")), (1, 1), "what changes nothing is not noted");
        let admin = admin_session(&app).await;
        let own = app.with_key(&admin).get(ME).await.id().to_owned();
        app.with_key(&admin).post(&format!("{USERS}/{own}/suspend"), "").await.refused(409, "conflict");
    })
    .await;
}

#[tokio::test]
async fn an_admin_acts_as_a_person_for_a_while_and_both_stand_in_the_log() {
    on_both(async |app: TestApp| {
        let (id, session) = ann(&app).await;
        let admin = admin_session(&app).await;
        let wish = || json!({"reason": "ticket 7", "minutes": 10});
        impersonate(&app, &session, &id, wish()).await.refused(403, "scope_missing");
        app.admin().post(&format!("{USERS}/{id}/impersonate"), &wish().to_string()).await.refused(403, "sign_in_required");
        for wrong in [json!({}), json!({"reason": "x", "minutes": 61}), json!({"reason": "", "minutes": 1})] {
            impersonate(&app, &admin, &id, wrong).await.refused(400, "validation_error");
        }
        let begun = impersonate(&app, &admin, &id, wish()).await;
        let token = begun.data()["token"].as_str().unwrap().to_owned();
        assert_eq!(begun.headers["cache-control"], "no-store");
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "Somebody acts for you");

        let who = app.with_key(&token).get("/api/v1/auth/user").await;
        assert_eq!(who.data()["user"]["id"], id);
        let admin_id = app.with_key(&admin).get(ME).await.id().to_owned();
        assert_eq!(who.data()["impersonator_id"], admin_id);
        app.with_key(&token).get("/api/v1/keys").await.data();
        let store = app.with_key(&token).post("/api/v1/stores", r#"{"name": "Shop", "currency": "EUR"}"#).await;
        let log = app.with_key(&session).get(&format!("/api/v1/audit?object_id={}", store.id())).await;
        let actor = &log.data()["items"][0]["actor"];
        assert_eq!((&actor["id"], &actor["impersonator_id"]), (&json!(id), &json!(admin_id)));
        let list = app.with_key(&session).get(&format!("{ME}/sessions")).await;
        assert!(list.data()["items"].as_array().unwrap().iter().any(|session| session["impersonated"] == true));
        let begun = app.with_key(&session).get("/api/v1/audit?action=session.impersonated").await;
        assert_eq!(begun.data()["items"][0]["changes"]["reason"]["after"], "ticket 7");

        app.world.advance(10 * 60 * 1_000);
        app.with_key(&token).get(ME).await.refused(401, "session_expired");
    })
    .await;
}

#[tokio::test]
async fn what_is_a_persons_alone_or_outlasts_the_session_cannot_be_done_as_somebody_else() {
    on_both(async |app: TestApp| {
        let (id, session) = ann(&app).await;
        let admin = admin_session(&app).await;
        let begun = impersonate(&app, &admin, &id, json!({"reason": "x"})).await;
        let token = begun.data()["token"].as_str().unwrap().to_owned();
        let password = json!({ "password": PASSWORD }).to_string();
        for (method, path, body, code) in [
            (
                Method::POST,
                format!("{ME}/password"),
                json!({"current_password": PASSWORD, "password": "a wholly new one"}).to_string(),
                "sign_in_required",
            ),
            (
                Method::POST,
                format!("{ME}/email"),
                json!({"email": "x@example.com", "password": PASSWORD}).to_string(),
                "sign_in_required",
            ),
            (Method::POST, format!("{ME}/second-factor"), password.clone(), "sign_in_required"),
            (Method::GET, format!("{ME}/export"), String::new(), "sign_in_required"),
            (Method::DELETE, ME.to_owned(), password.clone(), "sign_in_required"),
            (Method::DELETE, format!("{ME}/sessions"), String::new(), "sign_in_required"),
            (
                Method::POST,
                "/api/v1/members/invitations".to_owned(),
                json!({"email": "x@example.com", "role": "admin"}).to_string(),
                "sign_in_required",
            ),
            (Method::DELETE, format!("/api/v1/members/{id}"), String::new(), "sign_in_required"),
            (Method::POST, "/api/v1/keys".to_owned(), r#"{"name": "a"}"#.to_owned(), "scope_missing"),
            (
                Method::POST,
                "/api/v1/webhooks".to_owned(),
                r#"{"url": "https://example.com/", "events": ["product.*"]}"#.to_owned(),
                "scope_missing",
            ),
            (Method::GET, USERS.to_owned(), String::new(), "scope_missing"),
        ] {
            app.with_key(&token).send(method, &path, &body).await.refused(403, code);
        }
        assert_eq!(app.with_key(&session).get(ME).await.status, 200);

        let root = app.with_key(&admin).get(ME).await.id().to_owned();
        impersonate(&app, &admin, &root, json!({"reason": "x"})).await.refused(409, "conflict");
        app.admin().post(&format!("{USERS}/{root}/suspend"), "").await.data();
        app.with_key(&token).get(ME).await.refused(401, "session_expired");
    })
    .await;
}

#[tokio::test]
async fn the_platform_is_told_in_numbers_to_admins_only() {
    on_both(async |app: TestApp| {
        let (id, session) = ann(&app).await;
        app.admin().post(&format!("{USERS}/{id}/suspend"), "").await.data();
        let account = app.admin().get(&format!("{USERS}/{id}")).await.data()["account_id"].as_str().unwrap().to_owned();
        let rows = "INSERT INTO usage_days (proxy_id, ledger_id, subject_kind, subject_id, day, admitted)
                    VALUES ('p', $2, 'account', $1, 20777, 5), ('q', $2, 'account', $1, 20777, 2), ('p', $2, 'account', $1, 20776, 1),
                           ('p', $2, 'key', 'key_1', 20777, 9)";
        app.database.db.query(rows).bind(account.clone()).bind(vec![1_u8]).execute().await.unwrap();
        let read = app.admin().get("/api/v1/admin/analytics?from=2026-11-19&to=2026-11-20").await;
        let data = read.data();
        assert_eq!((&data["admitted"], &data["days"][1]), (&json!(8), &json!({"date": "2026-11-20", "admitted": 7})));
        assert_eq!(data["busiest"], json!([{"account_id": account, "name": "Ann", "admitted": 8}]));
        assert_eq!((&data["users"], &data["keys"]), (&json!({"total": 2, "suspended": 1, "new": 2}), &json!(1)));
        assert_eq!(data["accounts"]["total"], 2);
        for wrong in ["from=2026-11-21&to=2026-11-20", "from=2026-01-01&to=2026-11-20", "from=x"] {
            app.admin().get(&format!("/api/v1/admin/analytics?{wrong}")).await.refused(400, "validation_error");
        }
        app.with_key(&session).get("/api/v1/admin/analytics").await.refused(401, "session_expired");
        app.person("bob@example.com").await;
        let bob = app.session("bob@example.com").await;
        app.with_key(&bob).get("/api/v1/admin/analytics").await.refused(403, "scope_missing");
    })
    .await;
}
