use clearway_config::audit::{ChainedEntry, Link};
use clearway_control::audit::link_once;
use serde_json::{Value, json};

use crate::app::{TestApp, on_both, pretty};

#[tokio::test]
async fn every_act_on_a_key_is_noted_with_who_from_where_and_what() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(&["read:keys", "write:keys", "read:audit"]).await;
        let me =
            || app.with_key(&mine).header("x-forwarded-for", "192.0.2.7").header("x-request-id", "req_0000000000000000000001");
        let made = me().post("/api/v1/keys", r#"{"name": "a", "allowed_addresses": ["10.0.0.1"]}"#).await;
        let path = format!("/api/v1/keys/{}", made.id());
        let mut secrets = vec![made.secret().to_owned()];
        let mut acts = Vec::new();
        for act in ["put", "rotate", "regenerate", "delete"] {
            app.world.advance(1);
            let done = match act {
                "put" => me().put(&path, r#"{"name": "b", "limits": {"per_day": 5}}"#).await,
                "delete" => me().delete(&path).await,
                act => me().post(&format!("{path}/{act}"), "").await,
            };
            secrets.extend(done.data().get("secret").and_then(|secret| secret.as_str()).map(str::to_owned));
            acts.push(done);
        }
        let log = app.with_key(&mine).get(&format!("/api/v1/audit?object_id={}", made.id())).await;
        insta::allow_duplicates! { insta::assert_snapshot!(pretty(log.data()), @r#"
            {
              "items": [
                {
                  "account_id": "acct_0350Z6oikMkhNFhp8BCO2h",
                  "action": "key.revoked",
                  "actor": {
                    "address": "192.0.2.7",
                    "id": "key_0350Z6oinC7cjgjsZWU3id",
                    "kind": "key"
                  },
                  "at": "2026-11-20T00:00:00.004Z",
                  "changes": {
                    "revoked_at": {
                      "after": "2026-11-20T00:00:00.004Z",
                      "before": null
                    }
                  },
                  "id": "aud_0350Z6ojBf1EryPIhoqrw4",
                  "object": {
                    "id": "key_0350Z6oijwsDFSjNxQegDE",
                    "kind": "key"
                  },
                  "request_id": "req_0000000000000000000001"
                },
                {
                  "account_id": "acct_0350Z6oikMkhNFhp8BCO2h",
                  "action": "key.rotated",
                  "actor": {
                    "address": "192.0.2.7",
                    "id": "key_0350Z6oinC7cjgjsZWU3id",
                    "kind": "key"
                  },
                  "at": "2026-11-20T00:00:00.003Z",
                  "changes": {
                    "overlap_seconds": {
                      "after": 0,
                      "before": null
                    },
                    "secret": {
                      "after": "clw_live_kKMV",
                      "before": "clw_live_LNPs"
                    }
                  },
                  "id": "aud_0350Z6oj4W3yMibYQnK9oB",
                  "object": {
                    "id": "key_0350Z6oijwsDFSjNxQegDE",
                    "kind": "key"
                  },
                  "request_id": "req_0000000000000000000001"
                },
                {
                  "account_id": "acct_0350Z6oikMkhNFhp8BCO2h",
                  "action": "key.rotated",
                  "actor": {
                    "address": "192.0.2.7",
                    "id": "key_0350Z6oinC7cjgjsZWU3id",
                    "kind": "key"
                  },
                  "at": "2026-11-20T00:00:00.002Z",
                  "changes": {
                    "overlap_seconds": {
                      "after": 86400,
                      "before": null
                    },
                    "secret": {
                      "after": "clw_live_LNPs",
                      "before": "clw_live_9xM8"
                    }
                  },
                  "id": "aud_0350Z6oizxYH09cZ5YQeSW",
                  "object": {
                    "id": "key_0350Z6oijwsDFSjNxQegDE",
                    "kind": "key"
                  },
                  "request_id": "req_0000000000000000000001"
                },
                {
                  "account_id": "acct_0350Z6oikMkhNFhp8BCO2h",
                  "action": "key.updated",
                  "actor": {
                    "address": "192.0.2.7",
                    "id": "key_0350Z6oinC7cjgjsZWU3id",
                    "kind": "key"
                  },
                  "at": "2026-11-20T00:00:00.001Z",
                  "changes": {
                    "limits": {
                      "after": {
                        "concurrent": null,
                        "per_day": 5,
                        "per_month": null,
                        "per_second": null
                      },
                      "before": {
                        "concurrent": null,
                        "per_day": null,
                        "per_month": null,
                        "per_second": null
                      }
                    },
                    "name": {
                      "after": "b",
                      "before": "a"
                    }
                  },
                  "id": "aud_0350Z6oiogtYBCmk9sSKQb",
                  "object": {
                    "id": "key_0350Z6oijwsDFSjNxQegDE",
                    "kind": "key"
                  },
                  "request_id": "req_0000000000000000000001"
                },
                {
                  "account_id": "acct_0350Z6oikMkhNFhp8BCO2h",
                  "action": "key.created",
                  "actor": {
                    "address": "192.0.2.7",
                    "id": "key_0350Z6oinC7cjgjsZWU3id",
                    "kind": "key"
                  },
                  "at": "2026-11-20T00:00:00.000Z",
                  "changes": {
                    "allowed_addresses": {
                      "after": [
                        "10.0.0.1/32"
                      ],
                      "before": null
                    },
                    "environment": {
                      "after": "live",
                      "before": null
                    },
                    "limits": {
                      "after": {
                        "concurrent": null,
                        "per_day": null,
                        "per_month": null,
                        "per_second": null
                      },
                      "before": null
                    },
                    "name": {
                      "after": "a",
                      "before": null
                    },
                    "scopes": {
                      "after": [],
                      "before": null
                    },
                    "secret": {
                      "after": "clw_live_9xM8",
                      "before": null
                    }
                  },
                  "id": "aud_0350Z6oin11IqvMcqoya3T",
                  "object": {
                    "id": "key_0350Z6oijwsDFSjNxQegDE",
                    "kind": "key"
                  },
                  "request_id": "req_0000000000000000000001"
                }
              ],
              "next_cursor": null
            }
            "#) }
        let text = log.body.to_string();
        assert_eq!(secrets.len(), 3);
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())));
    })
    .await;
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_not_noted() {
    on_both(async |app: TestApp| {
        let made = app.admin().post("/api/v1/keys", r#"{"name": "a"}"#).await;
        app.admin().put(&format!("/api/v1/keys/{}", made.id()), r#"{"name": "a", "expires_at": null}"#).await.data();
        let log = app.admin().get(&format!("/api/v1/audit?object_id={}", made.id())).await;
        assert_eq!(log.data()["items"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_account_sees_its_own_entries_and_an_admin_all() {
    on_both(async |app: TestApp| {
        let (one, key) = app.account(&["read:audit"]).await;
        let (two, _) = app.account(&["read:audit"]).await;
        let accounts = async |client: crate::app::Client<'_>, query: &str| {
            let log = client.get(&format!("/api/v1/audit{query}")).await;
            let items = log.data()["items"].as_array().unwrap().clone();
            let mut ids: Vec<_> = items.iter().map(|entry| entry["account_id"].as_str().unwrap().to_owned()).collect();
            ids.sort();
            ids.dedup();
            ids
        };
        assert_eq!(accounts(app.with_key(&key), "").await, std::slice::from_ref(&one));
        assert_eq!(accounts(app.with_key(&key), &format!("?account_id={one}")).await, std::slice::from_ref(&one));
        app.with_key(&key).get(&format!("/api/v1/audit?account_id={two}")).await.refused(404, "not_found");
        assert_eq!(accounts(app.admin(), "").await.len(), 3);
        assert_eq!(accounts(app.admin(), &format!("?account_id={two}&action=key.created")).await, [two]);
        app.admin().get("/api/v1/audit?action=key.stolen").await.refused(400, "validation_error");

        let first = app.admin().get("/api/v1/audit?limit=2").await;
        let cursor = first.data()["next_cursor"].as_str().unwrap();
        let second = app.admin().get(&format!("/api/v1/audit?limit=2&cursor={cursor}")).await;
        assert_ne!(first.data()["items"], second.data()["items"]);
    })
    .await;
}

#[tokio::test]
async fn whoever_runs_clearway_reads_the_chain_and_computes_it_anew() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(&["read:audit"]).await;
        link_once(&app.api.db).await.unwrap();
        let chain = "/api/v1/admin/audit/chain";
        app.with_key(&mine).get(chain).await.refused(403, "scope_missing");
        let (mut number, mut link) = (0, Link::first());
        loop {
            let page = app.admin().get(&format!("{chain}?after={number}&limit=2")).await;
            let items = page.data()["items"].as_array().unwrap();
            for item in items {
                let entry: ChainedEntry = serde_json::from_value(item["entry"].clone()).unwrap();
                number += 1;
                link = link.next(number, &entry);
                assert_eq!((&item["number"], &item["link"]), (&json!(number), &json!(link.to_string())));
            }
            let end = json!({"waiting": 0, "lost": 0, "strange": 0});
            assert_eq!(page.data()["unlinked"], if items.len() < 2 { end } else { Value::Null });
            if items.len() < 2 {
                break;
            }
        }
        assert!(number >= 4, "{number}");
        for wrong in ["limit=0", "limit=1001", "after=-1", "after=x"] {
            app.admin().get(&format!("{chain}?{wrong}")).await.refused(400, "validation_error");
        }
    })
    .await;
}
