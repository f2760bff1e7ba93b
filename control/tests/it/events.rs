use clearway_control::{api, jobs};
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::app::{Answer, TestApp, on_both};

const EVENTS: &str = "/api/v1/events";
const TYPES: &str = "/api/v1/events/types";

async fn register(app: &TestApp, name: &str) {
    let schema = json!({ "type": "object", "properties": { "order": { "type": "integer" } }, "required": ["order"] });
    let body = json!({ "name": name, "description": "An order moved.", "schema": schema });
    assert_eq!(app.admin().post(TYPES, &body.to_string()).await.data()["version"], 1);
}

async fn emit(app: &TestApp, key: &str, body: &Value) -> Answer {
    app.with_key(key).post(EVENTS, &body.to_string()).await
}

fn ids(answer: &Answer) -> Vec<String> {
    answer.data()["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_type_is_listed_with_its_schema_and_whether_it_happens() {
    on_both(async |app: TestApp| {
        register(&app, "order.shipped").await;
        let (_, key) = app.account(&["read:events"]).await;
        let mut names = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = app.with_key(&key).get(&format!("{TYPES}?limit=7&cursor={cursor}")).await;
            for item in page.data()["items"].as_array().unwrap() {
                assert!(item["schema"].is_object() && item["emitted"].is_boolean() && item["version"].is_i64(), "{item:#}");
                assert_eq!(item["emitted"].as_bool().unwrap(), item["waits_for"].is_null());
                names.push(item["name"].as_str().unwrap().to_owned());
            }
            match page.data()["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert!(names.is_sorted() && names.len() > 35, "{names:?}");
        assert!(names.contains(&"order.shipped".to_owned()) && names.contains(&"key.revoked".to_owned()));
        let old = app.with_key(&key).get(&format!("{TYPES}/key.deleted")).await;
        assert_eq!((&old.data()["name"], &old.data()["aliases"]), (&json!("key.revoked"), &json!(["key.deleted"])));
        app.with_key(&key).get(&format!("{TYPES}/order.lost")).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn an_operator_registers_changes_and_takes_away_types_of_its_own() {
    on_both(async |app: TestApp| {
        let post = async |name: &str, schema: Value| {
            let body = json!({ "name": name, "description": "d", "schema": schema });
            app.admin().post(TYPES, &body.to_string()).await
        };
        for (name, schema) in [
            ("order", json!({})),
            ("key.painted", json!({})),
            ("order.shipped", json!({ "$ref": "https://example.com/" })),
            ("order.shipped", json!({ "type": "nothing" })),
            ("order.shipped", json!("x")),
        ] {
            post(name, schema).await.refused(400, "validation_error");
        }
        assert_eq!(post("order.shipped", json!({ "type": "object" })).await.status, StatusCode::CREATED);
        post("order.shipped", json!({})).await.refused(409, "conflict");

        let path = format!("{TYPES}/order.shipped");
        let change = json!({ "description": "d", "schema": { "required": ["b"] } }).to_string();
        let put = async |tag: &str| app.admin().header("if-match", tag).put(&path, &change).await;
        put("\"7\"").await.refused(412, "precondition_failed");
        assert_eq!(put("\"1\"").await.headers["etag"], "\"2\"");
        assert_eq!(app.admin().put(&path, &change).await.data()["version"], 2, "what changes nothing is no version");
        app.admin().put(&format!("{TYPES}/order.lost"), &change).await.refused(404, "not_found");
        assert_eq!(app.admin().delete(&path).await.data()["version"], 2);
        app.admin().delete(&path).await.refused(404, "not_found");
        let log = app.admin().get("/api/v1/audit?object_id=order.shipped").await;
        assert_eq!(log.data()["items"].as_array().unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn what_a_service_emits_is_checked_and_read_back_as_it_was_written() {
    on_both(async |app: TestApp| {
        register(&app, "order.shipped").await;
        let (account, key) = app.account(&["write:events", "read:events"]).await;
        let start = app.with_key(&key).get(&format!("{EVENTS}?after=latest")).await.data()["next_cursor"].clone();
        let raw = r#"{"type": "order.shipped", "object_id": "o-17", "data": {"z": 1.50, "order": 17, "a": "\u00e9"}}"#;
        let accepted = app.with_key(&key).post(EVENTS, raw).await;
        assert_eq!((accepted.status, &accepted.data()["type"]), (StatusCode::ACCEPTED, &json!("order.shipped")));
        let list =
            json!([{ "type": "order.shipped", "data": { "order": 1 } }, { "type": "order.shipped", "data": { "order": 2 } }]);
        assert_eq!(ids(&emit(&app, &key, &list).await).len(), 2);

        let feed = app.with_key(&key).get(&format!("{EVENTS}?after={}", start.as_str().unwrap())).await;
        let items = feed.data()["items"].as_array().unwrap();
        assert_eq!((items.len(), &feed.data()["has_more"]), (3, &json!(false)));
        assert_eq!((&items[0]["id"], &items[0]["object_id"]), (&accepted.data()["id"], &json!("o-17")));
        assert_eq!((&items[0]["account_id"], &items[2]["data"]), (&json!(account), &json!({ "order": 2 })));
        assert_eq!(feed.data()["next_cursor"], items[2]["cursor"]);
        let one = app.with_key(&key).get(&format!("{EVENTS}/{}", accepted.id())).await;
        assert_eq!(one.data(), &items[0]);
        let stored: String =
            app.database.db.query("SELECT body FROM events WHERE id = $1").bind(accepted.id().to_owned()).scalar().await.unwrap();
        assert!(stored.ends_with(r#""data":{"z": 1.50, "order": 17, "a": "\u00e9"}}"#), "{stored}");

        for (body, field) in [
            (json!({ "type": "order.shipped", "data": { "order": "x" } }), "data.order"),
            (json!({ "type": "order.shipped", "data": {} }), "data"),
            (json!({ "type": "order.shipped", "data": [] }), "data"),
            (json!({ "type": "order.shipped" }), "data"),
            (json!({ "data": {} }), "type"),
            (json!({ "type": "order.lost", "data": {} }), "type"),
            (json!({ "type": "order.shipped", "data": { "order": 1 }, "x": 1 }), "x"),
            (json!({ "type": "order.shipped", "data": { "order": 1 }, "object_id": "" }), "object_id"),
            (json!({ "type": "order.shipped", "data": { "order": 1 }, "idempotency_key": "a\nb" }), "idempotency_key"),
            (json!([{ "type": "order.shipped", "data": { "order": 1 } }, { "type": "order.shipped", "data": {} }]), "1.data"),
            (json!([]), ""),
        ] {
            let refused = emit(&app, &key, &body).await;
            refused.refused(400, "validation_error");
            assert_eq!(refused.body["error"]["details"][0]["field"], field, "{:#}", refused.body);
        }
        app.with_key(&key).post(EVENTS, "{").await.refused(400, "malformed_body");
        let deep = format!(r#"{{"type": "order.shipped", "data": {}1{}}}"#, "[".repeat(200), "]".repeat(200));
        app.with_key(&key).post(EVENTS, &deep).await.refused(400, "validation_error");
        let large = json!({ "type": "order.shipped", "data": { "order": 1, "x": "x".repeat(256 * 1024) } });
        emit(&app, &key, &large).await.refused(413, "body_too_large");
        assert_eq!(
            emit(&app, &key, &json!(vec![json!({ "type": "order.shipped", "data": { "order": 1 } }); 101])).await.status,
            400
        );
        let after = app.with_key(&key).get(&format!("{EVENTS}?limit=100&after={}", start.as_str().unwrap())).await;
        assert_eq!(after.data()["items"].as_array().unwrap().len(), 3, "what is refused is not there");
    })
    .await;
}

#[tokio::test]
async fn the_same_idempotency_key_makes_one_event_however_often_it_comes() {
    on_both(async |app: TestApp| {
        register(&app, "order.shipped").await;
        let (_, key) = app.account(&["write:events", "read:events"]).await;
        let one = |order: u32| json!({ "type": "order.shipped", "data": { "order": order } }).to_string();
        let by_header =
            async |name: &str, body: &str| app.with_key(&key).header("idempotency-key", name).post(EVENTS, body).await;
        let first = by_header("a", &one(1)).await;
        let again = by_header("a", &one(1)).await;
        assert_eq!((again.id(), &again.data()["replayed"]), (first.id(), &json!(true)));
        by_header("a", &one(2)).await.refused(422, "idempotency_key_reused");

        let list = format!("[{}, {}]", one(1), one(2));
        let (once, twice) = (by_header("l", &list).await, by_header("l", &list).await);
        assert_eq!(ids(&once), ids(&twice));
        by_header("l", &format!("[{}]", one(1))).await.refused(422, "idempotency_key_reused");

        let keyed =
            |name: &str, order: u32| json!({ "type": "order.shipped", "data": { "order": order }, "idempotency_key": name });
        let known = emit(&app, &key, &keyed("f", 1)).await;
        let mixed = emit(&app, &key, &json!([keyed("g", 2), keyed("f", 1), keyed("g", 2)])).await;
        assert_eq!(ids(&mixed)[1], known.id());
        assert_eq!(ids(&mixed)[0], ids(&mixed)[2], "a list may hold a key twice");
        emit(&app, &key, &json!([keyed("h", 1), keyed("f", 9)])).await.refused(422, "idempotency_key_reused");
        emit(&app, &key, &json!([keyed("i", 1), keyed("i", 2)])).await.refused(422, "idempotency_key_reused");
        by_header("a", &keyed("b", 1).to_string()).await.refused(400, "validation_error");
        // Another account's keys are its own.
        let (_, other) = app.account(&["write:events"]).await;
        assert_ne!(emit(&app, &other, &keyed("f", 1)).await.id(), known.id());

        let seven = one(7);
        let race = join_all((0..20).map(|n| by_header(if n % 2 == 0 { "r" } else { "s" }, &seven))).await;
        let mut made: Vec<_> = race.iter().map(|answer| answer.id().to_owned()).collect();
        made.sort();
        made.dedup();
        assert_eq!(made.len(), 2);
        let stored: i64 =
            app.database.db.query("SELECT count(*) FROM events WHERE type = 'order.shipped'").scalar().await.unwrap();
        assert_eq!(stored, 1 + 2 + 2 + 1 + 2);
        let (last, most): (i64, i64) =
            app.database.db.query("SELECT last, (SELECT MAX(sequence) FROM events) FROM event_sequence").one().await.unwrap();
        assert_eq!(last, most, "no sequence is left out");
    })
    .await;
}

#[tokio::test]
async fn many_services_at_once_lose_nothing_and_number_everything() {
    on_both(async |app: TestApp| {
        register(&app, "order.shipped").await;
        let (_, key) = app.account(&["write:events", "read:events"]).await;
        let bodies: Vec<_> = (0..120).map(|n| json!({ "type": "order.shipped", "data": { "order": n } })).collect();
        let answers = join_all(bodies.iter().map(|body| emit(&app, &key, body))).await;
        let mut made: Vec<_> = answers.iter().map(|answer| answer.id().to_owned()).collect();
        let mut read = Vec::new();
        let mut after = "0".to_owned();
        loop {
            let page = app.with_key(&key).get(&format!("{EVENTS}?type=order.*&limit=50&after={after}")).await;
            read.extend(ids(&page));
            after = page.data()["next_cursor"].as_str().unwrap().to_owned();
            if page.data()["has_more"] == false {
                break;
            }
        }
        made.sort();
        read.sort();
        assert_eq!(made, read);
    })
    .await;
}

#[tokio::test]
async fn an_account_emits_and_reads_its_own_and_an_admin_anyones() {
    on_both(async |app: TestApp| {
        register(&app, "order.shipped").await;
        let (account, key) = app.account(&["write:events", "read:events"]).await;
        let (_, other) = app.account(&["write:events", "read:events"]).await;
        let body = |account: &str| json!({ "type": "order.shipped", "data": { "order": 1 }, "account_id": account });
        let own = emit(&app, &key, &body(&account)).await;
        emit(&app, &other, &body(&account)).await.refused(404, "not_found");
        app.with_key(&other).get(&format!("{EVENTS}/{}", own.id())).await.refused(404, "not_found");
        app.with_key(&other).get(&format!("{EVENTS}?account_id={account}")).await.refused(404, "not_found");
        let theirs = app.with_key(&other).get(&format!("{EVENTS}?type=order.shipped")).await;
        assert_eq!(theirs.data()["items"], json!([]));

        let by_admin = app.admin().post(EVENTS, &body(&account).to_string()).await;
        assert_eq!(app.with_key(&key).get(&format!("{EVENTS}/{}", by_admin.id())).await.id(), by_admin.id());
        app.admin().post(EVENTS, &body("acct_0000000000000000000000").to_string()).await.refused(404, "not_found");

        // Clearway's own types are its own, and its operators'.
        let paid = app.admin().get(&format!("{TYPES}/invoice.paid")).await.data()["example"].clone();
        let paid = json!({ "type": "invoice.paid", "data": paid, "account_id": account });
        emit(&app, &key, &paid).await.refused(403, "scope_missing");
        assert_eq!(app.admin().post(EVENTS, &paid.to_string()).await.status, StatusCode::ACCEPTED);
        let wrong = json!({ "type": "invoice.paid", "data": {} });
        app.admin().post(EVENTS, &wrong.to_string()).await.refused(400, "validation_error");
        let old =
            json!({ "type": "app.install", "data": app.admin().get(&format!("{TYPES}/app.installed")).await.data()["example"] });
        assert_eq!(app.admin().post(EVENTS, &old.to_string()).await.data()["type"], "app.installed");
    })
    .await;
}

#[tokio::test]
async fn a_type_that_another_process_changes_is_checked_by_what_it_says_now() {
    on_both(async |app: TestApp| {
        register(&app, "order.shipped").await;
        let (_, key) = app.account(&["write:events"]).await;
        let body = json!({ "type": "order.shipped", "data": { "order": 1 } });
        emit(&app, &key, &body).await.data();
        // Another router is another process: it holds nothing of what this one has compiled.
        let elsewhere = api::router(app.api.clone());
        let request = async |method: Method, body: String| {
            let request = Request::builder()
                .method(method)
                .uri(format!("{TYPES}/order.shipped"))
                .header("authorization", app.admin_authorization())
                .header("content-type", "application/json")
                .body(axum::body::Body::from(body))
                .unwrap();
            assert!(elsewhere.clone().oneshot(request).await.unwrap().status().is_success());
        };
        let schema = json!({ "required": ["carrier"] });
        request(Method::PUT, json!({ "description": "d", "schema": schema }).to_string()).await;
        emit(&app, &key, &body).await.refused(400, "validation_error");
        let carried = json!({ "type": "order.shipped", "data": { "carrier": "post" } });
        emit(&app, &key, &carried).await.data();
        request(Method::DELETE, String::new()).await;
        emit(&app, &key, &carried).await.refused(400, "validation_error");
    })
    .await;
}

#[tokio::test]
async fn a_reader_who_waits_is_answered_when_something_happens() {
    on_both(async |app: TestApp| {
        register(&app, "order.shipped").await;
        let (_, key) = app.account(&["write:events", "read:events"]).await;
        let path = format!("{EVENTS}?after=latest&wait=30&type=order.shipped,product.*");
        let waits = app.with_key(&key);
        let waits = waits.get(&path);
        let acts = async {
            // Until it has begun to wait, an event would be before `latest`.
            let sent = async || emit(&app, &key, &json!({ "type": "order.shipped", "data": { "order": 1 } })).await;
            loop {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                sent().await.data();
            }
        };
        let answer = tokio::select! {
            answer = waits => answer,
            () = acts => unreachable!("it goes on"),
        };
        assert!(!ids(&answer).is_empty());
        // A process that stops does not keep who waits.
        app.api.stopping.send_replace(true);
        let stopped = app.with_key(&key).get(&format!("{EVENTS}?after=latest&wait=30&type=product.*")).await;
        assert_eq!(ids(&stopped), Vec::<String>::new());
        for wrong in ["after=x", "after=-1", "limit=0", "limit=101", "wait=31", "type=Order", "offset=1"] {
            app.with_key(&key).get(&format!("{EVENTS}?{wrong}")).await.refused(400, "validation_error");
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_whose_key_is_revoked_while_it_waits_is_told_so() {
    on_both(async |app: TestApp| {
        let (account, key) = app.account(&["read:events"]).await;
        let keys = app.admin().get(&format!("/api/v1/keys?account_id={account}")).await;
        let id = keys.data()["items"][0]["id"].as_str().unwrap().to_owned();
        let (path, key_path) = (format!("{EVENTS}?after=latest&wait=30&type=product.*"), format!("/api/v1/keys/{id}"));
        let (waited, revoked) = tokio::join!(app.with_key(&key).get(&path), app.admin().delete(&key_path));
        revoked.data();
        waited.refused(401, "key_revoked");
    })
    .await;
}

#[tokio::test]
async fn what_clearway_does_is_in_the_feed_in_the_order_in_which_it_was_done() {
    on_both(async |app: TestApp| {
        let (account, key) = app.account(&["read:events", "read:keys", "write:keys"]).await;
        let made = app.with_key(&key).post("/api/v1/keys", r#"{"name": "ci", "expires_at": "2026-11-21T00:00:00Z"}"#).await;
        let path = format!("/api/v1/keys/{}", made.id());
        app.with_key(&key).put(&path, r#"{"name": "cd"}"#).await.data();
        app.with_key(&key).put(&path, r#"{"name": "cd"}"#).await.data();
        app.with_key(&key).post(&format!("{path}/rotate"), "{}").await.data();
        let admin = format!("/api/v1/admin/accounts/{account}");
        for _ in 0..2 {
            app.admin().put(&format!("{admin}/plan"), r#"{"plan": "enterprise"}"#).await.data();
        }
        app.admin().post(&format!("{admin}/suspend"), "").await.data();
        app.admin().post(&format!("{admin}/resume"), "").await.data();
        app.admin().put(&format!("{admin}/plan"), r#"{"plan": "starter"}"#).await.data();
        app.world.advance(86_400_000);
        jobs::sweep_once(&app.api).await;
        jobs::sweep_once(&app.api).await;
        app.with_key(&key).delete(&path).await.data();
        app.with_key(&key).delete(&path).await.data();

        let feed = app.with_key(&key).get(&format!("{EVENTS}?limit=100")).await;
        let items = feed.data()["items"].as_array().unwrap();
        let kinds: Vec<_> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(
            kinds,
            [
                "account.created",
                "key.created",
                "key.created",
                "key.updated",
                "key.rotated",
                "account.plan_changed",
                "billing.upgraded",
                "account.suspended",
                "account.resumed",
                "account.plan_changed",
                "billing.downgraded",
                "key.expired",
                "key.revoked",
            ],
            "what changes nothing is no event"
        );
        let updated = &items[3];
        assert_eq!((&updated["object_id"], &updated["data"]["changed"]), (&json!(made.id()), &json!(["name"])));
        assert_eq!(updated["data"]["name"], "cd");
        assert_eq!(items[6]["data"], json!({ "account_id": account, "plan": "enterprise", "previous_plan": "starter" }));
        assert!(!feed.body.to_string().contains(made.secret()), "no event holds a secret");
        let keys = app.with_key(&key).get(&format!("{EVENTS}?type=key.deleted,key.expired")).await;
        assert_eq!(ids(&keys).len(), 2);
    })
    .await;
}
