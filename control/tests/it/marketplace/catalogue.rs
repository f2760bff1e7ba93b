//! What everybody finds.

use serde_json::{Value, json};

use super::{DEVELOPER, content, names, published};
use crate::app::{Answer, TestApp, on_both};

async fn get(app: &TestApp, query: &str) -> Answer {
    app.anyone().get(&format!("/api/v1/apps{query}")).await
}

async fn publish(app: &TestApp, key: &str, name: &str, change: Value) -> String {
    let mut content = content(name);
    for (field, value) in change.as_object().unwrap() {
        content[field] = value.clone();
    }
    published(app, key, &content).await
}

#[tokio::test]
async fn apps_are_found_by_the_beginnings_of_words_and_names_weigh_most() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(DEVELOPER).await;
        let invoices = json!({"summary": "Sends bills", "category": "automation"});
        let first = publish(&app, &key, "Invoice Robot", invoices).await;
        publish(&app, &key, "Überblick", json!({"summary": "Shows every invoice at a glance", "category": "analytics"})).await;
        publish(&app, &key, "Backups", json!({"features": ["Keeps invoices"], "category": "storage"})).await;
        publish(&app, &key, "Channels", json!({})).await;
        assert_eq!(names(&get(&app, "?q=invoice").await), ["Invoice Robot", "Überblick", "Backups"]);
        assert_eq!(names(&get(&app, "?q=INVO").await), ["Invoice Robot", "Überblick", "Backups"]);
        assert_eq!(names(&get(&app, "?q=invoice+glance").await), ["Überblick"]);
        assert_eq!(names(&get(&app, "?q=%C3%BCber").await), ["Überblick"]);
        assert_eq!(names(&get(&app, "?q=invoice&category=storage").await), ["Backups"]);
        assert_eq!(names(&get(&app, "?q=invoice&sort=newest").await), ["Backups", "Überblick", "Invoice Robot"]);
        assert_eq!(names(&get(&app, "?q=%22%20OR%20%2A").await), Vec::<&str>::new(), "the word is or");
        assert_eq!(get(&app, "?q=NEAR(a%20b)%27%3A%2A%26%21").await.status, 200);
        let page = get(&app, "?q=invoice&limit=2").await;
        let cursor = page.data()["next_cursor"].as_str().unwrap();
        assert_eq!(names(&page), ["Invoice Robot", "Überblick"]);
        assert_eq!(names(&get(&app, &format!("?q=invoice&limit=2&cursor={cursor}")).await), ["Backups"]);
        for (offset, name) in [(0, "Invoice Robot"), (1, "Überblick"), (2, "Backups")] {
            assert_eq!(names(&get(&app, &format!("?q=invoice&limit=1&offset={offset}")).await), [name]);
        }
        let suggested = get(&app, "/suggestions?q=ba").await;
        assert_eq!((names(&suggested), &suggested.data()["items"][0]["slug"]), (vec!["Backups"], &json!("backups")));
        assert_eq!(names(&get(&app, "/suggestions?q=invoice").await), ["Invoice Robot"], "by names only");
        super::judge(&app, &first, "suspend").await.data();
        assert_eq!(names(&get(&app, "?q=invoice").await), ["Überblick", "Backups"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_published_is_listed_in_the_order_and_the_choice_that_is_asked_for() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(DEVELOPER).await;
        let priced = json!({"pricing": {"model": "fixed", "currency": "USD", "monthly": 9_990_000}, "category": "security"});
        for (name, change) in [("Aaa", json!({})), ("Bbb", priced), ("Ccc", json!({}))] {
            publish(&app, &key, name, change).await;
        }
        let counts = [("aaa", 5, 2, 100, 5), ("bbb", 9, 0, 0, 0), ("ccc", 1, 7, 2, 10)];
        for (slug, installs, trend, ratings, sum) in counts {
            let db = &app.database.db;
            let set = "UPDATE app_listings SET installs = $2, trend = $3, rating_count = $4, rating_sum = $5, rank = $6 WHERE slug = $1";
            db.query(set)
                .bind(slug)
                .bind(i64::from(installs))
                .bind(i64::from(trend))
                .bind(i64::from(ratings))
                .bind(i64::from(ratings * sum / 5))
                .bind(i64::from(sum))
                .execute()
                .await
                .unwrap();
        }
        assert_eq!(names(&get(&app, "").await), ["Bbb", "Aaa", "Ccc"]);
        assert_eq!(names(&get(&app, "?sort=newest").await), ["Ccc", "Bbb", "Aaa"]);
        assert_eq!(names(&get(&app, "?sort=trending").await), ["Ccc", "Aaa", "Bbb"]);
        assert_eq!(names(&get(&app, "?sort=rating").await), ["Ccc", "Aaa", "Bbb"]);
        assert_eq!(names(&get(&app, "?category=security").await), ["Bbb"]);
        assert_eq!(names(&get(&app, "?price_model=free&min_installs=2").await), ["Aaa"]);
        assert_eq!(names(&get(&app, "?min_rating=1.5").await), ["Ccc"]);
        let page = get(&app, "?limit=2").await;
        let cursor = page.data()["next_cursor"].as_str().unwrap();
        assert_eq!(names(&get(&app, &format!("?limit=2&cursor={cursor}")).await), ["Ccc"]);
        assert_eq!(names(&get(&app, "?limit=2&offset=2").await), ["Ccc"]);
        for wrong in ["?sort=best", "?category=x", "?min_rating=6", "?q=", "?limit=101", "?cursor=x", "?sort=relevance", "?colour=blue"] {
            get(&app, wrong).await.refused(400, "validation_error");
        }
        let categories = get(&app, "/categories").await;
        let of = |id: &str| categories.data()["items"].as_array().unwrap().iter().find(|c| c["id"] == id).unwrap()["apps"].clone();
        assert_eq!((of("communication"), of("security"), of("storage")), (json!(2), json!(1), json!(0)));
    })
    .await;
}

#[tokio::test]
async fn operators_feature_apps_and_put_collections_together() {
    on_both(async |app: TestApp| {
        let (_, key) = app.account(DEVELOPER).await;
        let one = publish(&app, &key, "Aaa", json!({})).await;
        let two = publish(&app, &key, "Bbb", json!({})).await;
        let put = async |path: &str, body: Value| app.admin().put(&format!("/api/v1/admin/{path}"), &body.to_string()).await;
        put(&format!("apps/{two}/featured"), json!({"featured": true})).await.data();
        assert_eq!(names(&get(&app, "?featured=true").await), ["Bbb"]);
        let made = put("collections/for-shops", json!({"title": "For shops", "apps": [two, one]})).await;
        assert_eq!((&made.data()["version"], made.headers["etag"].as_bytes()), (&json!(1), &b"\"1\""[..]));
        let read = get(&app, "/collections/for-shops").await;
        let apps: Vec<_> = read.data()["apps"].as_array().unwrap().iter().map(|app| app["name"].clone()).collect();
        assert_eq!(apps, [json!("Bbb"), json!("Aaa")]);
        assert_eq!(get(&app, "/collections").await.data()["items"][0]["title"], "For shops");
        let draft = app.with_key(&key).post("/api/v1/apps", r#"{"name": "Ccc"}"#).await.id().to_owned();
        put("collections/x", json!({"title": "X", "apps": [draft]})).await.refused(400, "validation_error");
        put("apps/app_0000000000000000000000/featured", json!({"featured": true})).await.refused(404, "not_found");
        app.with_key(&key).put("/api/v1/admin/collections/x", "{}").await.refused(403, "scope_missing");
        let stale =
            app.admin().header("if-none-match", "*").put("/api/v1/admin/collections/for-shops", r#"{"title": "X", "apps": []}"#);
        stale.await.refused(412, "precondition_failed");
        app.admin().delete("/api/v1/admin/collections/for-shops").await.data();
        get(&app, "/collections/for-shops").await.refused(404, "not_found");
    })
    .await;
}
