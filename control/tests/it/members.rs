//! Who belongs to an account.

use serde_json::{Value, json};

use crate::{
    app::{Answer, Client, TestApp, on_both},
    auth::PASSWORD,
    databases::Engine,
};

const MEMBERS: &str = "/api/v1/members";
const ACCEPT: &str = "/api/v1/invitations/accept";

/// Ann's account, and whom she has asked to join it.
struct Stand {
    app: TestApp,
    account: String,
    ann: String,
}

impl Stand {
    async fn new(app: TestApp) -> Self {
        let account = app.person("ann@example.com").await;
        let ann = app.session("ann@example.com").await;
        Self { app, account, ann }
    }

    /// Acting for Ann's account.
    fn here(&self, session: &str) -> Client<'_> {
        self.app.with_key(session).header("x-clearway-account", &self.account)
    }

    async fn invite(&self, by: &str, email: &str, role: &str) -> Answer {
        self.app.world.advance(1);
        self.here(by).post(&format!("{MEMBERS}/invitations"), &json!({"email": email, "role": role}).to_string()).await
    }

    /// Somebody with an account of their own who is a member of Ann's too: id and session.
    async fn member(&self, email: &str, role: &str) -> (String, String) {
        self.app.person(email).await;
        let session = self.app.session(email).await;
        self.invite(&self.ann, email, role).await.data();
        let (_, token) = self.app.mailed(email).await.unwrap();
        let joined = self.app.with_key(&session).post(ACCEPT, &json!({ "token": token }).to_string()).await;
        assert_eq!((&joined.data()["account_id"], &joined.data()["role"]), (&json!(self.account), &json!(role)));
        (joined.data()["user"]["id"].as_str().unwrap().to_owned(), session)
    }

    async fn set_role(&self, by: &str, member: &str, role: &str) -> Answer {
        self.here(by).put(&format!("{MEMBERS}/{member}"), &json!({ "role": role }).to_string()).await
    }

    async fn remove(&self, by: &str, member: &str) -> Answer {
        self.here(by).delete(&format!("{MEMBERS}/{member}")).await
    }

    async fn id(&self, session: &str) -> String {
        self.app.with_key(session).get("/api/v1/users/me").await.data()["id"].as_str().unwrap().to_owned()
    }

    async fn owners(&self) -> usize {
        let list = self.app.database.db.query("SELECT user_id FROM memberships WHERE account_id = $1 AND role = 'owner' LIMIT 9");
        list.bind(self.account.clone()).all::<(String,)>().await.unwrap().len()
    }
}

#[tokio::test]
async fn a_member_may_in_an_account_what_their_role_allows_and_in_their_own_everything() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (_, viewer) = stand.member("vic@example.com", "viewer").await;
        let (_, developer) = stand.member("dev@example.com", "developer").await;
        let make = r#"{"name": "a"}"#;
        stand.here(&viewer).get("/api/v1/keys").await.data();
        stand.here(&viewer).post("/api/v1/keys", make).await.refused(403, "scope_missing");
        assert_eq!(stand.here(&developer).post("/api/v1/keys", make).await.data()["account_id"], stand.account);
        assert_ne!(stand.app.with_key(&viewer).post("/api/v1/keys", make).await.data()["account_id"], stand.account);
        let list = stand.here(&viewer).get(MEMBERS).await;
        assert_eq!(list.data()["items"].as_array().unwrap().len(), 3);
        let who = stand.app.with_key(&viewer).get("/api/v1/auth/user").await;
        assert_eq!(who.data()["memberships"].as_array().unwrap().len(), 2);

        stand.app.person("eve@example.com").await;
        let eve = stand.app.session("eve@example.com").await;
        for path in ["/api/v1/keys", MEMBERS, "/api/v1/members/invitations"] {
            stand.here(&eve).get(path).await.refused(404, "not_found");
        }
    })
    .await;
}

#[tokio::test]
async fn only_who_manages_an_account_changes_its_members_and_only_owners_make_owners() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (adam_id, adam) = stand.member("adam@example.com", "admin").await;
        let (vic_id, vic) = stand.member("vic@example.com", "viewer").await;
        let ann_id = stand.id(&stand.ann).await;
        for refused in [
            stand.set_role(&vic, &vic_id, "admin").await,
            stand.set_role(&adam, &adam_id, "owner").await,
            stand.set_role(&adam, &vic_id, "owner").await,
            stand.set_role(&adam, &ann_id, "viewer").await,
            stand.remove(&adam, &ann_id).await,
            stand.remove(&vic, &adam_id).await,
            stand.invite(&vic, "bob@example.com", "viewer").await,
            stand.invite(&stand.ann, "bob@example.com", "owner").await,
        ] {
            refused.refused(403, "scope_missing");
        }
        stand.set_role(&adam, "user_0000000000000000000000", "viewer").await.refused(404, "not_found");
        stand.set_role(&stand.ann, &ann_id, "admin").await.refused(409, "conflict");
        stand.remove(&stand.ann, &ann_id).await.refused(409, "conflict");

        stand.set_role(&adam, &vic_id, "developer").await.data();
        stand.here(&vic).post("/api/v1/keys", r#"{"name": "a"}"#).await.data();
        stand.remove(&adam, &vic_id).await.data();
        stand.here(&vic).get("/api/v1/keys").await.refused(404, "not_found");
        stand.set_role(&stand.ann, &adam_id, "owner").await.data();
        stand.remove(&stand.ann, &ann_id).await.data();
        stand.remove(&adam, &adam_id).await.refused(409, "conflict");
        assert_eq!(stand.owners().await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_account_is_given_away_by_the_password_of_its_owner() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (bob_id, bob) = stand.member("bob@example.com", "developer").await;
        let give = async |by: &str, to: &str, password: &str| {
            let body = json!({"user_id": to, "password": password}).to_string();
            stand.here(by).post(&format!("{MEMBERS}/transfer"), &body).await
        };
        give(&stand.ann, &bob_id, "not the password").await.refused(401, "credentials_invalid");
        give(&bob, &bob_id, PASSWORD).await.refused(403, "scope_missing");
        give(&stand.ann, "user_0000000000000000000000", PASSWORD).await.refused(404, "not_found");
        give(&stand.ann, &bob_id, PASSWORD).await.data();
        assert_eq!(stand.owners().await, 1);
        let list = stand.here(&bob).get(MEMBERS).await;
        let role =
            |id: &str| list.data()["items"].as_array().unwrap().iter().find(|m| m["user_id"] == id).unwrap()["role"].clone();
        assert_eq!(role(&bob_id), "owner");
        assert_eq!(role(&stand.id(&stand.ann).await), "admin");
    })
    .await;
}

#[tokio::test]
async fn an_invitation_is_for_its_address_and_good_once() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let app = &stand.app;
        app.person("eve@example.com").await;
        let eve = app.session("eve@example.com").await;
        stand.invite(&stand.ann, "bob@example.com", "viewer").await.data();
        let (subject, old) = app.mailed("bob@example.com").await.unwrap();
        assert_eq!(subject, "You are invited");
        let again = stand.invite(&stand.ann, "bob@example.com", "developer").await;
        let (_, token) = app.mailed("bob@example.com").await.unwrap();
        let accept = |token: &str| json!({ "token": token }).to_string();
        app.with_key(&eve).post(ACCEPT, &accept(&token)).await.refused(400, "one_time_token_invalid");
        let join = async |token: &str| app.auth("accept-invitation", &json!({"token": token, "password": PASSWORD})).await;
        join(&old).await.refused(400, "one_time_token_invalid");
        let list = stand.here(&stand.ann).get(&format!("{MEMBERS}/invitations")).await;
        assert_eq!(list.data()["items"][0]["id"], again.data()["id"]);

        let joined = join(&token).await;
        assert_eq!((joined.status.as_u16(), &joined.data()["role"]), (201, &json!("developer")));
        join(&token).await.refused(400, "one_time_token_invalid");
        let bob = app.session("bob@example.com").await;
        stand.here(&bob).post("/api/v1/keys", r#"{"name": "a"}"#).await.data();
        stand.invite(&stand.ann, "bob@example.com", "viewer").await.refused(409, "conflict");

        let gone = stand.invite(&stand.ann, "cid@example.com", "viewer").await;
        let (_, token) = app.mailed("cid@example.com").await.unwrap();
        let path = format!("{MEMBERS}/invitations/{}", gone.id());
        app.with_key(&eve).delete(&path).await.refused(404, "not_found");
        stand.here(&bob).delete(&path).await.refused(403, "scope_missing");
        stand.here(&stand.ann).delete(&path).await.data();
        join(&token).await.refused(400, "one_time_token_invalid");
        stand.invite(&stand.ann, "dan@example.com", "viewer").await.data();
        let (_, token) = app.mailed("dan@example.com").await.unwrap();
        app.world.advance(7 * 24 * 60 * 60 * 1_000);
        join(&token).await.refused(400, "one_time_token_invalid");
    })
    .await;
}

#[tokio::test]
async fn two_owners_who_leave_at_once_leave_one() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (bob_id, bob) = stand.member("bob@example.com", "admin").await;
        stand.set_role(&stand.ann, &bob_id, "owner").await.data();
        let ann_id = stand.id(&stand.ann).await;
        let (one, other) = tokio::join!(stand.remove(&stand.ann, &ann_id), stand.remove(&bob, &bob_id));
        let statuses = [one.status.as_u16(), other.status.as_u16()];
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(stand.owners().await, 1);
    })
    .await;
}

#[tokio::test]
async fn whom_a_member_invites_may_come_where_nobody_else_may() {
    use clearway_config::settings::process::Registration;

    let app = TestApp::new(Engine::Sqlite).await;
    let admin = app.login("admin@example.com", &app.admin_password.clone()).await;
    let admin = admin.data()["session"]["token"].as_str().unwrap().to_owned();
    for (policy, status) in [(Registration::Closed, 403), (Registration::Invited, 201)] {
        let app = TestApp::new(Engine::Sqlite).await.with(|api| api.registration = policy);
        let admin = app.login("admin@example.com", &app.admin_password.clone()).await;
        let admin = admin.data()["session"]["token"].as_str().unwrap().to_owned();
        let body = json!({"email": "bob@example.com", "role": "viewer"}).to_string();
        app.with_key(&admin).post("/api/v1/members/invitations", &body).await.data();
        let (_, token) = app.mailed("bob@example.com").await.unwrap();
        let joined = app.auth("accept-invitation", &json!({"token": token, "password": PASSWORD})).await;
        assert_eq!(joined.status.as_u16(), status, "{:#}", joined.body);
    }
    let key: Value = app.with_key(&admin).post("/api/v1/keys", r#"{"name": "a"}"#).await.data().clone();
    app.with_key(key["secret"].as_str().unwrap()).get(MEMBERS).await.refused(403, "sign_in_required");
}
