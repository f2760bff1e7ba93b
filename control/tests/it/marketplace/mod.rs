//! Apps from their first draft to whoever installs them, over HTTP.

mod catalogue;
mod installing;
mod lifecycle;
mod many;
mod reviewing;

use clearway_control::apps;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};

pub(crate) const DEVELOPER: &[&str] =
    &["read:apps", "write:apps", "delete:apps", "write:marketplace", "read:events", "read:keys"];

/// What passes every check.
pub(crate) fn content(name: &str) -> Value {
    json!({
        "name": name,
        "summary": "Posts what happens to a channel",
        "description": "Whoever wants to know what happens in a store reads it in the channel they have open anyway.",
        "category": "communication",
        "support_url": "https://example.com/support",
        "privacy_url": "https://example.com/privacy",
        "features": ["Post messages"],
        "permissions": [
            {"scope": "read:events", "reason": "To post what happens to a channel."},
            {"scope": "read:keys", "reason": "To name the key that was used.", "optional": true},
        ],
        "redirect_uris": ["https://example.com/oauth/callback"],
    })
}

pub(crate) async fn act(app: &TestApp, key: &str, id: &str, what: &str) -> Answer {
    app.with_key(key).post(&format!("/api/v1/apps/{id}/{what}"), "").await
}

pub(crate) async fn judge(app: &TestApp, id: &str, what: &str) -> Answer {
    let body = if what == "approve" || what == "resume" { "" } else { r#"{"reason": "It asks people for passwords."}"# };
    app.admin().post(&format!("/api/v1/admin/apps/{id}/{what}"), body).await
}

/// Submitted, checked, approved and published.
pub(crate) async fn release(app: &TestApp, key: &str, id: &str) {
    act(app, key, id, "submit").await.data();
    assert_eq!(apps::sweep(&app.api).await.unwrap(), 1);
    judge(app, id, "approve").await.data();
    act(app, key, id, "publish").await.data();
}

/// An app that everybody sees, and its id.
pub(crate) async fn published(app: &TestApp, key: &str, content: &Value) -> String {
    app.world.advance(1);
    let id = app.with_key(key).post("/api/v1/apps", &content.to_string()).await.id().to_owned();
    release(app, key, &id).await;
    id
}

pub(crate) fn names(answer: &Answer) -> Vec<&str> {
    answer.data()["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}
