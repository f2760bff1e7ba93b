use serde_json::json;

use crate::app::{TestApp, on_both, pretty};

const ACCOUNTS: &str = "/api/v1/admin/accounts";

#[tokio::test]
async fn an_account_is_opened_on_the_first_plan_unless_one_is_named() {
    on_both(async |app: TestApp| {
        let made = app.admin().post(ACCOUNTS, r#"{"name": "Example Ltd"}"#).await;
        insta::allow_duplicates! { insta::assert_snapshot!(made.shown(), @r#"
            201 Created
            {
              "code": 201,
              "data": {
                "brand": "Clearway",
                "created_at": "2026-11-20T00:00:00.000Z",
                "id": "acct_0350Z6oikMkhNFhp8BCO2h",
                "name": "Example Ltd",
                "plan": "starter",
                "policies": [],
                "propagation": {
                  "acknowledged": 0,
                  "fenced": 0,
                  "ms": 0,
                  "proxies": 0,
                  "refused": 0
                },
                "status": "active",
                "suspended_at": null,
                "version": 1
              },
              "id": "req_0350Z6oinbejdXzyrQqUfL",
              "meta": {
                "timestamp": "2026-11-20T00:00:00.000Z",
                "trace_id": "9c3a48a065a16c88c2121d8433d49535"
              },
              "status": "success"
            }
            "#) }
        let named = app.admin().post(ACCOUNTS, r#"{"name": "Other", "plan": "enterprise"}"#).await;
        assert_eq!(named.data()["plan"], "enterprise");
        let unknown = app.admin().post(ACCOUNTS, r#"{"name": "Other", "plan": "gold"}"#).await;
        unknown.refused(400, "validation_error");
        assert_eq!(unknown.body["error"]["details"][0]["field"], "plan");

        let list = app.admin().get(ACCOUNTS).await;
        let names: Vec<_> = list.data()["items"].as_array().unwrap().iter().map(|account| account["name"].clone()).collect();
        assert_eq!((names.len(), &list.data()["total"]), (3, &json!(3)));
        assert!(names.contains(&json!("platform")));
        let read = app.admin().get(&format!("{ACCOUNTS}/{}", made.id())).await;
        assert_eq!(read.data()["name"], "Example Ltd");
        app.admin().get(&format!("{ACCOUNTS}/acct_0000000000000000000000")).await.refused(404, "not_found");
        app.admin().get(&format!("{ACCOUNTS}/x")).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn a_suspended_account_is_refused_until_it_is_resumed() {
    on_both(async |app: TestApp| {
        let (id, key) = app.account(&["read:keys"]).await;
        let asked = async || app.with_key(&key).get("/api/v1/keys").await.code().to_owned();
        for _ in 0..2 {
            let suspended = app.admin().post(&format!("{ACCOUNTS}/{id}/suspend"), "").await;
            assert_eq!(suspended.data()["status"], "suspended");
            assert_eq!(asked().await, "account_suspended");
        }
        app.admin().post(&format!("{ACCOUNTS}/{id}/resume"), "").await.data();
        assert_eq!(asked().await, "");
        let log = app.admin().get(&format!("/api/v1/audit?object_id={id}")).await;
        let mut actions: Vec<_> = log.data()["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
        actions.sort_by_key(ToString::to_string);
        assert_eq!(actions, ["account.created", "account.resumed", "account.suspended"], "what changes nothing is not noted");
    })
    .await;
}

#[tokio::test]
async fn an_admin_does_not_lock_itself_out() {
    on_both(async |app: TestApp| {
        let own = app.admin().get("/api/v1/keys").await.data()["items"][0]["account_id"].as_str().unwrap().to_owned();
        app.admin().post(&format!("{ACCOUNTS}/{own}/suspend"), "").await.refused(409, "conflict");
    })
    .await;
}

#[tokio::test]
async fn a_plan_is_changed_once_and_its_history_kept() {
    on_both(async |app: TestApp| {
        let (id, _) = app.account(&[]).await;
        let path = format!("{ACCOUNTS}/{id}/plan");
        for _ in 0..2 {
            assert_eq!(app.admin().put(&path, r#"{"plan": "enterprise"}"#).await.data()["plan"], "enterprise");
        }
        app.admin().put(&path, r#"{"plan": "gold"}"#).await.refused(400, "validation_error");
        app.admin().put(&path, "{}").await.refused(400, "validation_error");
        let sql = "SELECT plan FROM subscriptions WHERE account_id = $1 ORDER BY ended_at IS NULL, id LIMIT 9";
        let plans: Vec<(String,)> = app.database.db.query(sql).bind(id).all().await.unwrap();
        assert_eq!(plans, [("starter".to_owned(),), ("enterprise".to_owned(),)]);
    })
    .await;
}

#[tokio::test]
async fn the_plans_on_offer_are_in_the_files_order() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(&["read:billing"]).await;
        let plans = app.with_key(&key).get("/api/v1/billing/plans").await;
        insta::allow_duplicates! { insta::assert_snapshot!(pretty(plans.data()), @r#"
            {
              "items": [
                {
                  "currency": "USD",
                  "event_retention_days": 30,
                  "keys_max": 3,
                  "limits": {
                    "concurrent": 5,
                    "overage": false,
                    "per_day": 10000,
                    "per_month": 100000,
                    "per_second": 10
                  },
                  "name": "starter",
                  "on_quota_store_loss": "lease_then_deny",
                  "price_annual": 0,
                  "price_monthly": 0,
                  "title": "Starter"
                },
                {
                  "currency": "USD",
                  "event_retention_days": 30,
                  "keys_max": null,
                  "limits": {
                    "concurrent": 1000,
                    "overage": false,
                    "per_day": 10000000,
                    "per_month": null,
                    "per_second": 1000
                  },
                  "name": "enterprise",
                  "on_quota_store_loss": "lease_then_deny",
                  "price_annual": null,
                  "price_monthly": null,
                  "title": "Enterprise"
                }
              ],
              "next_cursor": null,
              "total": 2
            }
            "#) }
    })
    .await;
}

#[tokio::test]
async fn proxies_are_listed_for_operators() {
    on_both(async |app: TestApp| {
        assert_eq!(app.admin().get("/api/v1/admin/proxies").await.data()["items"], json!([]));
        let sql = "INSERT INTO proxies (id, name, version, revision, created_at, last_seen_at, refused)
                   VALUES ($1, 'edge', '1', 3, 0, 1, $2)";
        let refused = r#"{"count": 1, "objects": [{"object": "route/a", "reason": "taken", "since": 2}]}"#;
        app.database.db.query(sql).bind("prx_0000000000000000000001").bind(refused).execute().await.unwrap();
        let list = app.admin().get("/api/v1/admin/proxies").await;
        let row = json!({
            "id": "prx_0000000000000000000001", "name": "edge", "version": "1", "connected": false, "control": null, "delivers": false, "revision": 3,
            "lag": null, "lag_ms": null, "auth_lease": null, "quota_store": null, "load": null,
            "first_seen_at": "1970-01-01T00:00:00.000Z", "last_seen_at": "1970-01-01T00:00:00.001Z",
            "refused_count": 1, "refused": [{"object": "route/a", "reason": "taken"}],
        });
        assert_eq!(list.data()["items"], json!([row]));

        // One that another control process has just heard of.
        let sql = "UPDATE proxies SET control = 'other:9001', last_seen_at = $1, lease_ms = 10000, report = $2";
        let report = r#"{"requests_per_second": 12.5, "in_flight": 3, "cpus": 0.5,
                         "quota_store": {"reached": false, "lost_ms": 100, "excess_max": 7}}"#;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        app.database.db.query(sql).bind(i64::try_from(now).unwrap()).bind(report).execute().await.unwrap();
        app.api.hub.look_again().await;
        let list = app.admin().get("/api/v1/admin/proxies").await;
        let row = &list.data()["items"][0];
        assert_eq!((&row["control"], &row["auth_lease"]["strict"]), (&json!("other:9001"), &json!(true)), "{row}");
        if app.database.db.engine() == "postgres" {
            assert_eq!((&row["connected"], &row["load"]["in_flight"]), (&json!(true), &json!(3)), "{row}");
            assert_eq!((&row["quota_store"]["reached"], &row["quota_store"]["excess_max"]), (&json!(false), &json!(7)));
        }
        let proxy = "/api/v1/admin/proxies/prx_0000000000000000000001";
        app.admin().delete(proxy).await.refused(409, "conflict");
        app.database.db.query("UPDATE proxies SET last_seen_at = 1").execute().await.unwrap();
        assert_eq!(app.admin().delete(proxy).await.data()["name"], "edge");
        app.admin().delete(proxy).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn an_account_names_policies_that_exist_and_keeps_them_from_being_deleted() {
    on_both(async |app: TestApp| {
        let (id, _) = app.account(&[]).await;
        let account = format!("/api/v1/admin/accounts/{id}");
        let patch = async |body: &str| app.admin().send(http::Method::PATCH, &account, body).await;
        for name in ["office", "small"] {
            app.admin().put(&format!("/api/v1/admin/policies/{name}"), r#"{"body_max": "1KiB"}"#).await.data();
        }
        let refused = patch(r#"{"policies": ["office", "other"]}"#).await;
        refused.refused(400, "validation_error");
        assert_eq!(refused.body["error"]["details"][0]["field"], "policies.1");
        patch(r#"{}"#).await.refused(400, "validation_error");
        patch(&json!({"policies": vec!["office"; 17]}).to_string()).await.refused(400, "validation_error");
        assert_eq!(app.admin().get(&account).await.data()["policies"], json!([]));
        app.admin()
            .send(http::Method::PATCH, "/api/v1/admin/accounts/acct_0000000000000000000001", r#"{"policies": []}"#)
            .await
            .refused(404, "not_found");

        let changed = patch(r#"{"policies": ["small", "office"]}"#).await;
        assert_eq!(changed.data()["policies"], json!(["small", "office"]));
        assert_eq!(app.admin().get(&account).await.data()["policies"], json!(["small", "office"]));
        let refused = app.admin().delete("/api/v1/admin/policies/office").await;
        refused.refused(409, "conflict");
        assert_eq!(refused.body["error"]["message"], format!("It is named by account `{id}`."));
        let document = r#"{"policies": [{"name": "small", "body_max": "2KiB"}]}"#;
        app.admin().put("/api/v1/admin/gateway", document).await.refused(409, "conflict");
        patch(r#"{"policies": ["small"]}"#).await.data();
        app.admin().put("/api/v1/admin/gateway", document).await.data();
        assert_eq!(app.admin().get(&account).await.data()["policies"], json!(["small"]));
        let log = app.admin().get("/api/v1/audit?action=account.policies_changed").await;
        assert_eq!(log.data()["total"].as_i64().unwrap_or(2), 2, "{:?}", log.body);
    })
    .await;
}
