use serde_json::json;

use crate::app::{TestApp, on_both};

const ALL: &[&str] = &["read:keys", "write:keys", "read:apps"];

#[tokio::test]
async fn a_created_key_shows_its_secret_once() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(ALL).await;
        let body = r#"{"name": "ci", "environment": "test", "scopes": ["read:apps"], "expires_at": "2027-01-01T01:00:00+01:00",
                       "allowed_addresses": ["2001:db8::/32", "192.0.2.7"], "limits": {"per_second": 5}}"#;
        let made = app.with_key(&mine).post("/api/v1/keys", body).await;
        insta::allow_duplicates! { insta::assert_snapshot!(made.shown(), @r#"
            201 Created
            {
              "code": 201,
              "data": {
                "account_id": "acct_0350Z6oikMkhNFhp8BCO2h",
                "allowed_addresses": [
                  "192.0.2.7/32",
                  "2001:db8::/32"
                ],
                "created_at": "2026-11-20T00:00:00.000Z",
                "environment": "test",
                "expires_at": "2027-01-01T00:00:00.000Z",
                "id": "key_0350Z6oijYL4Dk9N6CCFNC",
                "last_used": null,
                "limits": {
                  "concurrent": null,
                  "per_day": null,
                  "per_month": null,
                  "per_second": 5
                },
                "name": "ci",
                "propagation": {
                  "acknowledged": 0,
                  "fenced": 0,
                  "ms": 0,
                  "proxies": 0,
                  "refused": 0
                },
                "require_signature": false,
                "revoked_at": null,
                "scopes": [
                  "read:apps"
                ],
                "secret": "clw_test_imuDzAqmw4IwADwYTxQlwdZ0opESNtoCQXx3VpnDyaH2WV9kn",
                "secrets": [
                  {
                    "created_at": "2026-11-20T00:00:00.000Z",
                    "expires_at": "2027-01-01T00:00:00.000Z",
                    "id": "sec_0350Z6oin11IqvMcqoya3T",
                    "shown": "clw_test_imuD"
                  }
                ],
                "status": "active",
                "version": 1
              },
              "id": "req_0350Z6oiihQixUROCExPuw",
              "meta": {
                "timestamp": "2026-11-20T00:00:00.000Z",
                "trace_id": "3ac0b8f8f00dc70f481c2fa796b9922b"
              },
              "status": "success"
            }
            "#) }
        assert_eq!(made.headers["cache-control"], "no-store");
        assert!(made.secret().starts_with("clw_test_"));
        let read = app.with_key(&mine).get(&format!("/api/v1/keys/{}", made.id())).await;
        assert!(!read.body.to_string().contains(made.secret()));
        assert_eq!(read.data()["account_id"], account);
        let list = app.with_key(&mine).get("/api/v1/keys").await;
        assert!(!list.body.to_string().contains(made.secret()));
        assert!(list.data()["items"].as_array().unwrap().contains(read.data()));
    })
    .await;
}

#[tokio::test]
async fn the_marketplace_path_is_the_same_resource() {
    on_both(async |app: TestApp| {
        let made = app.admin().post("/api/v1/marketplace/keys", r#"{"name": "m"}"#).await;
        assert_eq!(made.status, 201);
        let id = made.id();
        let here = app.admin().get(&format!("/api/v1/keys/{id}")).await;
        let there = app.admin().get(&format!("/api/v1/marketplace/keys/{id}")).await;
        assert_eq!(here.data(), there.data());
        app.admin().post(&format!("/api/v1/marketplace/keys/{id}/rotate"), "").await.secret();
        app.admin().post(&format!("/api/v1/marketplace/keys/{id}/regenerate"), "").await.secret();
        app.admin().put(&format!("/api/v1/marketplace/keys/{id}"), r#"{"name": "n"}"#).await.data();
        assert_eq!(app.admin().delete(&format!("/api/v1/marketplace/keys/{id}")).await.data()["status"], "revoked");
    })
    .await;
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    on_both(async |app: TestApp| {
        let body = r#"{"name": " x", "environment": "prod", "scopes": "read:apps", "expires_at": "tomorrow",
                       "allowed_addresses": ["10.0.0.0/8", "nowhere"], "limits": {"per_second": 0, "per_hour": 1}, "nam": 1}"#;
        let refused = app.admin().post("/api/v1/keys", body).await;
        refused.refused(400, "validation_error");
        let issues: Vec<_> = refused.body["error"]["details"]
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| format!("{} {}", issue["field"].as_str().unwrap(), issue["issue"].as_str().unwrap()))
            .collect();
        assert_eq!(
            issues,
            [
                "name format_invalid",
                "environment unknown",
                "scopes format_invalid",
                "expires_at format_invalid",
                "allowed_addresses format_invalid",
                "limits.per_second out_of_bounds",
                "limits.per_hour unknown",
                "nam unknown",
            ]
        );
        app.admin().post("/api/v1/keys", "").await.refused(400, "validation_error");
        let past = app.admin().post("/api/v1/keys", r#"{"name": "x", "expires_at": "2026-11-20T00:00:00Z"}"#).await;
        past.refused(400, "validation_error");
    })
    .await;
}

#[tokio::test]
async fn a_name_has_1_to_100_characters() {
    on_both(async |app: TestApp| {
        for (name, good) in [("ä".repeat(100), true), ("x".repeat(101), false), (String::new(), false), ("a\nb".into(), false)] {
            let made = app.admin().post("/api/v1/keys", &json!({ "name": name }).to_string()).await;
            assert_eq!(made.status == 201, good, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_grants_no_scope_that_its_maker_lacks() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(ALL).await;
        let create = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "x", "scopes": ["read:apps", "write:apps"]}"#).await;
        create.refused(403, "scope_missing");
        assert_eq!(create.body["error"]["details"]["scope"], "write:apps");
        let admin = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "x", "scopes": ["admin:platform"]}"#).await;
        admin.refused(403, "scope_missing");

        // Neither by an update, nor by a rotation that would show a secret carrying more.
        let own = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "x", "scopes": ["read:apps"]}"#).await;
        let update = app.with_key(&mine).put(&format!("/api/v1/keys/{}", own.id()), r#"{"scopes": ["write:apps"]}"#).await;
        update.refused(403, "scope_missing");
        let body = json!({ "name": "strong", "scopes": ["write:apps"], "account_id": account }).to_string();
        let strong = app.admin().post("/api/v1/keys", &body).await;
        for act in ["rotate", "regenerate"] {
            let path = format!("/api/v1/keys/{}/{act}", strong.id());
            app.with_key(&mine).post(&path, "").await.refused(403, "scope_missing");
        }
        // A scope that the key has already may stay, and what is narrowed needs nothing.
        let path = format!("/api/v1/keys/{}", strong.id());
        app.with_key(&mine).put(&path, r#"{"scopes": ["write:apps", "read:apps"]}"#).await.data();
        assert_eq!(app.with_key(&mine).put(&path, r#"{"scopes": null}"#).await.data()["scopes"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn the_plan_bounds_the_keys_of_an_account() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(ALL).await;
        let second = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "2"}"#).await;
        app.with_key(&mine).post("/api/v1/keys", r#"{"name": "3"}"#).await.data();
        let refused = app.with_key(&mine).post("/api/v1/keys", r#"{"name": "4"}"#).await;
        refused.refused(403, "plan_limit_reached");
        assert_eq!(refused.body["error"]["details"]["keys_max"], 3);
        // Not for admins either: the plan is the account's.
        let body = json!({ "name": "4", "account_id": account }).to_string();
        app.admin().post("/api/v1/keys", &body).await.refused(403, "plan_limit_reached");

        app.with_key(&mine).delete(&format!("/api/v1/keys/{}", second.id())).await.data();
        app.with_key(&mine).post("/api/v1/keys", r#"{"name": "4"}"#).await.data();
        app.admin().put(&format!("/api/v1/admin/accounts/{account}/plan"), r#"{"plan": "enterprise"}"#).await.data();
        app.with_key(&mine).post("/api/v1/keys", r#"{"name": "5"}"#).await.data();
    })
    .await;
}

#[tokio::test]
async fn an_update_replaces_what_is_given_and_null_clears_it() {
    on_both(async |app: TestApp| {
        let body = r#"{"name": "a", "scopes": ["read:apps"], "allowed_addresses": ["10.0.0.0/8"],
                       "limits": {"per_second": 5, "per_day": 7}, "expires_at": "2027-01-01T00:00:00Z"}"#;
        let made = app.admin().post("/api/v1/keys", body).await;
        let path = format!("/api/v1/keys/{}", made.id());
        let named = app.admin().put(&path, r#"{"name": "b"}"#).await;
        let mut expected = made.data().clone();
        expected["name"] = "b".into();
        expected["version"] = 2.into();
        expected.as_object_mut().unwrap().remove("secret");
        expected["propagation"] = named.data()["propagation"].clone();
        assert_eq!(*named.data(), expected, "what is left out stays");

        let limits = app.admin().put(&path, r#"{"limits": {"per_second": null, "concurrent": 2}}"#).await;
        let left = json!({ "per_second": null, "per_day": 7, "per_month": null, "concurrent": 2 });
        assert_eq!(limits.data()["limits"], left);

        let cleared = r#"{"scopes": null, "allowed_addresses": null, "limits": null, "expires_at": null}"#;
        let cleared = app.admin().put(&path, cleared).await;
        assert_eq!(cleared.data()["scopes"], json!([]));
        assert_eq!(cleared.data()["allowed_addresses"], json!([]));
        assert_eq!(cleared.data()["limits"]["per_day"], json!(null));
        assert_eq!(cleared.data()["expires_at"], json!(null));

        app.admin().put(&path, r#"{"name": null}"#).await.refused(400, "validation_error");
        app.admin().put(&path, r#"{"environment": "live"}"#).await.refused(400, "validation_error");
    })
    .await;
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_until_the_overlap_ends() {
    on_both(async |app: TestApp| {
        let made = app.admin().post("/api/v1/keys", r#"{"name": "a", "scopes": ["read:keys"]}"#).await;
        let path = format!("/api/v1/keys/{}", made.id());
        let works = async |secret: &str| app.with_key(secret).get("/api/v1/keys?limit=1").await.code().to_owned();

        let rotated = app.admin().post(&format!("{path}/rotate"), r#"{"overlap": 60}"#).await;
        insta::allow_duplicates! { insta::assert_snapshot!(rotated.shown(), @r#"
            200 OK
            {
              "code": 200,
              "data": {
                "account_id": "acct_0350Z6oilu5xG52GpV19SA",
                "allowed_addresses": [],
                "created_at": "2026-11-20T00:00:00.000Z",
                "environment": "live",
                "expires_at": null,
                "id": "key_0350Z6oikMkhNFhp8BCO2h",
                "last_used": null,
                "limits": {
                  "concurrent": null,
                  "per_day": null,
                  "per_month": null,
                  "per_second": null
                },
                "name": "a",
                "propagation": {
                  "acknowledged": 0,
                  "fenced": 0,
                  "ms": 0,
                  "proxies": 0,
                  "refused": 0
                },
                "require_signature": false,
                "revoked_at": null,
                "scopes": [
                  "read:keys"
                ],
                "secret": "clw_live_RIxzscbTuzKpm7nOeeUC04gdp8akrxi5V2OJuOjj3pN0EPPVE",
                "secrets": [
                  {
                    "created_at": "2026-11-20T00:00:00.000Z",
                    "expires_at": null,
                    "id": "sec_0350Z6oijF3pL9oZFPGILQ",
                    "shown": "clw_live_RIxz"
                  },
                  {
                    "created_at": "2026-11-20T00:00:00.000Z",
                    "expires_at": "2026-11-20T00:01:00.000Z",
                    "id": "sec_0350Z6oiitbNIeLm4tXwW4",
                    "shown": "clw_live_JihY"
                  }
                ],
                "status": "active",
                "version": 1
              },
              "id": "req_0350Z6oikcUEI4cBWC25Mn",
              "meta": {
                "timestamp": "2026-11-20T00:00:00.000Z",
                "trace_id": "c43e58ae15123794a18bb4888d845075"
              },
              "status": "success"
            }
            "#) }
        assert_eq!(rotated.headers["cache-control"], "no-store");
        assert_eq!((works(made.secret()).await, works(rotated.secret()).await), (String::new(), String::new()));
        app.world.advance(59_999);
        assert_eq!(works(made.secret()).await, "");
        app.world.advance(1);
        assert_eq!((works(made.secret()).await.as_str(), works(rotated.secret()).await.as_str()), ("key_expired", ""));

        let again = app.admin().post(&format!("{path}/regenerate"), "").await;
        assert_eq!((works(rotated.secret()).await.as_str(), works(again.secret()).await.as_str()), ("key_revoked", ""));
        let secrets = again.data()["secrets"].as_array().unwrap().clone();
        assert_eq!(secrets.len(), 1, "{secrets:?}");

        // A day, when nothing is said.
        let default = app.admin().post(&format!("{path}/rotate"), "").await;
        assert_eq!(default.data()["secrets"][1]["expires_at"], "2026-11-21T00:01:00.000Z");
        for overlap in ["-1", "2592001", "\"1\"x", "1.5"] {
            let body = format!(r#"{{"overlap": {overlap}}}"#);
            assert_eq!(app.admin().post(&format!("{path}/rotate"), &body).await.status, 400, "{overlap}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_cannot_collect_secrets_without_bound() {
    on_both(async |app: TestApp| {
        let made = app.admin().post("/api/v1/keys", r#"{"name": "a"}"#).await;
        let path = format!("/api/v1/keys/{}", made.id());
        for _ in 1..16 {
            app.admin().post(&format!("{path}/rotate"), "").await.data();
        }
        app.admin().post(&format!("{path}/rotate"), "").await.refused(409, "conflict");
        app.admin().post(&format!("{path}/regenerate"), "").await.data();
        app.admin().post(&format!("{path}/rotate"), "").await.data();
    })
    .await;
}

#[tokio::test]
async fn an_expired_key_is_rotated_only_after_an_explicit_update() {
    on_both(async |app: TestApp| {
        let made = app.admin().post("/api/v1/keys", r#"{"name": "a", "expires_at": "2026-11-20T00:01:00Z"}"#).await;
        let path = format!("/api/v1/keys/{}", made.id());
        app.world.advance(60_000);
        assert_eq!(app.admin().get(&path).await.data()["status"], "expired");
        app.admin().post(&format!("{path}/rotate"), "").await.refused(409, "conflict");
        app.admin().put(&path, r#"{"expires_at": "2026-11-21T00:00:00Z"}"#).await.data();
        let rotated = app.admin().post(&format!("{path}/rotate"), r#"{"overlap": 2592000}"#).await;
        for secret in rotated.data()["secrets"].as_array().unwrap() {
            assert_eq!(secret["expires_at"], "2026-11-21T00:00:00.000Z", "no secret outlives its key");
        }
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_stays_revoked_and_revoking_again_is_harmless() {
    on_both(async |app: TestApp| {
        let made = app.admin().post("/api/v1/keys", r#"{"name": "a", "scopes": ["read:keys"]}"#).await;
        let path = format!("/api/v1/keys/{}", made.id());
        let revoked = app.admin().delete(&path).await;
        insta::allow_duplicates! { insta::assert_snapshot!(revoked.shown(), @r#"
            200 OK
            {
              "code": 200,
              "data": {
                "account_id": "acct_0350Z6oilu5xG52GpV19SA",
                "allowed_addresses": [],
                "created_at": "2026-11-20T00:00:00.000Z",
                "environment": "live",
                "expires_at": null,
                "id": "key_0350Z6oikMkhNFhp8BCO2h",
                "last_used": null,
                "limits": {
                  "concurrent": null,
                  "per_day": null,
                  "per_month": null,
                  "per_second": null
                },
                "name": "a",
                "propagation": {
                  "acknowledged": 0,
                  "fenced": 0,
                  "ms": 0,
                  "proxies": 0,
                  "refused": 0
                },
                "require_signature": false,
                "revoked_at": "2026-11-20T00:00:00.000Z",
                "scopes": [
                  "read:keys"
                ],
                "secrets": [],
                "status": "revoked",
                "version": 2
              },
              "id": "req_0350Z6oikcUEI4cBWC25Mn",
              "meta": {
                "timestamp": "2026-11-20T00:00:00.000Z",
                "trace_id": "c43e58ae15123794a18bb4888d845075"
              },
              "status": "success"
            }
            "#) }
        app.with_key(made.secret()).get("/api/v1/keys").await.refused(401, "key_revoked");

        app.world.advance(1_000);
        let again = app.admin().delete(&path).await;
        assert_eq!(again.data()["revoked_at"], revoked.data()["revoked_at"]);
        assert_eq!(again.data()["propagation"]["proxies"], 0);
        app.admin().post(&format!("{path}/rotate"), "").await.refused(409, "conflict");
        app.admin().put(&path, r#"{"name": "b"}"#).await.refused(409, "conflict");
        let audit = app.admin().get(&format!("/api/v1/audit?object_id={}&action=key.revoked", made.id())).await;
        assert_eq!(audit.data()["items"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn lists_are_paged_and_bounded() {
    on_both(async |app: TestApp| {
        for n in 0..4 {
            app.world.advance(1);
            app.admin().post("/api/v1/keys", &json!({ "name": format!("k{n}") }).to_string()).await.data();
        }
        let names = |answer: &crate::app::Answer| -> Vec<String> {
            answer.data()["items"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
        };
        let first = app.admin().get("/api/v1/keys?limit=2").await;
        assert_eq!(names(&first), ["k3", "k2"]);
        assert_eq!(first.data()["total"], 5);
        let cursor = first.data()["next_cursor"].as_str().unwrap();
        let second = app.admin().get(&format!("/api/v1/keys?limit=2&cursor={cursor}")).await;
        assert_eq!(names(&second), ["k1", "k0"]);
        let cursor = second.data()["next_cursor"].as_str().unwrap();
        let third = app.admin().get(&format!("/api/v1/keys?limit=2&cursor={cursor}")).await;
        assert_eq!((names(&third), &third.data()["next_cursor"]), (vec!["admin".to_owned()], &json!(null)));
        assert_eq!(names(&app.admin().get("/api/v1/keys?limit=2&offset=3").await), ["k0", "admin"]);
        for wrong in
            ["limit=0", "limit=101", "limit=x", "offset=-1", "cursor=x", "limt=1", "limit=1&limit=2", "offset=1&cursor=key_0"]
        {
            app.admin().get(&format!("/api/v1/keys?{wrong}")).await.refused(400, "validation_error");
        }
    })
    .await;
}
