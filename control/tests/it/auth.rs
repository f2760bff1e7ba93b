//! Registering and signing in, as people and those who would be them do it.

use clearway_config::settings::process::Registration;
use serde_json::{Value, json};

use crate::{
    app::{Answer, Client, TestApp, on_both},
    databases::Engine,
};

pub(crate) const PASSWORD: &str = "correct horse battery";
const AUTH: &str = "/api/v1/auth";
const KEYS: &str = "/api/v1/keys";

impl TestApp {
    /// Posts to `/auth/…` a moment later than whatever was before, so that mails have an order.
    pub(crate) async fn auth(&self, path: &str, body: &Value) -> Answer {
        self.auth_as(self.anyone(), path, body).await
    }

    pub(crate) async fn auth_as(&self, client: Client<'_>, path: &str, body: &Value) -> Answer {
        self.world.advance(1);
        client.post(&format!("{AUTH}/{path}"), &body.to_string()).await
    }

    /// The newest mail to an address: its subject and the token in it, if there is one.
    pub(crate) async fn mailed(&self, to: &str) -> Option<(String, String)> {
        let list = self.admin().get("/api/v1/admin/mails?limit=100").await;
        let mail = list.data()["items"].as_array().unwrap().iter().find(|mail| mail["to"] == to)?.clone();
        let whole = self.admin().get(&format!("/api/v1/admin/mails/{}", mail["id"].as_str().unwrap())).await;
        let body = whole.data()["body"].as_str().unwrap().to_owned();
        let token = body.lines().map(str::trim).find(|line| line.len() == 43 && !line.contains(' '));
        Some((mail["subject"].as_str().unwrap().to_owned(), token.unwrap_or_default().to_owned()))
    }

    /// Mails to an address so far.
    async fn mails(&self, to: &str) -> usize {
        let list = self.admin().get("/api/v1/admin/mails?limit=100").await;
        list.data()["items"].as_array().unwrap().iter().filter(|mail| mail["to"] == to).count()
    }

    /// Registers somebody and proves the address; their own account.
    pub(crate) async fn person(&self, email: &str) -> String {
        self.auth("register", &json!({"email": email, "password": PASSWORD, "name": "Ann"})).await.data();
        let (_, token) = self.mailed(email).await.unwrap();
        let made = self.auth("verify-email", &json!({ "token": token })).await;
        made.data()["account_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        self.auth("login", &json!({"email": email, "password": password})).await
    }

    /// A session's bearer.
    pub(crate) async fn session(&self, email: &str) -> String {
        token(&self.login(email, PASSWORD).await)
    }
}

fn token(signed_in: &Answer) -> String {
    signed_in.data()["session"]["token"].as_str().unwrap().to_owned()
}

/// What a stranger sees of an answer.
fn seen(answer: &Answer) -> (u16, Value, Value) {
    let error = answer.body["error"].clone();
    (answer.status.as_u16(), answer.body["data"].clone(), error)
}

/// The cookies of an answer: name, value, attributes.
pub(crate) fn cookies(answer: &Answer) -> Vec<(String, String, String)> {
    let set = answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    set.map(|text| {
        let (pair, attributes) = text.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned(), attributes.to_owned())
    })
    .collect()
}

#[tokio::test]
async fn whoever_proves_an_address_has_an_account_and_may_sign_in() {
    on_both(async |app: TestApp| {
        let asked = app.auth("register", &json!({"email": "Ann@Example.com", "password": PASSWORD, "name": "Ann"})).await;
        assert_eq!((asked.status.as_u16(), asked.data()), (202, &json!({"status": "mailed"})));
        app.login("ann@example.com", PASSWORD).await.refused(401, "credentials_invalid");
        let (subject, proof) = app.mailed("ann@example.com").await.unwrap();
        assert_eq!(subject, "Confirm your address");
        let made = app.auth("verify-email", &json!({ "token": proof })).await;
        assert_eq!((made.status.as_u16(), &made.data()["user"]["email"]), (201, &json!("ann@example.com")));
        app.auth("verify-email", &json!({ "token": proof })).await.refused(400, "one_time_token_invalid");

        let signed_in = app.login("ann@example.com", PASSWORD).await;
        assert_eq!(signed_in.headers["cache-control"], "no-store");
        assert!(cookies(&signed_in).is_empty());
        let session = token(&signed_in);
        let who = app.with_key(&session).get(&format!("{AUTH}/user")).await;
        let membership = &who.data()["memberships"][0];
        assert_eq!((&membership["role"], &membership["name"]), (&json!("owner"), &json!("Ann")));
        assert_eq!((&membership["account_id"], &who.data()["csrf_token"]), (&made.data()["account_id"], &Value::Null));
        let key = app.with_key(&session).post(KEYS, r#"{"name": "mine", "scopes": ["read:keys"]}"#).await;
        assert_eq!(key.data()["account_id"], made.data()["account_id"]);
        app.with_key(&session).get("/api/v1/admin/accounts").await.refused(403, "scope_missing");
        app.with_key(key.secret()).get(&format!("{AUTH}/user")).await.refused(403, "sign_in_required");

        let log = app.with_key(&session).get("/api/v1/audit").await;
        let actions: Vec<_> = log.data()["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
        for action in ["account.created", "user.created", "session.begun", "key.created"] {
            assert!(actions.contains(&json!(action)), "{action}: {actions:?}");
        }
        let events = app.with_key(&session).get("/api/v1/events?type=user.signed_up").await;
        assert_eq!(events.data()["items"].as_array().unwrap().len(), 1, "{:#}", events.body);

        app.with_key(&session).post(&format!("{AUTH}/logout"), "").await.data();
        app.with_key(&session).get(KEYS).await.refused(401, "session_expired");
    })
    .await;
}

#[tokio::test]
async fn nobody_learns_whether_an_address_is_somebodys() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        for (path, more) in [
            ("register", json!({"password": "another good one"})),
            ("verify-email/resend", json!({})),
            ("reset-password", json!({})),
            ("sign-in-link", json!({})),
            ("login", json!({"password": "not the password"})),
        ] {
            let ask = async |email: &str| {
                let mut body = more.clone();
                body["email"] = email.into();
                seen(&app.auth(path, &body).await)
            };
            assert_eq!(ask("ann@example.com").await, ask("bob@example.com").await, "{path}");
        }
        // The mails differ, and reach whom the address is.
        assert_eq!(app.mails("ann@example.com").await, 4, "to prove it, that it has an account, reset, link");
        assert_eq!(app.mails("bob@example.com").await, 2, "registered, and once more");
        let (subject, _) = app.mailed("bob@example.com").await.unwrap();
        assert_eq!(subject, "Confirm your address");
        app.login("ann@example.com", "another good one").await.refused(401, "credentials_invalid");
        app.session("ann@example.com").await;
    })
    .await;
}

#[tokio::test]
async fn an_address_is_proved_once_and_in_time() {
    on_both(async |app: TestApp| {
        let register = async |password: &str| {
            app.auth("register", &json!({"email": "ann@example.com", "password": password})).await.data();
            app.mailed("ann@example.com").await.unwrap().1
        };
        let (first, second) = (register("somebody elses wish").await, register(PASSWORD).await);
        app.auth("verify-email", &json!({ "token": second })).await.data();
        app.auth("verify-email", &json!({ "token": first })).await.refused(400, "one_time_token_invalid");
        app.login("ann@example.com", "somebody elses wish").await.refused(401, "credentials_invalid");
        app.session("ann@example.com").await;

        app.auth("register", &json!({"email": "bob@example.com", "password": PASSWORD})).await.data();
        let late = app.mailed("bob@example.com").await.unwrap().1;
        app.world.advance(24 * 60 * 60 * 1_000);
        app.auth("verify-email", &json!({ "token": late })).await.refused(400, "one_time_token_invalid");
        for malformed in ["", "x", "0123456789012345678901234567890123456789 12"] {
            app.auth("verify-email", &json!({ "token": malformed })).await.refused(400, "validation_error");
        }
    })
    .await;
}

#[tokio::test]
async fn passwords_that_are_tried_first_are_not_taken() {
    let app = TestApp::new(Engine::Sqlite).await;
    for weak in ["short", "Password123", "ann.miller99", "aaaaaaaaaaaa"] {
        let body = json!({"email": "ann.miller@example.com", "password": weak, "name": "Ann Miller"});
        let refused = app.auth("register", &body).await;
        refused.refused(400, "validation_error");
        assert_eq!(refused.body["error"]["details"][0]["field"], "password", "{weak}");
        assert!(!refused.body.to_string().contains(weak), "no answer repeats a password");
    }
    for address in ["", "ann", "ann@", "@example.com", "ann@exa mple.com", "ann@example.com\nbcc: x@example.com", "ä@example.com"]
    {
        app.auth("register", &json!({"email": address, "password": PASSWORD})).await.refused(400, "validation_error");
    }
}

#[tokio::test]
async fn strangers_lock_strangers_out_and_not_the_owner() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        let signed_in = app.login("ann@example.com", PASSWORD).await;
        let device = signed_in.data()["device_token"].as_str().unwrap().to_owned();
        for email in ["ann@example.com", "nobody@example.com"] {
            for _ in 0..10 {
                app.login(email, "not the password").await.refused(401, "credentials_invalid");
            }
            let locked = app.login(email, PASSWORD).await;
            locked.refused(429, "sign_in_locked");
            assert!(locked.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() <= 900);
        }
        let at_home = async |password: &str| {
            let body = json!({"email": "ann@example.com", "password": password, "device_token": device});
            app.auth("login", &body).await
        };
        for _ in 0..3 {
            at_home("a slip of the finger").await.refused(401, "credentials_invalid");
            let again = at_home(PASSWORD).await;
            assert_eq!(again.data()["device_token"], Value::Null, "the device is known already");
        }
        // Nobody else's device, and no invented one, is the owner's.
        app.person("eve@example.com").await;
        let eves = app.login("eve@example.com", PASSWORD).await.data()["device_token"].as_str().unwrap().to_owned();
        for device in [eves, "A".repeat(43)] {
            let body = json!({"email": "ann@example.com", "password": PASSWORD, "device_token": device});
            app.auth("login", &body).await.refused(429, "sign_in_locked");
        }
        // A new device of the owner has the link.
        app.auth("sign-in-link", &json!({"email": "ann@example.com"})).await.data();
        let (_, link) = app.mailed("ann@example.com").await.unwrap();
        let followed = app.auth("sign-in-link/confirm", &json!({ "token": link })).await;
        assert_eq!(app.with_key(&token(&followed)).get(KEYS).await.status, 200);
        app.auth("sign-in-link/confirm", &json!({ "token": link })).await.refused(400, "one_time_token_invalid");
        app.world.advance(15 * 60 * 1_000);
        app.session("ann@example.com").await;
    })
    .await;
}

#[tokio::test]
async fn guesses_at_many_people_from_one_address_end_too() {
    let app = TestApp::new(Engine::Sqlite).await;
    for n in 0..100 {
        app.login(&format!("n{}@example.com", n / 9), "not the password").await.refused(401, "credentials_invalid");
    }
    app.login("other@example.com", PASSWORD).await.refused(429, "sign_in_locked");
    let elsewhere = app.anyone().peer([192, 0, 2, 1]);
    let body = json!({"email": "other@example.com", "password": PASSWORD});
    app.auth_as(elsewhere, "login", &body).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn mails_to_an_address_are_bounded() {
    let app = TestApp::new(Engine::Sqlite).await;
    app.person("ann@example.com").await;
    let before = app.mails("ann@example.com").await;
    for _ in 0..9 {
        app.auth("reset-password", &json!({"email": "ann@example.com"})).await.data();
    }
    assert_eq!(app.mails("ann@example.com").await, before + 5, "what is beyond is not sent, and nobody is told");
    for n in 0..20 {
        app.auth("reset-password", &json!({"email": format!("n{n}@example.com")})).await.data();
    }
    app.auth("reset-password", &json!({"email": "n@example.com"})).await.refused(429, "sign_in_locked");
}

#[tokio::test]
async fn a_password_that_was_reset_ends_every_session_and_every_other_token() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        app.auth("sign-in-link", &json!({"email": "ann@example.com"})).await.data();
        let (_, link) = app.mailed("ann@example.com").await.unwrap();
        app.auth("reset-password", &json!({"email": "ann@example.com"})).await.data();
        let (_, reset) = app.mailed("ann@example.com").await.unwrap();
        let set = async |password: &str| app.auth("reset-password/confirm", &json!({"token": reset, "password": password})).await;
        set("password1").await.refused(400, "validation_error");
        app.auth("sign-in-link/confirm", &json!({ "token": reset })).await.refused(400, "one_time_token_invalid");
        assert_eq!(set("a wholly new one").await.data(), &json!({"status": "password_set"}));
        set("yet another one").await.refused(400, "one_time_token_invalid");
        app.with_key(&session).get(KEYS).await.refused(401, "session_expired");
        app.auth("sign-in-link/confirm", &json!({ "token": link })).await.refused(400, "one_time_token_invalid");
        app.login("ann@example.com", PASSWORD).await.refused(401, "credentials_invalid");
        app.login("ann@example.com", "a wholly new one").await.data();
        assert_eq!(app.mailed("ann@example.com").await.unwrap().0, "Your password was changed");
    })
    .await;
}

#[tokio::test]
async fn a_browser_has_its_session_in_a_cookie_and_shows_that_a_page_of_ours_asks() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        let body = json!({"email": "ann@example.com", "password": PASSWORD, "cookie": true});
        let foreign = app.anyone().header("sec-fetch-site", "cross-site");
        app.auth_as(foreign, "login", &body).await.refused(403, "csrf_token_invalid");
        let signed_in = app.auth_as(app.anyone().header("sec-fetch-site", "same-origin"), "login", &body).await;
        assert_eq!((&signed_in.data()["session"]["token"], &signed_in.data()["device_token"]), (&Value::Null, &Value::Null));
        let jar = cookies(&signed_in);
        let names: Vec<_> = jar.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["__Host-clearway_session", "__Host-clearway_device"]);
        for (_, _, attributes) in &jar {
            for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(attributes.split("; ").any(|one| one == attribute), "{attribute}: {attributes}");
            }
            assert!(!attributes.contains("Domain"));
        }
        let cookie = format!("{}={}; {}={}", jar[0].0, jar[0].1, jar[1].0, jar[1].1);
        let browser = || app.anyone().header("cookie", &cookie);
        let who = browser().get(&format!("{AUTH}/user")).await;
        let csrf = who.data()["csrf_token"].as_str().unwrap().to_owned();
        assert_eq!(signed_in.data()["session"]["csrf_token"], csrf);

        let body = r#"{"name": "mine"}"#;
        browser().post(KEYS, body).await.refused(403, "csrf_token_invalid");
        browser().header("x-csrf-token", "wrong").post(KEYS, body).await.refused(403, "csrf_token_invalid");
        let elsewhere = browser().header("x-csrf-token", &csrf).header("sec-fetch-site", "same-site");
        elsewhere.post(KEYS, body).await.refused(403, "csrf_token_invalid");
        browser().header("x-csrf-token", &csrf).post(KEYS, body).await.data();

        let fresh = browser().header("x-csrf-token", &csrf).post(&format!("{AUTH}/refresh"), "").await;
        assert_eq!((&fresh.data()["token"], cookies(&fresh)[0].0.as_str()), (&Value::Null, "__Host-clearway_session"));
        assert_ne!(cookies(&fresh)[0].1, jar[0].1);
        let gone = browser().header("x-csrf-token", &csrf).post(&format!("{AUTH}/logout"), "").await;
        assert!(cookies(&gone)[0].2.contains("Max-Age=0"));
        browser().get(KEYS).await.refused(401, "session_expired");
    })
    .await;
}

#[tokio::test]
async fn a_refreshed_token_replaces_the_old_one_once_it_is_used() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        let old = app.session("ann@example.com").await;
        let fresh = app.with_key(&old).post(&format!("{AUTH}/refresh"), "").await;
        let fresh = fresh.data()["token"].as_str().unwrap().to_owned();
        assert_eq!(app.with_key(&old).get(KEYS).await.status, 200, "the answer may have been lost");
        assert_eq!(app.with_key(&fresh).get(KEYS).await.status, 200);
        app.with_key(&old).get(KEYS).await.refused(401, "session_unknown");
    })
    .await;
}

#[tokio::test]
async fn who_is_suspended_neither_signs_in_nor_goes_on() {
    on_both(async |app: TestApp| {
        app.person("ann@example.com").await;
        let session = app.session("ann@example.com").await;
        let suspend = "UPDATE users SET suspended_at = $1 WHERE email = 'ann@example.com'";
        app.database.db.query(suspend).bind(1_i64).execute().await.unwrap();
        app.with_key(&session).get(KEYS).await.refused(403, "account_suspended");
        app.login("ann@example.com", PASSWORD).await.refused(403, "account_suspended");
        app.login("ann@example.com", "not the password").await.refused(401, "credentials_invalid");
        let before = app.mails("ann@example.com").await;
        for path in ["reset-password", "sign-in-link"] {
            app.auth(path, &json!({"email": "ann@example.com"})).await.data();
        }
        assert_eq!(app.mails("ann@example.com").await, before);
    })
    .await;
}

#[tokio::test]
async fn the_first_admin_signs_in_and_may_what_their_key_may() {
    let app = TestApp::new(Engine::Sqlite).await;
    let signed_in = app.login("admin@example.com", &app.admin_password).await;
    assert_eq!(app.with_key(&token(&signed_in)).get("/api/v1/admin/accounts").await.status, 200);
}

#[tokio::test]
async fn a_hash_of_an_older_cost_is_made_anew() {
    let app = TestApp::new(Engine::Sqlite).await;
    app.person("ann@example.com").await;
    let cheap = argon2::Argon2::from(argon2::Params::new(1024, 1, 1, None).unwrap());
    let cheap = argon2::PasswordHasher::hash_password_with_salt(&cheap, PASSWORD.as_bytes(), b"0123456789abcdef").unwrap();
    let put = "UPDATE users SET password_hash = $1 WHERE email = 'ann@example.com'";
    app.database.db.query(put).bind(cheap.to_string()).execute().await.unwrap();
    for _ in 0..2 {
        app.session("ann@example.com").await;
        let read = "SELECT password_hash FROM users WHERE email = 'ann@example.com'";
        let hash: String = app.database.db.query(read).scalar().await.unwrap();
        assert!(!hash.contains("m=1024"), "{hash}");
    }
}

#[tokio::test]
async fn who_may_become_a_user_is_for_the_settings_to_say() {
    for closed in [Registration::Invited, Registration::Closed] {
        let app = TestApp::new(Engine::Sqlite).await.with(|api| api.registration = closed);
        let asked = app.auth("register", &json!({"email": "ann@example.com", "password": PASSWORD})).await;
        asked.refused(403, "registration_closed");
    }
}

#[tokio::test]
async fn what_was_mailed_is_for_operators_only() {
    let app = TestApp::new(Engine::Sqlite).await;
    app.person("ann@example.com").await;
    let session = app.session("ann@example.com").await;
    app.with_key(&session).get("/api/v1/admin/mails").await.refused(403, "scope_missing");
    app.admin().get("/api/v1/admin/mails/mail_0000000000000000000000").await.refused(404, "not_found");
    let page = app.admin().get("/api/v1/admin/mails?limit=1").await;
    assert!(page.data()["items"][0].get("body").is_none());
}
