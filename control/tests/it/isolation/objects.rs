//! One function for each kind of object, and which of them a path leads to.

use clearway_config::{DeliveryId, EventId, GrantId, IdentityId, PasskeyId, ProxyId};
use clearway_control::apps;
use serde_json::{Value, json};

use super::world::{MARK, Owner, Person, World};
use crate::{
    document::Operation,
    marketplace::{content, judge},
};

impl World {
    /// Makes what the path of an operation names. Where the state of an object matters, the operation is named; otherwise
    /// what stands before the path's last parameter says enough.
    pub(super) async fn object(&self, operation: &Operation, of: &Person, who: &Person) -> Option<(Owner, Vec<String>)> {
        let account = |id: String| Some((Owner::Account, vec![id]));
        let account_two = |(one, two): (String, String)| Some((Owner::Account, vec![one, two]));
        let public = |id: String| Some((Owner::Public, vec![id]));
        let platform = |id: String| Some((Owner::Platform, vec![id]));
        let person = |id: String| Some((Owner::Person, vec![id]));
        // The older names are of the same objects.
        let name = operation.name().replace("/marketplace/", "/");
        match name.as_str() {
            "GET /apps/{id}" | "GET /apps/{id}/reviews" => return public(self.published_app(&self.dora).await),
            "POST /apps/{id}/withdraw" => return account(self.submitted_app(of).await),
            "POST /apps/{id}/publish" => return account(self.approved_app(of).await),
            "POST /apps/{id}/deprecate" => return account(self.published_app(of).await),
            "POST /apps/{id}/restore" => return account(self.deprecated_app(of).await),
            "POST /apps/{id}/reviews" => return public(self.installation(of).await.0),
            "POST /apps/{id}/reviews/{review_id}/report" => {
                let (app, review) = self.review(&self.dora, &self.carl).await;
                return Some((Owner::Public, vec![app, review]));
            }
            "PUT /apps/{id}/reviews/{review_id}/reply" => return account_two(self.review(of, &self.dora).await),
            "DELETE /apps/{id}/uninstall" => return account(self.installation(of).await.1),
            "POST /admin/apps/{id}/approve" | "POST /admin/apps/{id}/reject" => return platform(self.submitted_app(of).await),
            "POST /admin/apps/{id}/suspend" | "PUT /admin/apps/{id}/featured" => return platform(self.published_app(of).await),
            "POST /admin/apps/{id}/resume" => return platform(self.suspended_app(of).await),
            // Nobody waits for what its receiver answers.
            "POST /webhooks/{id}/test" => return account(self.idle_webhook(of).await),
            "GET /events/types/{name}" => return public("order.shipped".into()),
            _ => {}
        }
        match operation.template()?.replace("/marketplace/", "/").as_str() {
            "/keys/{id}" => account(self.key(of, &["read:apps"]).await),
            "/webhooks/{id}" => account(self.webhook(of).await),
            "/deliveries/{id}" => account(self.delivery(of).await),
            "/events/{id}" => account(self.event(of).await.1),
            "/events/types/{name}" => platform(self.event_type().await),
            "/stores/{id}" => account(self.store(of).await),
            "/stores/{id}/products/{product_id}" => account_two(self.product(of).await),
            "/apps/{id}" | "/developer/apps/{id}" => account(self.draft_app(of).await),
            "/apps/{id}/reviews/{review_id}" => account_two(self.review(&self.dora, of).await),
            "/apps/collections/{name}" => public(self.collection().await),
            "/installations/{id}" => account(self.installation(of).await.1),
            "/installations/{id}/keys/{key_id}" => {
                account_two((self.installation(of).await.1, self.key(of, &["read:events"]).await))
            }
            "/installations/{id}/webhooks/{webhook_id}" => account_two((self.installation(of).await.1, self.webhook(of).await)),
            "/oauth/clients/{id}" => account(self.client(of).await),
            "/oauth/registration-tokens/{id}" => account(self.registration_token(of).await),
            "/oauth/grants/{id}" => account(self.grant(of).await),
            "/portfolio/projects/{id}" => account(self.project(of).await),
            "/support/tickets/{id}" => account(self.ticket(of).await),
            "/members/{id}" => account(self.member_of(of).await),
            "/members/invitations/{id}" => account(self.invitation(of).await),
            "/users/me/identities/{id}" => person(self.identity(who).await),
            "/users/me/passkeys/{id}" => person(self.passkey(who).await),
            "/users/me/sessions/{id}" => person(self.begin_session(&who.id, &who.account).await.0),
            "/developers/{id}" => public(self.dora.account.clone()),
            "/auth/providers/{name}" => public("github".into()),
            "/admin/accounts/{id}" => platform(self.account().await),
            "/admin/apps/{id}" => platform(self.draft_app(of).await),
            "/admin/collections/{name}" => platform(self.collection().await),
            "/admin/reviews/{id}" => platform(self.review(&self.dora, &self.carl).await.1),
            "/admin/users/{id}" => platform(self.person("user").await.id),
            "/admin/mails/{id}" => platform(self.mail().await),
            "/admin/proxies/{id}" => platform(self.proxy().await),
            "/admin/upstreams/{id}" => platform(self.gateway("upstreams", json!({"addresses": ["http://127.0.0.1:7000"]})).await),
            "/admin/policies/{id}" => platform(self.gateway("policies", json!({"body_max": "1MiB"})).await),
            "/admin/routes/{id}" => platform(self.route().await),
            "/admin/issuers/{id}" => platform(self.issuer().await),
            "/admin/client-certificates/{id}" => platform(self.client_certificate().await),
            "/admin/certificates/{id}" => platform(self.certificate().await),
            _ => None,
        }
    }

    /// Its id.
    async fn posted(&self, by: &Person, path: &str, body: Value) -> String {
        let owner = Person { acts_for: by.account.clone(), ..by.clone() };
        self.by(&owner).post(&format!("/api/v1{path}"), &body.to_string()).await.id().to_owned()
    }

    /// A name; of what is Ann's it says that few may see it.
    pub(super) fn name(&self, of: &Person) -> String {
        let word = if of.account == self.ann.account { MARK } else { "anybody's" };
        format!("{word} {}", self.number())
    }

    pub(super) async fn key(&self, of: &Person, scopes: &[&str]) -> String {
        self.posted(of, "/keys", json!({"name": self.name(of), "scopes": scopes})).await
    }

    pub(super) async fn webhook(&self, of: &Person) -> String {
        let body = json!({"url": "https://example.com/hook", "events": ["product.*"], "description": self.name(of)});
        self.posted(of, "/webhooks", body).await
    }

    async fn idle_webhook(&self, of: &Person) -> String {
        let body = json!({"url": "https://example.com/hook", "events": ["product.*"], "active": false});
        self.posted(of, "/webhooks", body).await
    }

    pub(super) async fn store(&self, of: &Person) -> String {
        self.posted(of, "/stores", json!({"name": self.name(of), "currency": "USD"})).await
    }

    pub(super) async fn product(&self, of: &Person) -> (String, String) {
        let store = self.store(of).await;
        let body = json!({"title": self.name(of), "price": 1});
        let product = self.posted(of, &format!("/stores/{store}/products"), body).await;
        (store, product)
    }

    pub(super) async fn project(&self, of: &Person) -> String {
        self.posted(of, "/portfolio/projects", json!({"title": self.name(of)})).await
    }

    pub(super) async fn ticket(&self, of: &Person) -> String {
        self.posted(of, "/support/tickets", json!({"subject": self.name(of), "body": "Since noon."})).await
    }

    pub(super) async fn client(&self, of: &Person) -> String {
        let body = json!({"name": self.name(of), "redirect_uris": ["https://app.example/"], "scopes": ["read:stores"]});
        self.posted(of, "/oauth/clients", body).await
    }

    async fn registration_token(&self, of: &Person) -> String {
        let body = json!({"name": self.name(of), "scopes": ["read:stores"]});
        self.posted(of, "/oauth/registration-tokens", body).await
    }

    async fn invitation(&self, of: &Person) -> String {
        let email = format!("invited.{}@example.com", self.number());
        self.posted(of, "/members/invitations", json!({"email": email, "role": "viewer"})).await
    }

    /// Somebody's id.
    pub(super) async fn member_of(&self, of: &Person) -> String {
        let person = self.person("member").await;
        self.join(&person.id, &of.account, "viewer").await;
        person.id
    }

    pub(super) async fn draft_app(&self, of: &Person) -> String {
        self.posted(of, "/apps", content(&self.name(of))).await
    }

    async fn acted(&self, of: &Person, app: &str, what: &str) {
        let owner = Person { acts_for: of.account.clone(), ..of.clone() };
        self.by(&owner).post(&format!("/api/v1/apps/{app}/{what}"), "").await.data();
    }

    /// Checked, so that a person can decide.
    async fn submitted_app(&self, of: &Person) -> String {
        self.submit(of, self.draft_app(of).await).await
    }

    async fn submit(&self, of: &Person, app: String) -> String {
        self.acted(of, &app, "submit").await;
        // Others may wait too: what was submitted when it was tried.
        while apps::sweep(&self.app.api).await.unwrap() > 0 {}
        app
    }

    async fn approved_app(&self, of: &Person) -> String {
        let app = self.submitted_app(of).await;
        judge(&self.app, &app, "approve").await.data();
        app
    }

    /// Of which everybody knows.
    pub(super) async fn published_app(&self, of: &Person) -> String {
        let app = self.posted(of, "/apps", content(&format!("Offered {}", self.number()))).await;
        let app = self.submit(of, app).await;
        judge(&self.app, &app, "approve").await.data();
        self.acted(of, &app, "publish").await;
        app
    }

    async fn deprecated_app(&self, of: &Person) -> String {
        let app = self.published_app(of).await;
        self.acted(of, &app, "deprecate").await;
        app
    }

    async fn suspended_app(&self, of: &Person) -> String {
        let app = self.published_app(of).await;
        judge(&self.app, &app, "suspend").await.data();
        app
    }

    /// Of a fresh app of Dora's: the app, and the installation.
    pub(super) async fn installation(&self, of: &Person) -> (String, String) {
        let app = self.published_app(&self.dora).await;
        let installation = self.posted(of, "/installations", json!({"app": app, "scopes": ["read:events"]})).await;
        (app, installation)
    }

    /// Of a fresh app: the app, and what another account says of it.
    async fn review(&self, developer: &Person, reviewer: &Person) -> (String, String) {
        let app = self.published_app(developer).await;
        self.posted(reviewer, "/installations", json!({"app": app, "scopes": ["read:events"]})).await;
        let review = self.posted(reviewer, &format!("/apps/{app}/reviews"), json!({"rating": 4})).await;
        (app, review)
    }

    /// Its sequence and its id.
    pub(super) async fn event(&self, of: &Person) -> (i64, String) {
        let id = self.app.world.id(EventId::new).to_string();
        let sequence = 1_000_000 + i64::from(self.number());
        let sql = "INSERT INTO events (sequence, id, account_id, type, version, object_id, body, created_at)
                   VALUES ($1, $2, $3, 'product.created', 1, 'prod_1', $5, $4)";
        let query = self.app.database.db.query(sql).bind(sequence).bind(id.clone()).bind(of.account.clone());
        let body = json!({"id": id, "type": "product.created", "timestamp": "2026-11-20T00:00:00.000Z", "data": {}});
        query.bind(self.app.world.now_ms()).bind(body.to_string()).execute().await.unwrap();
        (sequence, id)
    }

    /// One that has failed.
    pub(super) async fn delivery(&self, of: &Person) -> String {
        let (webhook, (sequence, _)) = (self.webhook(of).await, self.event(of).await);
        let id = self.app.world.id(DeliveryId::new).to_string();
        let sql = "INSERT INTO deliveries (id, account_id, webhook_id, sequence, event_type, object_id, state, claimed, attempts,
                       schedule_start, last_status, created_at, completed_at)
                   VALUES ($1, $2, $3, $4, 'product.created', 'prod_1', 'failed', FALSE, 1, 0, 500, $5, $5)";
        let query = self.app.database.db.query(sql).bind(id.clone()).bind(of.account.clone()).bind(webhook);
        query.bind(sequence).bind(self.app.world.now_ms()).execute().await.unwrap();
        id
    }

    async fn grant(&self, of: &Person) -> String {
        let (client, id) = (self.client(of).await, self.app.world.id(GrantId::new).to_string());
        let sql = "INSERT INTO oauth_grants (id, client_id, account_id, user_id, scopes, created_at, last_used_at, expires_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";
        let query = self.app.database.db.query(sql).bind(id.clone()).bind(client).bind(of.account.clone());
        let now_ms = self.app.world.now_ms();
        let query = query.bind(of.id.clone()).bind(sqlx::types::Json(json!(["read:stores"])));
        query.bind(now_ms).bind(now_ms + 60 * 60 * 1_000).execute().await.unwrap();
        id
    }

    async fn identity(&self, of: &Person) -> String {
        let id = self.app.world.id(IdentityId::new).to_string();
        let sql = "INSERT INTO identities (id, user_id, provider, issuer, subject, email, created_at)
                   VALUES ($1, $2, 'github', 'https://github.com', $1, NULL, $3)";
        let query = self.app.database.db.query(sql).bind(id.clone()).bind(of.id.clone());
        query.bind(self.app.world.now_ms()).execute().await.unwrap();
        id
    }

    async fn passkey(&self, of: &Person) -> String {
        let id = self.app.world.id(PasskeyId::new).to_string();
        let sql =
            "INSERT INTO passkeys (id, user_id, name, credential_id, public_key, counter, synced, authenticator, transports,
                       created_at)
                   VALUES ($1, $2, 'Phone', $3, $3, 0, FALSE, $4, '[]', $5)";
        let query = self.app.database.db.query(sql).bind(id.clone()).bind(of.id.clone());
        let query = query.bind(self.app.world.random().to_vec()).bind(vec![0_u8; 16]);
        query.bind(self.app.world.now_ms()).execute().await.unwrap();
        id
    }

    async fn administered(&self, path: &str, body: Value) -> String {
        let answer = self.app.admin().post(&format!("/api/v1{path}"), &body.to_string()).await;
        answer.data();
        answer.body["data"]["id"].as_str().or(answer.body["data"]["name"].as_str()).unwrap().to_owned()
    }

    async fn account(&self) -> String {
        self.administered("/admin/accounts", json!({"name": "Example Ltd"})).await
    }

    async fn event_type(&self) -> String {
        let name = format!("order.t{}", self.number());
        let body = json!({"name": name, "description": "It was sent.", "schema": {"type": "object"}});
        self.administered("/events/types", body).await;
        name
    }

    /// Puts an object of the gateway; its name.
    pub(super) async fn gateway(&self, kind: &str, body: Value) -> String {
        let name = format!("object-{}", self.number());
        self.app.admin().put(&format!("/api/v1/admin/{kind}/{name}"), &body.to_string()).await.data();
        name
    }

    async fn route(&self) -> String {
        let upstream = self.gateway("upstreams", json!({"addresses": ["http://127.0.0.1:7000"]})).await;
        let path = format!("/p{}", self.number());
        self.gateway("routes", json!({"path": path, "upstream": upstream, "auth": "key"})).await
    }

    async fn issuer(&self) -> String {
        self.gateway("issuers", self.issuer_spec()).await
    }

    pub(super) fn issuer_spec(&self) -> Value {
        let issuer = format!("https://id{}.example.com", self.number());
        json!({"issuer": issuer, "audiences": ["clearway"], "algorithms": ["ES256"], "account": self.dora.account,
            "jwks_url": format!("{issuer}/keys")})
    }

    async fn client_certificate(&self) -> String {
        self.gateway("client-certificates", self.client_certificate_spec()).await
    }

    pub(super) fn client_certificate_spec(&self) -> Value {
        json!({"account": self.dora.account, "fingerprint": format!("sha256:{:064x}", self.number())})
    }

    async fn certificate(&self) -> String {
        let mut body = certificate();
        body["name"] = format!("certificate-{}", self.number()).into();
        self.administered("/admin/certificates", body).await
    }

    async fn collection(&self) -> String {
        let (name, app) = (format!("shops-{}", self.number()), self.published_app(&self.dora).await);
        let body = json!({"title": "For shops", "apps": [app]}).to_string();
        self.app.admin().put(&format!("/api/v1/admin/collections/{name}"), &body).await.data();
        name
    }

    async fn mail(&self) -> String {
        self.invitation(&self.dora).await;
        let mails = self.app.admin().get("/api/v1/admin/mails?limit=1").await;
        mails.data()["items"][0]["id"].as_str().unwrap().to_owned()
    }

    /// One that is gone.
    async fn proxy(&self) -> String {
        let id = self.app.world.id(ProxyId::new).to_string();
        let sql = "INSERT INTO proxies (id, name, version, revision, created_at, last_seen_at) VALUES ($1, 'edge', '0', 0, 1, 1)";
        self.app.database.db.query(sql).bind(id.clone()).execute().await.unwrap();
        id
    }
}

/// A chain and its key.
pub(super) fn certificate() -> Value {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["shop.test".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    json!({"chain": params.self_signed(&key).unwrap().pem(), "key": key.serialize_pem()})
}
