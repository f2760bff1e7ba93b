//! Certificates through the admin API.

use http::Method;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::app::{TestApp, on_both};

const CERTIFICATES: &str = "/api/v1/admin/certificates";

/// A chain and its key for these hosts, valid in these years.
fn pem(hosts: &[&str], years: std::ops::Range<i32>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Test Authority");
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn body(chain: &str, key: &str) -> String {
    json!({ "chain": chain, "key": key }).to_string()
}

#[tokio::test]
async fn a_certificate_is_created_read_replaced_and_deleted_and_its_key_never_comes_out() {
    on_both(async |app: TestApp| {
        let shop = format!("{CERTIFICATES}/shop");
        let (chain, key) = pem(&["Shop.test", "*.shop.test", "127.0.0.1"], 2020..2040);
        let named = json!({ "name": "shop", "chain": chain, "key": key }).to_string();
        let made = app.admin().post(CERTIFICATES, &named).await;
        assert_eq!(made.status, 201);
        let made = made.data();
        assert_eq!(made["hosts"], json!(["shop.test", "*.shop.test", "127.0.0.1"]));
        assert_eq!((&made["issuer"], &made["not_after"]), (&json!("CN=Test Authority"), &json!("2040-01-01T00:00:00.000Z")));
        assert!(made["fingerprint"].as_str().unwrap().starts_with("sha256:") && !made["serial"].as_str().unwrap().is_empty());
        assert_eq!(made["propagation"]["refused"], 0);
        app.admin().post(CERTIFICATES, &named).await.refused(409, "conflict");

        let (chain, key) = pem(&["shop.test"], 2020..2040);
        app.admin().header("if-match", "\"7\"").put(&shop, &body(&chain, &key)).await.refused(412, "precondition_failed");
        app.admin().header("if-none-match", "*").put(&shop, &body(&chain, &key)).await.refused(412, "precondition_failed");
        let changed = app.admin().header("if-match", "\"1\"").put(&shop, &body(&chain, &key)).await;
        assert_eq!((changed.headers["etag"].to_str().unwrap(), &changed.data()["version"]), ("\"2\"", &json!(2)));
        assert_ne!(changed.data()["fingerprint"], made["fingerprint"]);

        let list = app.admin().get(CERTIFICATES).await;
        let names: Vec<_> = list.data()["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
        assert_eq!((names, &list.data()["total"]), (vec![json!("shop")], &json!(1)));
        let read = app.admin().get(&shop).await;
        let log = app.admin().get("/api/v1/audit?object_id=shop").await;
        for answer in [&list.body, &read.body, &log.body] {
            let text = answer.to_string();
            assert!(!text.contains("PRIVATE KEY") && !text.contains(&key[40..80]), "{text}");
        }
        let rows: Vec<(String, Vec<u8>)> =
            app.database.db.query("SELECT chain, sealed_key FROM certificates WHERE name = 'shop'").all().await.unwrap();
        assert!(rows[0].0 == chain && !rows[0].1.windows(11).any(|window| window == b"PRIVATE KEY"), "sealed");

        app.admin().delete(&shop).await.data();
        app.admin().get(&shop).await.refused(404, "not_found");
        app.admin().delete(&shop).await.refused(404, "not_found");
        let mut actions: Vec<Value> = app.admin().get("/api/v1/audit?object_id=shop").await.data()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["action"].clone())
            .collect();
        actions.sort_by_key(ToString::to_string);
        assert_eq!(actions, ["certificate.created", "certificate.deleted", "certificate.updated"]);
    })
    .await;
}

#[tokio::test]
async fn what_clients_would_refuse_is_not_taken_and_said() {
    let app = TestApp::new(crate::databases::Engine::Sqlite).await;
    let (chain, key) = pem(&["a.test"], 2020..2040);
    let (_, other) = pem(&["a.test"], 2020..2040);
    let (old, old_key) = pem(&["a.test"], 2010..2020);
    let (early, early_key) = pem(&["a.test"], 2030..2040);
    let (nameless, nameless_key) = pem(&[], 2020..2040);
    let put = async |body: String| app.admin().send(Method::PUT, &format!("{CERTIFICATES}/a"), &body).await;
    for (body, field, message) in [
        (body(&chain, &other), "key", "is not the certificate's key"),
        (body(&chain, "no key"), "key", "holds no private key in PEM that can be read"),
        (body("no chain", &key), "chain", "holds no certificate in PEM that can be read"),
        (body(&chain.repeat(17), &key), "chain", "holds more than 16 certificates"),
        (body(&old, &old_key), "chain", "has expired"),
        (body(&early, &early_key), "chain", "is not valid yet"),
        (body(&nameless, &nameless_key), "chain", "names no host in its subject alternative names"),
        (
            body(include_str!("certificates/weak.pem"), include_str!("certificates/weak.key")),
            "key",
            "must be RSA of at least 2048 bits, ECDSA on P-256 or P-384, or Ed25519",
        ),
        (body(&"x".repeat(48 * 1024 + 1), &key), "chain", "must have 49152 bytes at most"),
    ] {
        let refused = put(body).await;
        refused.refused(400, "validation_error");
        let detail = &refused.body["error"]["details"][0];
        assert_eq!((&detail["field"], &detail["message"]), (&json!(field), &json!(message)));
        assert!(!refused.body.to_string().contains("PRIVATE"), "{}", refused.body);
    }
    app.admin().put(&format!("{CERTIFICATES}/A"), &body(&chain, &key)).await.refused(404, "not_found");
    assert_eq!(app.admin().get(CERTIFICATES).await.data()["total"], 0);
    app.database
        .db
        .query(
            "INSERT INTO certificates (name, chain, sealed_key, version, created_at, updated_at)
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
        SELECT 'c' || n, '', x'00', 1, 0, 0 FROM n",
        )
        .execute()
        .await
        .unwrap();
    put(body(&chain, &key)).await.refused(409, "object_limit_reached");
}
