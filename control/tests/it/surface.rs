//! What the product was asked to serve, path by path, and what serves it: the REST API v1, with the older names of some of its
//! paths, which answer the same.

use http::Method;
use serde_json::Value;

use crate::{
    app::{Answer, TestApp, on_both},
    document::{BASE, operations},
    isolation::world::{Target, World},
};

/// Where somebody was promised an operation, and the one that there is.
const SERVED: &[(&str, &str)] = &[
    // Signing in.
    ("POST /auth/register", "POST /auth/register"),
    ("POST /auth/login", "POST /auth/login"),
    ("POST /auth/refresh", "POST /auth/refresh"),
    ("POST /auth/logout", "POST /auth/logout"),
    ("POST /auth/verify-email", "POST /auth/verify-email"),
    ("POST /auth/reset-password", "POST /auth/reset-password"),
    ("GET /auth/user", "GET /auth/user"),
    // Keys.
    ("GET /keys", "GET /keys"),
    ("POST /keys", "POST /keys"),
    ("GET /keys/{keyId}", "GET /keys/{id}"),
    ("PUT /keys/{keyId}", "PUT /keys/{id}"),
    ("DELETE /keys/{keyId}", "DELETE /keys/{id}"),
    ("POST /keys/{keyId}/regenerate", "POST /keys/{id}/regenerate"),
    // The marketplace.
    ("GET /apps", "GET /apps"),
    ("POST /apps", "POST /apps"),
    ("GET /apps/{appId}", "GET /apps/{id}"),
    ("PUT /apps/{appId}", "PUT /apps/{id}"),
    ("DELETE /apps/{appId}", "DELETE /apps/{id}"),
    ("GET /apps/{appId}/reviews", "GET /apps/{id}/reviews"),
    ("POST /apps/{appId}/reviews", "POST /apps/{id}/reviews"),
    ("GET /apps/{appId}/oauth/config", "GET /apps/{id}/oauth/config"),
    ("POST /apps/install", "POST /apps/install"),
    ("DELETE /apps/{installId}/uninstall", "DELETE /apps/{id}/uninstall"),
    // What developers show.
    ("GET /portfolio", "GET /portfolio"),
    ("POST /portfolio/projects", "POST /portfolio/projects"),
    ("GET /portfolio/projects", "GET /portfolio/projects"),
    ("GET /portfolio/projects/{projectId}", "GET /portfolio/projects/{id}"),
    ("PUT /portfolio/projects/{projectId}", "PUT /portfolio/projects/{id}"),
    ("DELETE /portfolio/projects/{projectId}", "DELETE /portfolio/projects/{id}"),
    ("POST /portfolio/projects/{projectId}/publish", "POST /portfolio/projects/{id}/publish"),
    // Usage and plans.
    ("GET /analytics/usage", "GET /analytics/usage"),
    ("GET /billing/plans", "GET /billing/plans"),
    // Webhooks.
    ("GET /webhooks", "GET /webhooks"),
    ("POST /webhooks", "POST /webhooks"),
    ("GET /webhooks/{webhookId}", "GET /webhooks/{id}"),
    ("PUT /webhooks/{webhookId}", "PUT /webhooks/{id}"),
    ("DELETE /webhooks/{webhookId}", "DELETE /webhooks/{id}"),
    ("POST /webhooks/{webhookId}/test", "POST /webhooks/{id}/test"),
    ("GET /webhooks/{webhookId}/logs", "GET /webhooks/{id}/logs"),
    // Looking after people and apps.
    ("GET /admin/users", "GET /admin/users"),
    ("GET /admin/users/{userId}", "GET /admin/users/{id}"),
    ("PUT /admin/users/{userId}", "PUT /admin/users/{id}"),
    ("DELETE /admin/users/{userId}", "DELETE /admin/users/{id}"),
    ("GET /admin/apps/pending", "GET /admin/apps/pending"),
    ("POST /admin/apps/{appId}/approve", "POST /admin/apps/{id}/approve"),
    ("POST /admin/apps/{appId}/reject", "POST /admin/apps/{id}/reject"),
    ("GET /admin/analytics", "GET /admin/analytics"),
    // Security: a second factor, the log of what was done, rotation, and support.
    ("POST /keys/{keyId}/rotate", "POST /keys/{id}/rotate"),
    ("GET /audit", "GET /audit"),
    ("POST /users/me/second-factor", "POST /users/me/second-factor"),
    ("GET /users/me/export", "GET /users/me/export"),
    ("DELETE /users/me", "DELETE /users/me"),
    ("POST /support/tickets", "POST /support/tickets"),
    // Older names.
    ("GET /marketplace/keys", "GET /marketplace/keys"),
    ("POST /marketplace/keys", "POST /marketplace/keys"),
    ("GET /marketplace/keys/[keyId]", "GET /marketplace/keys/{id}"),
    ("PUT /marketplace/keys/[keyId]", "PUT /marketplace/keys/{id}"),
    ("DELETE /marketplace/keys/[keyId]", "DELETE /marketplace/keys/{id}"),
    ("GET /marketplace/apps", "GET /marketplace/apps"),
    ("POST /marketplace/apps", "POST /marketplace/apps"),
    ("GET /marketplace/apps/[appId]", "GET /marketplace/apps/{id}"),
    ("PUT /marketplace/apps/[appId]", "PUT /marketplace/apps/{id}"),
    ("DELETE /marketplace/apps/[appId]", "DELETE /marketplace/apps/{id}"),
    ("GET /marketplace/analytics/usage", "GET /marketplace/analytics/usage"),
    ("GET /marketplace/webhooks", "GET /marketplace/webhooks"),
    ("POST /marketplace/webhooks", "POST /marketplace/webhooks"),
];

/// What is not served, and why.
const NOT_SERVED: &[(&str, &str)] = &[
    ("GET /analytics/endpoints", "analytics by endpoint need rollups by route, which come with billing"),
    ("GET /analytics/errors", "the same"),
    ("GET /analytics/performance", "the same"),
    ("GET /analytics/costs", "comes with billing"),
    ("GET /billing/current", "comes with billing"),
    ("POST /billing/upgrade", "comes with billing"),
    ("POST /billing/downgrade", "comes with billing"),
    ("GET /billing/invoices", "comes with billing"),
    ("GET /billing/invoices/{invoiceId}", "comes with billing"),
    ("POST /billing/payment-methods", "comes with billing"),
    ("DELETE /billing/payment-methods/{methodId}", "comes with billing"),
];

/// Outside of the document, which RFC 8414's metadata describes: the protocol of OAuth, under both of its names.
const PROTOCOL: &[(Method, &str)] = &[
    (Method::GET, "/oauth/authorize"),
    (Method::POST, "/oauth/token"),
    (Method::POST, "/oauth/revoke"),
    (Method::GET, "/api/v1/marketplace/oauth/authorize"),
    (Method::POST, "/api/v1/marketplace/oauth/token"),
];

#[test]
fn every_path_that_was_promised_is_served_or_says_why_not() {
    let all: Vec<String> = operations().iter().map(super::document::Operation::name).collect();
    let missing: Vec<_> = SERVED.iter().filter(|(_, served)| !all.contains(&(*served).to_owned())).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let built: Vec<_> = NOT_SERVED.iter().filter(|(promised, _)| all.contains(&(*promised).to_owned())).collect();
    assert!(built.is_empty(), "there is an operation now: {built:#?}");
}

#[tokio::test]
async fn the_protocol_of_oauth_is_served_under_both_of_its_names() {
    on_both(async |app: TestApp| {
        for (method, path) in PROTOCOL {
            let answer = app.anyone().send(method.clone(), path, "").await;
            assert!(![404, 405].contains(&answer.status.as_u16()), "{method} {path} answers {}", answer.status);
        }
        let form = "grant_type=client_credentials&client_id=client_0000000000000000000000&client_secret=x";
        let asked = async |path: &str| {
            let client = app.anyone().header("content-type", "application/x-www-form-urlencoded");
            let answer = client.post(path, form).await;
            (answer.status, answer.body)
        };
        let canonical = asked("/oauth/token").await;
        assert_eq!(canonical.1["error"], "invalid_client");
        assert_eq!(asked("/api/v1/marketplace/oauth/token").await, canonical);
    })
    .await;
}

/// What of an answer must be the same by both names.
fn seen(answer: &Answer) -> (u16, Value, Value) {
    (answer.status.as_u16(), answer.body["data"].clone(), answer.body["error"].clone())
}

#[tokio::test]
async fn an_older_name_is_of_the_same_operation() {
    on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let all = operations();
        let mut compared = 0;
        for alias in all.iter().filter(|operation| operation.path.starts_with("/marketplace/")) {
            let canonical = alias.path.replacen("/marketplace", "", 1);
            let named = all.iter().find(|other| other.method == alias.method && other.path == canonical);
            let named = named.unwrap_or_else(|| panic!("{} is no alias", alias.name()));
            assert_eq!(
                (&alias.access, &alias.query, &alias.headers, &alias.body),
                (&named.access, &named.query, &named.headers, &named.body)
            );
            // What is asked for twice is the same object, unless it is consumed: then of nothing, and of what is refused.
            let target = world.refused_on(alias, &world.ann, &world.ann).await;
            let nothing =
                Target { ids: target.ids.iter().map(|_| "key_0000000000000000000000".to_owned()).collect(), ..target.clone() };
            let tried = if alias.reads() { vec![target, nothing] } else { vec![Target { body: "[]".into(), ..nothing }] };
            for target in tried {
                let (by_alias, by_name) = (
                    world.try_on(world.by(&world.ann), alias, &target).await,
                    world.try_on(world.by(&world.ann), named, &target).await,
                );
                assert_eq!(seen(&by_alias), seen(&by_name), "{BASE}{}", alias.path);
            }
            compared += 1;
        }
        assert!(compared > 15, "the aliases are gone");
    })
    .await;
}
