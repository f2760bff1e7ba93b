//! What people get of what is stored of them, and how it goes.

use http::Method;
use serde_json::{Value, json};

use crate::{
    app::{Answer, TestApp, on_both},
    auth::PASSWORD,
    marketplace::{DEVELOPER, content, published},
};

const ME: &str = "/api/v1/users/me";

async fn erase(app: &TestApp, session: &str, body: Value) -> Answer {
    app.with_key(session).send(Method::DELETE, ME, &body.to_string()).await
}

/// Every text in every table that people stand in.
async fn stored(app: &TestApp) -> String {
    let mut all = String::new();
    for rows in [
        app.database.db.query("SELECT id, email, name FROM users LIMIT 99").all::<(String, String, String)>().await,
        app.database.db.query("SELECT id, name, brand FROM accounts LIMIT 99").all().await,
        app.database.db.query("SELECT id, address, user_agent FROM sessions LIMIT 99").all().await,
        app.database.db.query("SELECT id, email, role FROM invitations LIMIT 99").all().await,
        app.database.db.query("SELECT action, object_id, CAST(changes AS TEXT) FROM audit_log LIMIT 999").all().await,
        app.database.db.query("SELECT email, name, password_hash FROM registrations LIMIT 99").all().await,
        app.database.db.query("SELECT user_id, purpose, email FROM user_tokens LIMIT 99").all().await,
        app.database.db.query("SELECT user_id, subject, COALESCE(email, '') FROM identities LIMIT 99").all().await,
    ] {
        all.push_str(&format!("{:?}\n", rows.unwrap()));
    }
    all
}

#[tokio::test]
async fn an_export_has_everything_of_the_person_and_no_secret() {
    on_both(async |app: TestApp| {
        let account = app.person("ann@example.com").await;
        app.person("eve@example.com").await;
        let session = app.session("ann@example.com").await;
        let eve = app.session("eve@example.com").await;
        app.with_key(&eve).post("/api/v1/members/invitations", r#"{"email": "ann@example.com", "role": "viewer"}"#).await.data();
        let export = app.with_key(&session).get(&format!("{ME}/export")).await;
        let data = export.data();
        assert_eq!((&data["user"]["email"], &data["memberships"][0]["account_id"]), (&json!("ann@example.com"), &json!(account)));
        assert_eq!((&data["second_factor"]["on"], &data["cut"]), (&json!(false), &json!([])));
        let count = |part: &str| data[part].as_array().unwrap().len();
        assert_eq!((count("sessions"), count("devices"), count("invitations"), count("mails")), (1, 1, 1, 2));
        let actions: Vec<_> = data["audit"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        assert!(actions.contains(&"session.begun") && actions.contains(&"user.created"), "{actions:?}");
        assert_eq!(export.headers["cache-control"], "no-store");
        assert!(export.headers["content-disposition"].to_str().unwrap().contains("clearway-export.json"));
        let text = export.body.to_string();
        let (_, token) = app.mailed("ann@example.com").await.unwrap();
        for secret in [session.as_str(), "argon2", "eve@example.com", &token] {
            assert!(!text.contains(secret), "{secret}");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_is_erased_is_nowhere_but_in_what_is_kept() {
    on_both(async |app: TestApp| {
        let account = app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        let key = app.with_key(&session).post("/api/v1/keys", r#"{"name": "a", "scopes": ["read:keys"]}"#).await;
        app.auth("reset-password", &json!({"email": "ann@example.com"})).await.data();
        let id = app.with_key(&session).get(ME).await.id().to_owned();
        erase(&app, &session, json!({"password": "not the password"})).await.refused(401, "credentials_invalid");
        assert!(stored(&app).await.contains("ann@example.com"));

        let erased = erase(&app, &session, json!({ "password": PASSWORD })).await;
        assert_eq!((erased.id(), &erased.data()["closed_accounts"]), (id.as_str(), &json!([account])));
        assert!(erased.data()["kept"].as_array().unwrap().iter().any(|kept| kept["what"] == "audit"));
        let left = stored(&app).await;
        assert!(!left.contains("ann@example.com") && !left.contains("\"Ann\"") && !left.contains("argon2id$v=19$m=1"), "{left}");
        assert!(left.contains(&id) && left.contains("user.erased"));

        app.with_key(&session).get(ME).await.refused(401, "session_unknown");
        app.login("ann@example.com", PASSWORD).await.refused(401, "credentials_invalid");
        app.with_key(key.secret()).get("/api/v1/keys").await.refused(403, "account_suspended");
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "You were erased");
        let found = app.admin().get("/api/v1/admin/users?search=ann").await;
        assert_eq!(found.data()["items"], json!([]), "nor is she found by her old name or address");
        app.admin().send(Method::DELETE, &format!("/api/v1/admin/users/{id}"), "").await.refused(404, "not_found");

        // The address is free: whoever has it may come again, as somebody else.
        app.person("ann@example.com").await;
        let again = app.session("ann@example.com").await;
        assert_ne!(app.with_key(&again).get(ME).await.id(), id);
    })
    .await;
}

#[tokio::test]
async fn nobody_leaves_others_without_an_owner_by_being_erased() {
    on_both(async |app: TestApp| {
        let account = app.person("ann@example.com").await;
        app.person("bob@example.com").await;
        let (ann, bob) = (app.session("ann@example.com").await, app.session("bob@example.com").await);
        app.with_key(&ann).post("/api/v1/members/invitations", r#"{"email": "bob@example.com", "role": "viewer"}"#).await.data();
        let (_, token) = app.mailed("bob@example.com").await.unwrap();
        app.with_key(&bob).post("/api/v1/invitations/accept", &json!({ "token": token }).to_string()).await.data();
        let refused = erase(&app, &ann, json!({ "password": PASSWORD })).await;
        refused.refused(409, "conflict");
        assert_eq!(refused.body["error"]["details"]["accounts"], json!([account]));
        assert_eq!(app.with_key(&ann).get(ME).await.status, 200, "nothing was done");

        erase(&app, &bob, json!({ "password": PASSWORD })).await.data();
        let members = app.with_key(&ann).get("/api/v1/members").await;
        assert_eq!(members.data()["items"].as_array().unwrap().len(), 1);
        assert_eq!(erase(&app, &ann, json!({ "password": PASSWORD })).await.data()["closed_accounts"], json!([account]));

        let admin = app.login("admin@example.com", &app.admin_password.clone()).await;
        let admin = admin.data()["session"]["token"].as_str().unwrap().to_owned();
        erase(&app, &admin, json!({ "password": app.admin_password })).await.refused(409, "conflict");
    })
    .await;
}

#[tokio::test]
async fn what_a_person_has_written_is_in_the_export_and_goes_or_stays_without_them() {
    on_both(async |app: TestApp| {
        let (_, developer) = app.account(DEVELOPER).await;
        let listed = published(&app, &developer, &content("Channels")).await;
        let own = app.person("ann@example.com").await;
        let shared = app.person("bob@example.com").await;
        let (ann, bob) = (app.session("ann@example.com").await, app.session("bob@example.com").await);
        let invitation = r#"{"email": "ann@example.com", "role": "admin"}"#;
        app.with_key(&bob).post("/api/v1/members/invitations", invitation).await.data();
        let (_, token) = app.mailed("ann@example.com").await.unwrap();
        app.with_key(&ann).post("/api/v1/invitations/accept", &json!({ "token": token }).to_string()).await.data();
        let id = app.with_key(&ann).get(ME).await.id().to_owned();
        for account in [&own, &shared] {
            let post = async |path: &str, body: Value| {
                app.world.advance(1);
                app.with_key(&ann).header("x-clearway-account", account).post(path, &body.to_string()).await.data();
            };
            post("/api/v1/installations", json!({"app": listed, "scopes": ["read:events"]})).await;
            post(&format!("/api/v1/apps/{listed}/reviews"), json!({"rating": 4, "comment": format!("As {account} it works")})).await;
            post("/api/v1/support/tickets", json!({"subject": format!("Of {account}"), "body": format!("To {account} since noon")})).await;
            post("/api/v1/portfolio/projects", json!({"title": format!("Made by {account}")})).await;
        }
        let export = app.with_key(&ann).get(&format!("{ME}/export")).await;
        let count = |part: &str| export.data()[part].as_array().unwrap().len();
        assert_eq!((count("reviews"), count("ticket_messages"), count("projects"), count("oauth_grants")), (2, 2, 1, 0));

        erase(&app, &ann, json!({ "password": PASSWORD })).await.data();
        let db = &app.database.db;
        let mut left = String::new();
        for rows in [
            db.query("SELECT account_id, author, comment FROM app_reviews LIMIT 99").all::<(String, String, String)>().await,
            db.query("SELECT t.account_id, m.author, t.subject || m.body FROM tickets t JOIN ticket_messages m ON m.ticket_id = t.id LIMIT 99").all().await,
            db.query("SELECT account_id, id, title FROM projects LIMIT 99").all().await,
        ] {
            left.push_str(&format!("{:?}\n", rows.unwrap()));
        }
        assert!(!left.contains(&id), "nothing says who wrote it: {left}");
        let said = |account: &str| ["As", "To", "Made by"].map(|word| left.contains(&format!("{word} {account}")));
        assert_eq!((said(&own), said(&shared)), ([false; 3], [true; 3]), "{left}");
        // Whoever looks for an app sees the same mean as before.
        let page = app.anyone().get(&format!("/api/v1/apps/{listed}")).await;
        assert_eq!((&page.data()["rating"], &page.data()["review_count"]), (&json!(4.0), &json!(2)));
        assert_eq!(app.anyone().get(&format!("/api/v1/developers/{own}/projects")).await.data()["items"], json!([]));
    })
    .await;
}
