//! Authentication: the same checks, codes and order as at the gateway.

use clearway_config::{Environment, PlainKey};

use crate::{
    app::{Answer, NOW, TestApp, on_both},
    databases::Engine,
};

const KEYS: &str = "/api/v1/keys";

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap()
}

#[tokio::test]
async fn each_way_of_not_having_a_key_has_its_code() {
    on_both(async |app: TestApp| {
        let missing = app.anyone().get(KEYS).await;
        missing.refused(401, "key_missing");
        assert_eq!(challenge(&missing), "Bearer realm=\"clearway\"");

        let malformed = app.with_key("clw_live_short").get(KEYS).await;
        malformed.refused(401, "key_malformed");
        assert_eq!(challenge(&malformed), "Bearer realm=\"clearway\", error=\"invalid_token\"");
        app.anyone().header("authorization", "Basic YTpi").get(KEYS).await.refused(401, "key_malformed");

        let unknown = PlainKey::mint(Environment::Live, [9; 32]);
        app.with_key(unknown.reveal()).get(KEYS).await.refused(401, "key_unknown");
    })
    .await;
}

#[tokio::test]
async fn either_header_will_do_but_not_two_different_keys() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(&["read:keys"]).await;
        assert_eq!(app.anyone().header("x-api-key", &key).get(KEYS).await.status, 200);
        assert_eq!(app.anyone().header("authorization", &format!("bearer {key}")).get(KEYS).await.status, 200);
        assert_eq!(app.with_key(&key).header("x-api-key", &key).get(KEYS).await.status, 200);
        let other = PlainKey::mint(Environment::Live, [9; 32]);
        app.with_key(&key).header("x-api-key", other.reveal()).get(KEYS).await.refused(400, "ambiguous_request");
        app.anyone().header("x-api-key", &key).header("x-api-key", &key).get(KEYS).await.refused(400, "ambiguous_request");
    })
    .await;
}

#[tokio::test]
async fn the_checks_are_made_in_the_gateways_order() {
    on_both(async |app: TestApp| {
        let body = r#"{"name": "a", "allowed_addresses": ["192.0.2.0/24"], "expires_at": "2026-11-20T00:00:01Z"}"#;
        let (account, _) = app.account(&[]).await;
        let body = body.replacen('{', &format!("{{\"account_id\": \"{account}\", "), 1);
        let made = app.admin().post(KEYS, &body).await;
        let asked = async || app.with_key(made.secret()).header("x-forwarded-for", "192.0.2.9").get(KEYS).await;
        let elsewhere = async || app.with_key(made.secret()).header("x-forwarded-for", "203.0.113.9").get(KEYS).await;

        let lacking = asked().await;
        lacking.refused(403, "scope_missing");
        assert_eq!(challenge(&lacking), "Bearer realm=\"clearway\", error=\"insufficient_scope\", scope=\"read:keys\"");
        elsewhere().await.refused(403, "address_not_allowed");
        app.admin().post(&format!("/api/v1/admin/accounts/{account}/suspend"), "").await.data();
        elsewhere().await.refused(403, "account_suspended");
        app.world.advance(1_000);
        elsewhere().await.refused(401, "key_expired");
        app.admin().delete(&format!("{KEYS}/{}", made.id())).await.data();
        elsewhere().await.refused(401, "key_revoked");
    })
    .await;
}

#[tokio::test]
async fn an_address_is_believed_from_the_gateway_only() {
    on_both(async |app: TestApp| {
        let body = r#"{"name": "a", "scopes": ["read:keys"], "allowed_addresses": ["192.0.2.9", "2001:db8::9"]}"#;
        let made = app.admin().post(KEYS, body).await;
        let from = |list: &str| app.with_key(made.secret()).header("x-forwarded-for", list);
        assert_eq!(from("192.0.2.9").get(KEYS).await.status, 200);
        assert_eq!(from("2001:db8::9").get(KEYS).await.status, 200);
        assert_eq!(from("::ffff:192.0.2.9").get(KEYS).await.status, 200);
        from("192.0.2.9, 203.0.113.1").get(KEYS).await.refused(403, "address_not_allowed");
        from("192.0.2.9").peer([203, 0, 113, 1]).get(KEYS).await.refused(403, "address_not_allowed");
        assert_eq!(app.with_key(made.secret()).peer([192, 0, 2, 9]).get(KEYS).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_away_is_no_bad_key() {
    let app = TestApp::new(Engine::Postgres).await;
    let cluster = clearway_testkit::Cluster::shared();
    assert_eq!(app.admin().get(KEYS).await.status, 200);
    cluster.cut_off(&app.database.name, true);
    for _ in 0..10 {
        let refused = app.admin().get(KEYS).await;
        refused.refused(503, "store_unavailable");
        assert_eq!(refused.headers["retry-after"], "1");
        app.admin().post(KEYS, r#"{"name": "a"}"#).await.refused(503, "store_unavailable");
    }
    cluster.cut_off(&app.database.name, false);
    while app.admin().get(KEYS).await.status != 200 {}

    let app = TestApp::new(Engine::Sqlite).await;
    app.database.db.close().await;
    app.admin().get(KEYS).await.refused(503, "store_unavailable");
}

#[tokio::test]
async fn an_answer_says_whose_request_it_was_and_what_is_left() {
    on_both(async |app: TestApp| {
        let id = "req_0000000000000000000001";
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let answer = app
            .admin()
            .header("x-request-id", id)
            .header("traceparent", trace)
            .header("x-clearway-ratelimit", "10;9;1795132801")
            .get(KEYS)
            .await;
        assert_eq!((answer.body["id"].as_str(), answer.headers["x-request-id"].as_bytes()), (Some(id), id.as_bytes()));
        assert_eq!(answer.body["meta"]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(answer.body["meta"]["rate_limit"], serde_json::json!({ "limit": 10, "remaining": 9, "reset": 1_795_132_801 }));
        assert_eq!(answer.body["meta"]["timestamp"], "2026-11-20T00:00:00.000Z");
        assert_eq!(app.world.now_ms(), NOW);
    })
    .await;
}
