//! Webhooks through the API.

use http::Method;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, on_both};

const WEBHOOKS: &str = "/api/v1/webhooks";
const ALL: &[&str] = &["read:webhooks", "write:webhooks"];

fn body(more: Value) -> String {
    let mut body = json!({ "url": "https://example.com/hook", "events": ["app.installed", "product.*"] });
    let Value::Object(more) = more else { panic!("the other fields are an object") };
    body.as_object_mut().unwrap().extend(more);
    body.to_string()
}

/// The fields that were refused, with why.
fn refused(answer: &Answer) -> Vec<String> {
    answer.refused(400, "validation_error");
    let issues = answer.body["error"]["details"].as_array().unwrap().iter();
    issues.map(|issue| format!("{} {}", issue["field"].as_str().unwrap(), issue["issue"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_created_webhook_shows_its_secret_once() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(ALL).await;
        // As seed 003, 9.2 sends it.
        let seeds = json!({
            "url": "https://myapp.com/clearway-webhook", "events": ["app.installed", "app.uninstalled"], "active": true,
            "retryPolicy": {"maxRetries": 5, "backoffMultiplier": 2, "initialDelayMs": 1000},
            "headers": {"X-Custom-Header": "value"},
        });
        let made = app.with_key(&mine).post(WEBHOOKS, &seeds.to_string()).await;
        insta::allow_duplicates! { insta::assert_snapshot!(made.shown(), @r#"
            201 Created
            {
              "code": 201,
              "data": {
                "account_id": "acct_0350Z6oikMkhNFhp8BCO2h",
                "active": true,
                "brand": null,
                "client_certificate": null,
                "concurrency": 16,
                "created_at": "2026-11-20T00:00:00.000Z",
                "description": "",
                "disabled_at": null,
                "disabled_reason": null,
                "ed25519": false,
                "events": [
                  "app.installed",
                  "app.uninstalled"
                ],
                "failing_since": null,
                "filter": null,
                "has_authorization": false,
                "headers": {
                  "X-Custom-Header": "value"
                },
                "id": "wh_0350Z6oijYL4Dk9N6CCFNC",
                "oauth": null,
                "ordering": "none",
                "propagation": {
                  "acknowledged": 0,
                  "fenced": 0,
                  "ms": 0,
                  "proxies": 0,
                  "refused": 0
                },
                "rate_limit": null,
                "retry_policy": {
                  "backoff_multiplier": 2.0,
                  "initial_delay_ms": 1000,
                  "max_retries": 5
                },
                "secret": "whsec_vODMr2gBdnzzFD/NLeBvfYPvPGFQVY0133c0UnDPjEE=",
                "secrets": [
                  {
                    "created_at": "2026-11-20T00:00:00.000Z",
                    "expires_at": null,
                    "id": "whs_0350Z6oin11IqvMcqoya3T",
                    "public_key": null
                  }
                ],
                "signature_header": "X-Clearway-Signature",
                "status": "active",
                "timeouts": {
                  "connect_ms": null,
                  "first_byte_ms": null,
                  "total_ms": null
                },
                "updated_at": "2026-11-20T00:00:00.000Z",
                "url": "https://myapp.com/clearway-webhook",
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
        assert_eq!(
            (made.headers["cache-control"].as_bytes(), made.headers["etag"].as_bytes()),
            (&b"no-store"[..], &b"\"1\""[..])
        );
        assert!(made.secret().starts_with("whsec_"));
        let read = app.with_key(&mine).get(&format!("{WEBHOOKS}/{}", made.id())).await;
        assert!(!read.body.to_string().contains("whsec_"));
        assert_eq!((&read.data()["account_id"], &read.data()["version"]), (&json!(account), &json!(1)));
        let list = app.with_key(&mine).get(WEBHOOKS).await;
        assert_eq!(list.data()["items"], json!([read.data()]));
        assert_eq!(list.data()["total"], 1);
    })
    .await;
}

#[tokio::test]
async fn the_marketplace_path_is_the_same_resource() {
    on_both(async |app: TestApp| {
        let made = app.admin().post("/api/v1/marketplace/webhooks", &body(json!({}))).await;
        assert_eq!(made.status, 201);
        let here = app.admin().get(&format!("{WEBHOOKS}/{}", made.id())).await;
        let there = app.admin().get(&format!("/api/v1/marketplace/webhooks/{}", made.id())).await;
        assert_eq!(here.data(), there.data());
    })
    .await;
}

#[tokio::test]
async fn a_type_that_there_is_not_is_refused_and_what_was_wanted_before_stays() {
    on_both(async |app: TestApp| {
        let admin = || app.admin();
        for unknown in ["product.create", "order.paid", "order.*", "key.created.*"] {
            let answer = admin().post(WEBHOOKS, &body(json!({"events": ["product.created", unknown]}))).await;
            assert_eq!(refused(&answer), ["events unknown"]);
            assert!(answer.body.to_string().contains(&format!("{unknown} ")), "{:#}", answer.body);
        }
        let kind = json!({"name": "order.paid", "description": "An order was paid.", "schema": {"type": "object"}}).to_string();
        admin().post("/api/v1/events/types", &kind).await.data();
        let wanted = json!(["order.*", "order.paid", "product.created"]);
        let made = admin().post(WEBHOOKS, &body(json!({"events": wanted}))).await;
        let path = format!("{WEBHOOKS}/{}", made.id());
        admin().delete("/api/v1/events/types/order.paid").await.data();
        // Nobody has to drop it to change anything else, but it cannot be wanted anew.
        let kept = admin().put(&path, &json!({"events": wanted, "active": false}).to_string()).await;
        assert_eq!(kept.data()["events"], wanted);
        admin().put(&path, r#"{"events": ["product.*"]}"#).await.data();
        assert_eq!(refused(&admin().put(&path, r#"{"events": ["order.paid"]}"#).await), ["events unknown"]);
    })
    .await;
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    on_both(async |app: TestApp| {
        let wrong = json!({
            "url": 7, "events": ["Product"], "description": "x".repeat(501), "headers": {"Host": "a"}, "authorization": "a\nb",
            "active": "yes", "retry_policy": {"preset": "fast", "delays": [1], "often": true}, "rate_limit": 0, "concurrency": 257,
            "ordering": "fifo", "brand": "a b", "ed25519": 1, "timeouts": {"connect_ms": 1},
            "client_certificate": {"chain": "x"}, "oauth": {"token_url": "https://example.com"}, "secret": "whsec_short",
            "hmac": true,
        });
        assert_eq!(
            refused(&app.admin().post(WEBHOOKS, &wrong.to_string()).await),
            [
                "url format_invalid",
                "events format_invalid",
                "description too_long",
                "headers invalid",
                "authorization format_invalid",
                "active format_invalid",
                "retry_policy.preset invalid",
                "retry_policy.often unknown",
                "rate_limit out_of_bounds",
                "concurrency out_of_bounds",
                "ordering unknown",
                "brand format_invalid",
                "ed25519 format_invalid",
                "timeouts.connect_ms out_of_bounds",
                "client_certificate.key required",
                "oauth.client_id required",
                "secret format_invalid",
                "hmac unknown",
            ]
        );
        assert_eq!(refused(&app.admin().post(WEBHOOKS, "").await), ["url required", "events required"]);
        for (more, field) in [
            (json!({"url": "http://example.com/"}), "url"),
            (json!({"url": "https://169.254.169.254/latest"}), "url"),
            (json!({"url": "https://localhost/"}), "url"),
            (json!({"filter": "data.price"}), ""),
            (json!({"filter": "data.price >"}), "filter"),
            (json!({"filter": "price > 1"}), "filter"),
            (json!({"oauth": {"token_url": "https://10.0.0.1/", "client_id": "a", "client_secret": "b"}}), "oauth.token_url"),
            (json!({"oauth": {"token_url": "https://example.com/", "client_id": "a"}}), "oauth.client_secret"),
            (
                json!({"authorization": "x", "oauth": {"token_url": "https://example.com/", "client_id": "a", "client_secret": "b"}}),
                "oauth",
            ),
            (json!({"client_certificate": {"chain": "x", "key": "y"}}), "client_certificate.chain"),
        ] {
            let answer = app.admin().post(WEBHOOKS, &body(more.clone())).await;
            if field.is_empty() {
                assert_eq!(answer.status, 201, "{more}");
            } else {
                assert_eq!(refused(&answer), [format!("{field} invalid")], "{more}");
            }
        }
        let private = app.admin().post(WEBHOOKS, &body(json!({"url": "https://10.0.0.1/"}))).await;
        assert_eq!(
            private.body["error"]["message"],
            "`url`: names 10.0.0.1, which is not a public address, and not in egress.allow"
        );
    })
    .await;
}

#[tokio::test]
async fn an_update_changes_what_is_given_and_resets_what_is_null() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(&["read:webhooks", "write:webhooks", "read:audit"]).await;
        let full = json!({
            "description": "mine", "filter": "data.price > 1", "headers": {"X-A": "1", "x-b": ""}, "authorization": "Bearer top-secret",
            "retry_policy": {"delays": [5, 300]}, "rate_limit": 10, "concurrency": 2, "ordering": "object", "brand": "Sedifex",
            "ed25519": true, "timeouts": {"connect_ms": 1000, "total_ms": 9000},
        });
        let made = app.with_key(&mine).post(WEBHOOKS, &body(full)).await;
        let path = format!("{WEBHOOKS}/{}", made.id());
        let put = async |given: Value| {
            // The log is in the order of time.
            app.world.advance(1);
            app.with_key(&mine).put(&path, &given.to_string()).await.data().clone()
        };
        assert_eq!(made.data()["signature_header"], "X-Sedifex-Signature");
        assert!(made.data()["secrets"][0]["public_key"].as_str().unwrap().starts_with("whpk_"));
        assert_eq!(made.data()["has_authorization"], true);

        let same = put(json!({})).await;
        assert_eq!((&same["version"], &same["retry_policy"]), (&json!(1), &json!({"delays": [5, 300]})));
        let changed = put(json!({"url": "https://example.com/other", "events": ["key.deleted"], "authorization": "Bearer another"})).await;
        assert_eq!((&changed["version"], &changed["events"]), (&json!(2), &json!(["key.revoked"])));
        assert_eq!((&changed["headers"], &changed["description"]), (&json!({"X-A": "1", "x-b": ""}), &json!("mine")));

        let reset = put(json!({
            "description": null, "filter": null, "headers": null, "authorization": null, "active": false, "retry_policy": null,
            "rate_limit": null, "concurrency": null, "ordering": null, "brand": null, "ed25519": null, "timeouts": null,
        }))
        .await;
        assert_eq!((&reset["status"], &reset["signature_header"]), (&json!("inactive"), &json!("X-Clearway-Signature")));
        assert_eq!((&reset["secrets"][0]["public_key"], &reset["has_authorization"]), (&Value::Null, &json!(false)));
        assert_eq!((&reset["retry_policy"], &reset["headers"]), (&json!({"preset": "standard"}), &json!({})));
        for given in [json!({"url": null}), json!({"events": null}), json!({"events": []})] {
            app.with_key(&mine).put(&path, &given.to_string()).await.refused(400, "validation_error");
        }

        app.with_key(&mine).header("if-match", "\"1\"").put(&path, "{}").await.refused(412, "precondition_failed");
        app.world.advance(1);
        let right = app.with_key(&mine).header("if-match", "\"3\"").put(&path, r#"{"active": true}"#).await;
        assert_eq!(right.headers["etag"], "\"4\"");

        let log = app.with_key(&mine).get(&format!("/api/v1/audit?object_id={}", made.id())).await;
        let actions: Vec<_> = log.data()["items"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
        assert_eq!(actions, ["webhook.updated", "webhook.updated", "webhook.updated", "webhook.created"]);
        let text = log.body.to_string();
        assert!(text.contains("replaced") && !text.contains("secret\"") && !text.contains("top-secret") && !text.contains("another"));
    })
    .await;
}

#[tokio::test]
async fn a_rotation_overlaps_as_long_as_it_says_and_at_most_ten_secrets_sign() {
    on_both(async |app: TestApp| {
        let made = app.admin().post(WEBHOOKS, &body(json!({}))).await;
        let path = format!("{WEBHOOKS}/{}/rotate-secret", made.id());
        let rotate = async |given: &str| app.admin().post(&path, given).await;
        let first = rotate("").await;
        assert_ne!(first.secret(), made.secret());
        let secrets = &first.data()["secrets"];
        assert_eq!((&secrets[0]["expires_at"], &secrets[1]["expires_at"]), (&Value::Null, &json!("2026-11-21T00:00:00.000Z")));
        for _ in 0..8 {
            rotate(r#"{"overlap": 604800}"#).await.data();
        }
        rotate(r#"{"overlap": 1}"#).await.refused(409, "conflict");
        app.world.advance(86_400_000);
        assert_eq!(rotate(r#"{"overlap": 1}"#).await.data()["secrets"].as_array().unwrap().len(), 10);

        let own = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let now = rotate(&json!({"overlap": 0, "secret": own}).to_string()).await;
        assert_eq!((now.secret(), now.data()["secrets"].as_array().unwrap().len()), (own, 1));
        rotate(r#"{"overlap": 604801}"#).await.refused(400, "validation_error");
    })
    .await;
}

#[tokio::test]
async fn a_repeated_request_makes_no_second_webhook_and_shows_no_secret() {
    on_both(async |app: TestApp| {
        let post = async |path: &str, body: &str| app.admin().header("idempotency-key", "k1").post(path, body).await;
        let (first, again) = (post(WEBHOOKS, &body(json!({}))).await, post(WEBHOOKS, &body(json!({}))).await);
        assert_eq!((first.id(), &again.data()["secret"]), (again.id(), &Value::Null));
        assert_eq!(app.admin().get(WEBHOOKS).await.data()["total"], 1);
    })
    .await;
}

#[tokio::test]
async fn another_accounts_webhook_is_not_found() {
    on_both(async |app: TestApp| {
        let (account, owner) = app.account(ALL).await;
        let (_, other) = app.account(ALL).await;
        let theirs = app.with_key(&owner).post(WEBHOOKS, &body(json!({}))).await;
        for (method, rest) in [
            (Method::GET, ""),
            (Method::PUT, ""),
            (Method::DELETE, ""),
            (Method::POST, "/rotate-secret"),
            (Method::POST, "/enable"),
        ] {
            for id in [theirs.id(), "wh_0000000000000000000000", "key_0000000000000000000000"] {
                let path = format!("{WEBHOOKS}/{id}{rest}");
                app.with_key(&other).send(method.clone(), &path, "").await.refused(404, "not_found");
            }
        }
        app.with_key(&other).post(WEBHOOKS, &body(json!({"account_id": account}))).await.refused(404, "not_found");
        app.with_key(&other).get(&format!("{WEBHOOKS}?account_id={account}")).await.refused(404, "not_found");
        assert_eq!(app.with_key(&other).get(WEBHOOKS).await.data()["total"], 0);
        let path = format!("{WEBHOOKS}/{}", theirs.id());
        assert_eq!(app.admin().delete(&path).await.data()["id"], theirs.id());
        app.with_key(&owner).get(&path).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn an_account_has_a_hundred_webhooks_at_most() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(ALL).await;
        let mut last = String::new();
        for _ in 0..100 {
            last = app.with_key(&mine).post(WEBHOOKS, &body(json!({}))).await.id().to_owned();
        }
        app.with_key(&mine).post(WEBHOOKS, &body(json!({}))).await.refused(409, "object_limit_reached");
        app.admin().post(WEBHOOKS, &body(json!({}))).await.data();
        app.with_key(&mine).delete(&format!("{WEBHOOKS}/{last}")).await.data();
        app.with_key(&mine).post(WEBHOOKS, &body(json!({}))).await.data();
        let page = app.with_key(&mine).get(&format!("{WEBHOOKS}?limit=60")).await;
        let cursor = page.data()["next_cursor"].as_str().unwrap().to_owned();
        let rest = app.with_key(&mine).get(&format!("{WEBHOOKS}?limit=60&cursor={cursor}")).await;
        assert_eq!(rest.data()["items"].as_array().unwrap().len(), 40);
    })
    .await;
}

#[tokio::test]
async fn a_client_certificate_must_be_its_keys() {
    on_both(async |app: TestApp| {
        let pem = |year: i32| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let ((chain, key), (_, other), (old, old_key)) = (pem(2040), pem(2040), pem(2020));
        let with = |chain: &str, key: &str| body(json!({ "client_certificate": { "chain": chain, "key": key } }));
        assert_eq!(refused(&app.admin().post(WEBHOOKS, &with(&chain, &other)).await), ["client_certificate.key invalid"]);
        assert_eq!(refused(&app.admin().post(WEBHOOKS, &with(&old, &old_key)).await), ["client_certificate.chain invalid"]);
        let made = app.admin().post(WEBHOOKS, &with(&chain, &key)).await;
        assert_eq!(made.data()["client_certificate"]["not_after"], "2040-01-01T00:00:00.000Z");
        assert!(!made.body.to_string().contains("PRIVATE KEY"));
    })
    .await;
}

#[tokio::test]
async fn an_accounts_brand_is_that_of_its_webhooks_without_their_own() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(ALL).await;
        let plain = app.with_key(&mine).post(WEBHOOKS, &body(json!({}))).await.id().to_owned();
        let own = app.with_key(&mine).post(WEBHOOKS, &body(json!({"brand": "Own"}))).await.id().to_owned();
        let path = format!("/api/v1/admin/accounts/{account}/brand");
        assert_eq!(app.admin().put(&path, r#"{"brand": "Sedifex"}"#).await.data()["brand"], "Sedifex");
        let shown = async |id: &str| {
            app.with_key(&mine).get(&format!("{WEBHOOKS}/{id}")).await.data()["signature_header"].as_str().unwrap().to_owned()
        };
        assert_eq!((shown(&plain).await, shown(&own).await), ("X-Sedifex-Signature".into(), "X-Own-Signature".into()));
        assert_eq!(app.admin().get(&format!("/api/v1/admin/accounts/{account}")).await.data()["brand"], "Sedifex");
        app.admin().put(&path, r#"{"brand": "a\r\nb"}"#).await.refused(400, "validation_error");
        app.with_key(&mine).put(&path, r#"{"brand": "b"}"#).await.refused(403, "scope_missing");
    })
    .await;
}
