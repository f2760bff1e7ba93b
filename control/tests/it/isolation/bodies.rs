//! What an operation is sent: the document's example, unless it must name something that is there, or is good only once.

use serde_json::{Value, json};

use super::{
    objects::certificate,
    world::{Person, World},
};
use crate::{auth::PASSWORD, document::Operation, marketplace::content};

impl World {
    pub(super) async fn body(&self, operation: &Operation, of: &Person) -> Option<Value> {
        operation.body.as_ref()?;
        let name = operation.name();
        let alias = name.replace("/marketplace/", "/");
        let own = match alias.as_str() {
            "POST /apps" => content(&self.name(of)),
            "PUT /apps/{id}/client" => json!({"client_id": self.client(of).await}),
            "POST /installations" | "POST /apps/install" => json!({"app": self.published_app(&self.dora).await}),
            "PUT /installations/{id}" => json!({"scopes": ["read:events", "read:keys"]}),
            "POST /keys/{id}/rotate" | "POST /webhooks/{id}/rotate-secret" => json!({"overlap": 0}),
            "POST /events" => json!({"type": "order.shipped", "data": {"order": 17}}),
            "POST /events/types" => {
                json!({"name": format!("order.n{}", self.number()), "description": "It was sent.", "schema": {"type": "object"}})
            }
            "POST /deliveries/replay" => json!({"from": "2026-11-20T00:00:00Z", "webhook_id": self.webhook(of).await}),
            "POST /members/invitations" => {
                json!({"email": format!("invited.{}@example.com", self.number()), "role": "viewer"})
            }
            "POST /members/transfer" => json!({"user_id": self.member_of(of).await, "password": PASSWORD}),
            "POST /users/me/email" => {
                json!({"email": format!("other.{}@example.com", self.number()), "password": PASSWORD})
            }
            "POST /auth/passkey/confirm" => json!({"passkey": {}}),
            "POST /users/me/passkeys/confirm" => json!({"name": "Phone", "credential": {}}),
            "POST /users/me/second-factor/passkey/confirm" => json!({"credential": {}}),
            "POST /admin/accounts" => json!({"name": "Example Ltd"}),
            "PATCH /admin/accounts/{id}" => json!({"policies": []}),
            "PUT /admin/accounts/{id}/plan" => json!({"plan": "starter"}),
            "PUT /admin/collections/{name}" => json!({"title": "For shops", "apps": [self.published_app(&self.dora).await]}),
            "PUT /admin/gateway" => json!({}),
            "PUT /admin/upstreams/{id}" => json!({"addresses": ["http://127.0.0.1:7001"]}),
            "PUT /admin/policies/{id}" => json!({"body_max": "2MiB"}),
            "PUT /admin/routes/{id}" => json!({"path": format!("/p{}", self.number()), "auth": "open",
                "upstream": self.gateway("upstreams", json!({"addresses": ["http://127.0.0.1:7000"]})).await}),
            "PUT /admin/issuers/{id}" => self.issuer_spec(),
            "PUT /admin/client-certificates/{id}" => self.client_certificate_spec(),
            "PUT /admin/certificates/{id}" => certificate(),
            "POST /admin/certificates" => {
                let mut body = certificate();
                body["name"] = format!("certificate-{}", self.number()).into();
                body
            }
            _ => operation
                .example
                .as_ref()
                .unwrap_or_else(|| panic!("{name}: say in isolation/bodies.rs what it is sent; the document has no example"))
                .clone(),
        };
        Some(own)
    }
}
