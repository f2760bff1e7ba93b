use serde_json::{Value, json};

use crate::app::{TestApp, on_both};

const ROUTES: &str = "/api/v1/admin/routes";
const UPSTREAMS: &str = "/api/v1/admin/upstreams";
const GATEWAY: &str = "/api/v1/admin/gateway";

async fn with_orders(app: &TestApp) {
    app.admin().put(&format!("{UPSTREAMS}/orders"), r#"{"addresses": ["http://127.0.0.1:7000"]}"#).await.data();
    let route = r#"{"path": "/orders", "upstream": "orders", "auth": "key", "scopes": ["read:orders"]}"#;
    app.admin().put(&format!("{ROUTES}/orders"), route).await.data();
}

#[tokio::test]
async fn an_object_is_created_read_changed_and_deleted_by_its_name() {
    on_both(async |app: TestApp| {
        with_orders(&app).await;
        let read = app.admin().get(&format!("{ROUTES}/orders")).await;
        assert_eq!(read.headers["etag"], "\"1\"");
        let expected = json!({"name": "orders", "path": "/orders", "upstream": "orders", "auth": "key", "scopes": ["read:orders"],
            "version": 1, "created_at": "2026-11-20T00:00:00.000Z", "updated_at": "2026-11-20T00:00:00.000Z"});
        assert_eq!(*read.data(), expected);

        let changed = r#"{"path": "/orders", "upstream": "orders", "auth": "open"}"#;
        assert_eq!(app.admin().put(&format!("{ROUTES}/orders"), changed).await.data()["version"], 2);
        let same = app.admin().put(&format!("{ROUTES}/orders"), changed).await;
        assert_eq!((&same.data()["version"], &same.data()["propagation"]), (&json!(2), &Value::Null), "nothing to do");

        let list = app.admin().get(ROUTES).await;
        assert_eq!((&list.data()["total"], &list.data()["items"][0]["name"]), (&json!(1), &json!("orders")));
        app.admin().delete(&format!("{ROUTES}/orders")).await.data();
        app.admin().get(&format!("{ROUTES}/orders")).await.refused(404, "not_found");
        app.admin().delete(&format!("{ROUTES}/orders")).await.refused(404, "not_found");

        let log = app.admin().get("/api/v1/audit?object_id=route/orders").await;
        let mut actions: Vec<_> = log.data()["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
        actions.sort_by_key(ToString::to_string);
        assert_eq!(actions, ["gateway.created", "gateway.deleted", "gateway.updated"]);
    })
    .await;
}

#[tokio::test]
async fn what_would_make_the_document_wrong_is_refused_by_its_place() {
    on_both(async |app: TestApp| {
        with_orders(&app).await;
        for (name, body, field) in [
            ("a", r#"{"path": "orders", "upstream": "orders", "auth": "key"}"#, "path"),
            ("a", r#"{"path": "/orders/", "upstream": "orders", "auth": "key"}"#, "path"),
            ("a", r#"{"path": "/a", "upstream": "other", "auth": "key"}"#, "upstream"),
            ("a", r#"{"path": "/a", "upstream": "orders", "auth": "key", "pathh": 1}"#, "body"),
            ("a", r#"{"name": "b", "path": "/a", "upstream": "orders", "auth": "key"}"#, "name"),
            ("A", r#"{"path": "/a", "upstream": "orders", "auth": "key"}"#, "name"),
        ] {
            let refused = app.admin().put(&format!("{ROUTES}/{name}"), body).await;
            refused.refused(400, "validation_error");
            assert_eq!(refused.body["error"]["details"][0]["field"], field, "{body}");
        }
        let other_host = r#"{"host": "b.example", "path": "/orders", "upstream": "orders", "auth": "key"}"#;
        app.admin().put(&format!("{ROUTES}/b"), other_host).await.data();
        let refused = app.admin().delete(&format!("{UPSTREAMS}/orders")).await;
        refused.refused(409, "conflict");
        assert_eq!(refused.body["error"]["message"], "It is named by route `b`, route `orders`.");
    })
    .await;
}

#[tokio::test]
async fn two_editors_do_not_overwrite_each_other() {
    on_both(async |app: TestApp| {
        with_orders(&app).await;
        let body = r#"{"path": "/orders", "upstream": "orders", "auth": "open"}"#;
        let orders = format!("{ROUTES}/orders");
        app.admin().header("if-match", "\"7\"").put(&orders, body).await.refused(412, "precondition_failed");
        app.admin().header("if-none-match", "*").put(&orders, body).await.refused(412, "precondition_failed");
        app.admin().header("if-match", "1").put(&orders, body).await.refused(400, "validation_error");
        app.admin().header("if-match", "\"7\"").delete(&orders).await.refused(412, "precondition_failed");
        assert_eq!(app.admin().header("if-match", "\"1\"").put(&orders, body).await.data()["version"], 2);
    })
    .await;
}

#[tokio::test]
async fn a_whole_document_is_applied_in_one_step_and_reads_back_the_same() {
    on_both(async |app: TestApp| {
        with_orders(&app).await;
        let document = json!({
            "upstreams": [{"name": "users", "addresses": ["http://127.0.0.1:7001"]}],
            // The path of a route that goes, and a new upstream in the place of one that goes.
            "routes": [{"name": "users", "path": "/orders", "upstream": "users", "auth": "key"}],
        });
        let dry = app.admin().put(&format!("{GATEWAY}?dry_run=true"), &document.to_string()).await;
        let expected = json!([
            {"action": "create", "kind": "upstream", "name": "users"},
            {"action": "create", "kind": "route", "name": "users"},
            {"action": "delete", "kind": "route", "name": "orders"},
            {"action": "delete", "kind": "upstream", "name": "orders"},
        ]);
        assert_eq!(dry.data()["changes"], expected);
        assert_eq!(app.admin().get(ROUTES).await.data()["items"][0]["name"], "orders", "nothing was changed");

        assert_eq!(app.admin().put(GATEWAY, &document.to_string()).await.data()["changes"], expected);
        assert_eq!(*app.admin().get(GATEWAY).await.data(), document);
        let again = app.admin().put(GATEWAY, &document.to_string()).await;
        assert_eq!((&again.data()["changes"], &again.data()["propagation"]), (&json!([]), &Value::Null));

        let wrong = json!({"routes": [{"name": "x", "path": "/", "upstream": "gone", "auth": "key"}]});
        let refused = app.admin().put(GATEWAY, &wrong.to_string()).await;
        refused.refused(400, "validation_error");
        assert_eq!(refused.body["error"]["details"][0]["field"], "routes[0].upstream");
        assert_eq!(*app.admin().get(GATEWAY).await.data(), document, "nothing was changed");
    })
    .await;
}

#[tokio::test]
async fn only_admins_may_see_or_change_the_gateway() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(&["read:keys", "write:keys"]).await;
        for path in [ROUTES, GATEWAY] {
            app.with_key(&key).get(path).await.refused(403, "scope_missing");
        }
        app.with_key(&key).put(&format!("{ROUTES}/a"), "{}").await.refused(403, "scope_missing");
        app.with_key(&key).put(GATEWAY, "{}").await.refused(403, "scope_missing");
        app.with_key(&key).delete(&format!("{ROUTES}/a")).await.refused(403, "scope_missing");
    })
    .await;
}

#[tokio::test]
async fn what_a_route_needs_without_naming_it_stays() {
    on_both(async |app: TestApp| {
        let issuers = "/api/v1/admin/issuers";
        let issuer = r#"{"issuer": "https://id.example", "audiences": ["orders"], "jwks_url": "https://id.example/jwks",
            "algorithms": ["ES256"], "account_claim": "account"}"#;
        app.admin().put(&format!("{issuers}/a"), issuer).await.data();
        let twice = app.admin().put(&format!("{issuers}/b"), issuer).await;
        twice.refused(400, "validation_error");
        let route = r#"{"path": "/a", "upstream": "control", "auth": ["jwt"]}"#;
        app.admin().put(&format!("{ROUTES}/a"), route).await.data();
        app.admin().delete(&format!("{issuers}/a")).await.refused(400, "validation_error");
        app.admin().delete(&format!("{ROUTES}/a")).await.data();
        app.admin().delete(&format!("{issuers}/a")).await.data();
    })
    .await;
}

#[tokio::test]
async fn objects_put_one_by_one_are_bounded_as_whole_documents_are() {
    on_both(async |app: TestApp| {
        with_orders(&app).await;
        // Each has its parameters in another set of places.
        let route = |n: u32, host: &str| {
            let path: String = (0..8).map(|bit| if n >> bit & 1 == 1 { format!("/{{p{bit}}}") } else { "/a".into() }).collect();
            json!({"host": host, "path": path, "upstream": "orders", "auth": "open"}).to_string()
        };
        for n in 1..=128 {
            app.admin().put(&format!("{ROUTES}/r{n}"), &route(n, "a.example")).await.data();
        }
        let refused = app.admin().put(&format!("{ROUTES}/more"), &route(129, "A.example")).await;
        refused.refused(409, "object_limit_reached");
        assert!(refused.body["error"]["message"].as_str().unwrap().contains("a.example"), "{:?}", refused.body);
        app.admin().get(&format!("{ROUTES}/more")).await.refused(404, "not_found");
        // Another host has room, so has a set that is taken, and one is given back.
        app.admin().put(&format!("{ROUTES}/more"), &route(129, "b.example")).await.data();
        let twin = route(3, "a.example").replace("/a\"", "/b\"");
        app.admin().put(&format!("{ROUTES}/twin"), &twin).await.data();
        app.admin().delete(&format!("{ROUTES}/r3")).await.data();
        app.admin().put(&format!("{ROUTES}/more"), &route(129, "a.example")).await.refused(409, "object_limit_reached");
        app.admin().delete(&format!("{ROUTES}/twin")).await.data();
        app.admin().put(&format!("{ROUTES}/more"), &route(129, "a.example")).await.data();
        let listed = app.admin().get(&format!("{ROUTES}?limit=1")).await;
        assert_eq!(listed.data()["total"], 129);

        let full = "UPDATE gateway_counts SET objects = 10000 WHERE kind = 'upstream'";
        app.database.db.query(full).execute().await.unwrap();
        let body = r#"{"addresses": ["http://127.0.0.1:7000"]}"#;
        app.admin().put(&format!("{UPSTREAMS}/more"), body).await.refused(409, "object_limit_reached");
        app.admin().put(&format!("{UPSTREAMS}/orders"), body).await.data();
    })
    .await;
}

/// Host, arrangement, routes.
type Arrangements = Vec<(String, String, i64)>;

#[tokio::test]
async fn what_was_stored_before_bounds_were_kept_is_counted_by_the_migration_as_it_is_now() {
    on_both(async |app: TestApp| {
        with_orders(&app).await;
        for (name, host, path) in [("a", "a.example", "/{x}/b/{y}/c"), ("b", "a.example", "/{z}/b/{y}"), ("c", "b.example", "/")]
        {
            let body = json!({"host": [host, "*.example"], "path": path, "upstream": "orders", "auth": "open"});
            app.admin().put(&format!("{ROUTES}/{name}"), &body.to_string()).await.data();
        }
        let db = &app.database.db;
        let kept = async || -> (Arrangements, Vec<(String, i64)>) {
            let arranged = db.query("SELECT host, arrangement, routes FROM gateway_arrangements ORDER BY host, arrangement");
            let counted = db.query("SELECT kind, objects FROM gateway_counts ORDER BY kind");
            (arranged.all().await.unwrap(), counted.all().await.unwrap())
        };
        let before = kept().await;
        assert_eq!(before.0, [("*.example".into(), "*-*".into(), 2), ("a.example".into(), "*-*".into(), 2)]);
        let text = match db.engine() {
            "sqlite" => include_str!("../../../migrations/sqlite/0005_bounds_and_refusals.sql"),
            _ => include_str!("../../../migrations/postgres/0005_bounds_and_refusals.sql"),
        };
        for (table, empty) in [
            ("INSERT INTO gateway_counts", "DELETE FROM gateway_counts"),
            ("INSERT INTO gateway_arrangements", "DELETE FROM gateway_arrangements"),
        ] {
            let from = &text[text.find(table).unwrap()..];
            db.query(empty).execute().await.unwrap();
            db.query(&from[..from.find(';').unwrap()]).execute().await.unwrap();
        }
        assert_eq!(kept().await, before);
    })
    .await;
}
