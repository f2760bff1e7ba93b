//! What accounts say of apps.

use serde_json::{Value, json};

use super::{DEVELOPER, content, published};
use crate::app::{Answer, TestApp, on_both};

const INSTALLER: &[&str] = &["read:apps", "write:apps", "read:events", "write:marketplace"];

struct Stand {
    app: TestApp,
    developer: String,
    id: String,
    path: String,
}

impl Stand {
    async fn new(app: TestApp) -> Self {
        let (_, developer) = app.account(DEVELOPER).await;
        let id = published(&app, &developer, &content("Channels")).await;
        let path = format!("/api/v1/apps/{id}/reviews");
        Self { app, developer, id, path }
    }

    async fn installer(&self) -> String {
        let (_, key) = self.app.account(INSTALLER).await;
        self.app.world.advance(1);
        let body = json!({"app": self.id, "scopes": ["read:events"]});
        self.app.with_key(&key).post("/api/v1/installations", &body.to_string()).await.data();
        key
    }

    async fn rate(&self, key: &str, rating: u32) -> Answer {
        self.app.world.advance(1);
        self.app.with_key(key).post(&self.path, &json!({"rating": rating, "comment": "as it is"}).to_string()).await
    }

    /// Mean and number, as everybody sees them.
    async fn seen(&self) -> (Value, Value) {
        let page = self.app.anyone().get(&format!("/api/v1/apps/{}", self.id)).await;
        (page.data()["rating"].clone(), page.data()["review_count"].clone())
    }
}

#[tokio::test]
async fn only_who_has_an_app_rates_it_and_once() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (one, two) = (stand.installer().await, stand.installer().await);
        let (_, stranger) = stand.app.account(INSTALLER).await;
        stand.rate(&stranger, 1).await.refused(409, "conflict");
        stand.rate(&stand.developer, 5).await.refused(409, "conflict");
        for wrong in [json!({}), json!({"rating": 0}), json!({"rating": 6}), json!({"rating": 4.5}), json!({"rating": 5, "x": 1})]
        {
            stand.app.with_key(&one).post(&stand.path, &wrong.to_string()).await.refused(400, "validation_error");
        }
        let review = stand.rate(&one, 4).await;
        stand.rate(&one, 5).await.refused(409, "conflict");
        stand.rate(&two, 5).await.data();
        assert_eq!(stand.seen().await, (json!(4.5), json!(2)));

        let own = format!("{}/{}", stand.path, review.id());
        let changed = stand.app.with_key(&one).header("if-match", "\"1\"").put(&own, r#"{"rating": 2}"#).await;
        assert_eq!((&changed.data()["comment"], &changed.data()["version"]), (&json!(""), &json!(2)));
        stand
            .app
            .with_key(&one)
            .header("if-match", "\"1\"")
            .put(&own, r#"{"rating": 3}"#)
            .await
            .refused(412, "precondition_failed");
        stand.app.with_key(&two).put(&own, r#"{"rating": 5}"#).await.refused(404, "not_found");
        stand.app.with_key(&two).delete(&own).await.refused(404, "not_found");
        assert_eq!(stand.seen().await, (json!(3.5), json!(2)));
        let list = stand.app.anyone().get(&stand.path).await;
        assert_eq!((&list.data()["total"], list.data()["items"].as_array().unwrap().len()), (&json!(2), 2));
        stand.app.with_key(&one).delete(&own).await.data();
        assert_eq!(stand.seen().await, (json!(5.0), json!(1)));
        stand.rate(&one, 1).await.data();
    })
    .await;
}

#[tokio::test]
async fn a_developer_replies_and_what_is_hidden_does_not_count() {
    on_both(async |app: TestApp| {
        let stand = Stand::new(app).await;
        let (one, two) = (stand.installer().await, stand.installer().await);
        let review = stand.rate(&one, 1).await;
        let own = format!("{}/{}", stand.path, review.id());
        let reply = r#"{"reply": "This is fixed in 1.1.0."}"#;
        stand.app.with_key(&two).put(&format!("{own}/reply"), reply).await.refused(404, "not_found");
        stand.app.with_key(&stand.developer).put(&format!("{own}/reply"), reply).await.data();
        assert_eq!(stand.app.anyone().get(&stand.path).await.data()["items"][0]["reply"], "This is fixed in 1.1.0.");

        let report = async || stand.app.with_key(&two).post(&format!("{own}/report"), r#"{"reason": "rude"}"#).await;
        report().await.data();
        report().await.data();
        let reported = stand.app.admin().get("/api/v1/admin/reviews/reported").await;
        assert_eq!((&reported.data()["items"][0]["reports"], &reported.data()["items"][0]["hidden"]), (&json!(1), &json!(false)));
        let hide = async |hidden: bool| {
            let path = format!("/api/v1/admin/reviews/{}/hidden", review.id());
            stand.app.admin().put(&path, &json!({ "hidden": hidden }).to_string()).await
        };
        hide(true).await.data();
        hide(true).await.data();
        assert_eq!(stand.seen().await, (Value::Null, json!(0)));
        assert_eq!(stand.app.anyone().get(&stand.path).await.data()["items"], json!([]));
        stand.app.with_key(&one).put(&own, r#"{"rating": 3}"#).await.data();
        assert_eq!(stand.seen().await, (Value::Null, json!(0)));
        hide(false).await.data();
        assert_eq!(stand.seen().await, (json!(3.0), json!(1)));
        let path = format!("/api/v1/admin/reviews/{}/hidden", review.id());
        stand.app.with_key(&two).put(&path, r#"{"hidden": true}"#).await.refused(403, "scope_missing");
    })
    .await;
}
