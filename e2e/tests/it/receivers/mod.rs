//! Receivers that fail in every way there is, and what becomes of the events they are sent: both planes as real processes,
//! and what operators are told by the API.

mod addresses;
mod answers;
mod failing;
mod ordering;
mod sharing;

use clearway_testkit::Cluster;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy, word},
    upstream::Upstream,
};

const KIND: &str = "order.shipped";
/// Whatever goes wrong is tried again at once, as often as is allowed.
const AT_ONCE: &str = r#"{"initial_delay_ms": 100, "backoff_multiplier": 1, "max_retries": 20}"#;

/// Both planes, and webhooks to whatever listens on this machine.
struct Stand {
    control: Control,
    gateway: Proxy,
    /// Its directory lives as long.
    _fleet: Fleet,
}

impl Stand {
    /// Over SQLite; `allow` is of `[egress]`.
    async fn start(allow: &str) -> Self {
        Self::with(&settings(allow, "")).await
    }

    async fn over_postgresql(name: &str) -> Self {
        let url = Cluster::shared().create(name);
        Self::with(&format!("{}[control]\ndatabase_url = \"{url}\"\n", settings("127.0.0.1/32", ""))).await
    }

    async fn with(settings: &str) -> Self {
        Self::of(Fleet::new(settings)).await
    }

    async fn of(fleet: Fleet) -> Self {
        let upstream = Upstream::start().await;
        let control = fleet.control();
        let gateway = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
        control.attached(1).await;
        let kind = json!({"name": KIND, "description": "An order has left.", "schema": {"type": "object"}});
        control.admin(Method::POST, "/api/v1/events/types", Some(kind)).await;
        Self { control, gateway, _fleet: fleet }
    }

    /// A webhook that tries again at once, unless `more` says otherwise; its id.
    async fn webhook(&self, url: &str, more: Value) -> String {
        let retries: Value = serde_json::from_str(AT_ONCE).expect("JSON");
        let mut body = json!({"url": url, "events": [KIND], "retry_policy": retries});
        for (field, value) in more.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        word(&self.control.admin(Method::POST, "/api/v1/webhooks", Some(body)).await, "id")
    }

    /// An event about `object`; its id.
    async fn event(&self, object: &str, data: Value) -> String {
        let event = json!({"type": KIND, "object_id": object, "data": data});
        word(&self.control.admin(Method::POST, "/api/v1/events", Some(event)).await, "id")
    }

    /// What operators are told of a webhook.
    async fn told(&self, webhook: &str) -> Value {
        self.control.admin(Method::GET, &format!("/api/v1/webhooks/{webhook}"), None).await
    }

    /// The deliveries to a webhook that have ended, once there are `count`, the newest first.
    async fn ended(&self, webhook: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} deliveries to {webhook} to end"), async || {
            let path = format!("/api/v1/deliveries?limit=100&webhook_id={webhook}");
            let listed = self.control.admin(Method::GET, &path, None).await;
            let ended = listed["items"].as_array().expect("a list").iter().filter(|item| !item["completed_at"].is_null());
            let ended: Vec<Value> = ended.cloned().collect();
            (ended.len() >= count).then_some(ended)
        })
        .await
    }

    /// The attempts of a delivery, the first one first.
    async fn attempts(&self, delivery: &Value) -> Vec<Value> {
        let path = format!("/api/v1/deliveries/{}", word(delivery, "id"));
        let details = self.control.admin(Method::GET, &path, None).await;
        details["attempt_log"].as_array().expect("a list").clone()
    }
}

/// `[egress]` of both planes that allows networks of one's own, with `more` of it.
fn settings(allow: &str, more: &str) -> String {
    format!("[sync]\nmode = \"available\"\n[egress]\nallow = [\"{allow}\"]\nallow_http = true\n{more}")
}
