//! Stores and their products through the API, and the events that come of them.

use serde_json::{Value, json};

use crate::app::{TestApp, on_both};

const STORES: &str = "/api/v1/stores";
const ALL: &[&str] = &["read:stores", "write:stores"];

/// Type, object and data of each event so far.
async fn events(app: &TestApp) -> Vec<(String, String, Value)> {
    let rows: Vec<(String, String, String)> =
        app.database.db.query("SELECT type, object_id, body FROM events ORDER BY sequence").all().await.unwrap();
    let data = |body: &str| serde_json::from_str::<Value>(body).unwrap()["data"].take();
    let products = rows.into_iter().filter(|(kind, ..)| kind.starts_with("product."));
    products.map(|(kind, object, body)| (kind, object, data(&body))).collect()
}

#[tokio::test]
async fn a_store_is_made_read_changed_and_closed() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(ALL).await;
        let made = app.with_key(&mine).post(STORES, r#"{"name": "Shop", "currency": "USD"}"#).await;
        let path = format!("{STORES}/{}", made.id());
        assert_eq!((&made.data()["account_id"], made.headers["etag"].as_bytes()), (&json!(account), &b"\"1\""[..]));
        assert_eq!(app.with_key(&mine).get(&path).await.data(), made.data());
        assert_eq!(app.with_key(&mine).get(STORES).await.data()["items"], json!([made.data()]));
        let changed = app.with_key(&mine).header("if-match", "\"1\"").put(&path, r#"{"currency": "EUR"}"#).await;
        assert_eq!((&changed.data()["currency"], &changed.data()["version"]), (&json!("EUR"), &json!(2)));
        app.with_key(&mine).header("if-match", "\"1\"").put(&path, "{}").await.refused(412, "precondition_failed");
        for wrong in [json!({"name": ""}), json!({"name": null}), json!({"currency": "usd"}), json!({"currency": "US"})] {
            app.with_key(&mine).put(&path, &wrong.to_string()).await.refused(400, "validation_error");
        }
        let product = app.with_key(&mine).post(&format!("{path}/products"), r#"{"title": "Mug", "price": 1}"#).await;
        app.with_key(&mine).delete(&path).await.refused(409, "conflict");
        app.with_key(&mine).delete(&format!("{path}/products/{}", product.id())).await.data();
        app.with_key(&mine).delete(&path).await.data();
        app.with_key(&mine).get(&path).await.refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn every_change_of_a_product_is_an_event() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(ALL).await;
        let store = app.with_key(&mine).post(STORES, r#"{"name": "Shop", "currency": "USD"}"#).await.id().to_owned();
        let products = format!("{STORES}/{store}/products");
        let body = r#"{"title": "Mug", "price": 12500000, "sku": "MUG-01", "quantity": 40, "attributes": {"colour": "blue"}}"#;
        let made = app.with_key(&mine).post(&products, body).await;
        let path = format!("{products}/{}", made.id());
        assert_eq!(
            (&made.data()["currency"], &made.data()["active"], &made.data()["version"]),
            (&json!("USD"), &json!(true), &json!(1))
        );
        let put = async |given: Value| app.with_key(&mine).put(&path, &given.to_string()).await.data().clone();
        assert_eq!(put(json!({"price": 12_500_000, "quantity": 40})).await["version"], 1);
        let changed = put(json!({"price": 11_000_000, "quantity": null})).await;
        assert_eq!((&changed["version"], &changed["quantity"], &changed["sku"]), (&json!(2), &Value::Null, &json!("MUG-01")));
        app.with_key(&mine).header("if-match", "\"1\"").delete(&path).await.refused(412, "precondition_failed");
        app.with_key(&mine).header("if-match", "\"2\"").delete(&path).await.data();
        app.with_key(&mine).get(&path).await.refused(404, "not_found");

        let events = events(&app).await;
        let kinds: Vec<_> = events.iter().map(|(kind, object, _)| (kind.as_str(), object.as_str())).collect();
        let id = made.id();
        assert_eq!(kinds, [("product.created", id), ("product.updated", id), ("product.deleted", id)]);
        assert_eq!((&events[0].2["price"], &events[0].2["attributes"]), (&json!(12_500_000), &json!({"colour": "blue"})));
        assert_eq!((&events[1].2["price"], &events[1].2["changed"]), (&json!(11_000_000), &json!(["price", "quantity"])));
        assert_eq!((&events[2].2["product_id"], &events[2].2["store_id"]), (&json!(id), &json!(store)));
    })
    .await;
}

#[tokio::test]
async fn a_product_that_was_refused_is_no_event() {
    on_both(async |app: TestApp| {
        let (_, mine) = app.account(ALL).await;
        let store = app.with_key(&mine).post(STORES, r#"{"name": "Shop", "currency": "USD"}"#).await.id().to_owned();
        let products = format!("{STORES}/{store}/products");
        let post = async |given: Value| app.with_key(&mine).post(&products, &given.to_string()).await;
        post(json!({"title": "Mug", "price": 1, "sku": "A"})).await.data();
        post(json!({"title": "Cup", "price": 1, "sku": "A"})).await.refused(409, "conflict");
        for wrong in [
            json!({}),
            json!({"title": "Cup"}),
            json!({"title": "Cup", "price": -1}),
            json!({"title": "Cup", "price": 1.5}),
            json!({"title": "Cup", "price": 1_000_000_000_000_001_u64}),
            json!({"title": "Cup", "price": 1, "currency": "Dollar"}),
            json!({"title": "Cup", "price": 1, "quantity": -1}),
            json!({"title": "Cup", "price": 1, "image_url": "javascript:alert(1)"}),
            json!({"title": "Cup", "price": 1, "attributes": {"a": 1}}),
            json!({"title": "Cup", "price": 1, "colour": "blue"}),
            json!({"title": "x".repeat(201), "price": 1}),
        ] {
            post(wrong).await.refused(400, "validation_error");
        }
        assert_eq!(events(&app).await.len(), 1);
        let found = app.with_key(&mine).get(&format!("{products}?sku=A")).await;
        assert_eq!(found.data()["items"].as_array().unwrap().len(), 1);
        assert_eq!(app.with_key(&mine).get(&format!("{products}?sku=B")).await.data()["items"], json!([]));
        assert_eq!(app.with_key(&mine).get(&products).await.data()["total"], 1);
    })
    .await;
}

#[tokio::test]
async fn another_accounts_store_and_products_are_not_found() {
    on_both(async |app: TestApp| {
        let (_, owner) = app.account(ALL).await;
        let (_, other) = app.account(ALL).await;
        let store = app.with_key(&owner).post(STORES, r#"{"name": "Shop", "currency": "USD"}"#).await.id().to_owned();
        let path = format!("{STORES}/{store}");
        let product = app.with_key(&owner).post(&format!("{path}/products"), r#"{"title": "Mug", "price": 1}"#).await;
        let elsewhere = app.with_key(&other).post(STORES, r#"{"name": "Mine", "currency": "USD"}"#).await.id().to_owned();
        for path in
            [path.clone(), format!("{path}/products/{}", product.id()), format!("{STORES}/{elsewhere}/products/{}", product.id())]
        {
            app.with_key(&other).get(&path).await.refused(404, "not_found");
            app.with_key(&other).put(&path, "{}").await.refused(404, "not_found");
            app.with_key(&other).delete(&path).await.refused(404, "not_found");
        }
        app.with_key(&other).get(&format!("{path}/products")).await.refused(404, "not_found");
        app.with_key(&other).post(&format!("{path}/products"), r#"{"title": "Cup", "price": 1}"#).await.refused(404, "not_found");
        assert_eq!(app.admin().get(&format!("{path}/products/{}", product.id())).await.id(), product.id());
    })
    .await;
}
