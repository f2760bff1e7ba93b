//! Becoming a person by a provider where only those may who were invited.

use clearway_config::settings::process::Registration;
use serde_json::{Value, json};

use super::{back, begin, counts, provider::Provider, signed_in, through, turned_away, with_providers};
use crate::{
    app::{TestApp, on_both},
    auth::PASSWORD,
};

const INVITATIONS: &str = "/api/v1/members/invitations";

/// Where Ann has an account, and nobody comes who was not invited.
struct Stand {
    app: TestApp,
    provider: Provider,
    ann: String,
}

impl Stand {
    async fn new(app: TestApp) -> Self {
        let (app, provider, _) = with_providers(app).await;
        app.person("ann@example.com").await;
        let ann = app.session("ann@example.com").await;
        let app = app.with(|api| api.registration = Registration::Invited);
        provider.set(|knobs| knobs.claims["email"] = "Bob@Example.com".into());
        Self { app, provider, ann }
    }

    /// The invitation's id.
    async fn invite(&self, email: &str) -> String {
        self.app.world.advance(1);
        let body = json!({"email": email, "role": "developer"}).to_string();
        self.app.with_key(&self.ann).post(INVITATIONS, &body).await.id().to_owned()
    }

    async fn members(&self) -> Vec<Value> {
        let list = self.app.with_key(&self.ann).get("/api/v1/members").await;
        list.data()["items"].as_array().unwrap().clone()
    }

    async fn waiting(&self) -> usize {
        let list = self.app.with_key(&self.ann).get(INVITATIONS).await;
        list.data()["items"].as_array().unwrap().len()
    }

    /// Nobody has come by it.
    async fn nobody(&self, code: &str) {
        turned_away(&through(&self.app, &self.provider, "id").await, code);
        assert_eq!((counts(&self.app).await, self.members().await.len()), ((2, 0), 1), "{code}");
    }
}

#[tokio::test]
async fn whoever_is_invited_joins_by_a_provider_that_vouches_for_the_address() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        stand.invite("bob@example.com").await;
        let (_, token) = stand.app.mailed("bob@example.com").await.unwrap();
        let bob = signed_in(&stand.app, &through(&stand.app, &stand.provider, "id").await).await;
        assert_eq!((&bob["email"], &bob["name"]), (&json!("bob@example.com"), &json!("Ann")));
        let members = stand.members().await;
        let role = |email: &str| members.iter().find(|member| member["email"] == email).unwrap()["role"].clone();
        assert_eq!((role("bob@example.com"), role("ann@example.com")), (json!("developer"), json!("owner")));
        assert_eq!(stand.waiting().await, 0);
        // It is accepted by that: the mailed token is good no more.
        let body = json!({"token": token, "password": PASSWORD});
        stand.app.auth("accept-invitation", &body).await.refused(400, "one_time_token_invalid");
        let log = stand.app.with_key(&stand.ann).get("/api/v1/audit?limit=100&action=member.joined").await;
        assert_eq!(log.data()["items"][0]["actor"]["id"], bob["id"], "{:#}", log.body);
        // The next time they are the same.
        let again = signed_in(&stand.app, &through(&stand.app, &stand.provider, "id").await).await;
        assert_eq!((&again["id"], counts(&stand.app).await), (&bob["id"], (3, 1)));
        assert_eq!(stand.members().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn no_invitation_is_taken_by_another_address_or_one_that_nobody_vouches_for() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        stand.nobody("registration_closed").await;
        stand.invite("bob@example.com").await;
        for email_verified in [json!(false), json!("true"), Value::Null] {
            stand.provider.set(|knobs| knobs.claims["email_verified"] = email_verified);
            stand.nobody("provider_address_unverified").await;
        }
        for email in ["eve@example.com", "bob@example.com.evil.example", "bob+x@example.com", "bobb@example.com"] {
            stand.provider.set(|knobs| knobs.claims = json!({ "email": email }));
            stand.nobody("registration_closed").await;
        }
        // Somebody who is a person already is none anew, and is made a member of nothing.
        stand.provider.set(|knobs| knobs.claims = json!({"email": "ann@example.com"}));
        stand.nobody("identity_unlinked").await;
        assert_eq!(stand.waiting().await, 1, "it still waits for whom it is for");
    })
    .await;
}

#[tokio::test]
async fn an_invitation_that_is_over_was_taken_back_or_used_lets_nobody_in() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let id = stand.invite("bob@example.com").await;
        stand.app.with_key(&stand.ann).delete(&format!("{INVITATIONS}/{id}")).await.data();
        stand.nobody("registration_closed").await;
        // Where nobody comes at all, an invitation helps nobody.
        stand.invite("bob@example.com").await;
        let provider = stand.provider.clone();
        let closed = stand.app.with(|api| api.registration = Registration::Closed);
        turned_away(&through(&closed, &provider, "id").await, "registration_closed");
        let app = closed.with(|api| api.registration = Registration::Invited);
        let (_, token) = app.mailed("bob@example.com").await.unwrap();
        let joined = app.auth("accept-invitation", &json!({"token": token, "password": PASSWORD})).await;
        assert_eq!(joined.status, 201, "{:#}", joined.body);
        turned_away(&through(&app, &provider, "id").await, "identity_unlinked");
        let body = json!({"email": "cid@example.com", "role": "viewer"}).to_string();
        app.with_key(&stand.ann).post(INVITATIONS, &body).await.data();
        app.world.advance(7 * 24 * 60 * 60 * 1_000);
        let now = app.world.now_ms() / 1_000;
        let claims = json!({"email": "cid@example.com", "sub": "subject-3", "iat": now, "exp": now + 300});
        provider.set(|knobs| knobs.claims = claims);
        turned_away(&through(&app, &provider, "id").await, "registration_closed");
        assert_eq!(counts(&app).await, (3, 0));
    })
    .await;
}

#[tokio::test]
async fn two_who_come_by_one_invitation_at_once_are_one() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        stand.invite("bob@example.com").await;
        let (app, provider) = (&stand.app, &stand.provider);
        let (one, two) = (begin(app, "id").await, begin(app, "github").await);
        provider.set(|knobs| knobs.emails[1]["email"] = "bob@example.com".into());
        let paths = (provider.agree(&one.url), provider.agree(&two.url));
        let (one, two) = tokio::join!(back(app.anyone(), &one.cookie, &paths.0), back(app.anyone(), &two.cookie, &paths.1));
        let came = [&one, &two].iter().filter(|answer| super::location(answer) == "/portal/keys").count();
        assert_eq!((came, counts(app).await, stand.members().await.len()), (1, (3, 1), 2));
    })
    .await;
}

#[tokio::test]
async fn of_several_invitations_the_newest_is_accepted_and_the_others_wait() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        stand.invite("bob@example.com").await;
        stand.app.world.advance(1);
        let admin = stand.app.login("admin@example.com", &stand.app.admin_password.clone()).await;
        let admin = admin.data()["session"]["token"].as_str().unwrap().to_owned();
        let body = json!({"email": "bob@example.com", "role": "viewer"}).to_string();
        stand.app.with_key(&admin).post(INVITATIONS, &body).await.data();
        signed_in(&stand.app, &through(&stand.app, &stand.provider, "id").await).await;
        let theirs = stand.app.with_key(&admin).get("/api/v1/members").await;
        assert_eq!(theirs.data()["items"].as_array().unwrap().len(), 2);
        assert_eq!((stand.members().await.len(), stand.waiting().await), (1, 1));
    })
    .await;
}
