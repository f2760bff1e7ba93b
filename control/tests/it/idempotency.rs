use serde_json::json;

use crate::app::{Answer, TestApp, on_both};

const KEYS: &str = "/api/v1/keys";

async fn count(app: &TestApp) -> i64 {
    app.admin().get(KEYS).await.data()["total"].as_i64().unwrap()
}

#[tokio::test]
async fn a_repeated_post_is_done_once_and_its_secret_is_not_kept() {
    on_both(async |app: TestApp| {
        let send = async |body: &str| app.admin().header("idempotency-key", "a-1").post(KEYS, body).await;
        let first = send(r#"{"name": "a"}"#).await;
        assert!(first.headers.get("idempotency-replayed").is_none());
        let before = count(&app).await;
        let again = send(r#"{"name": "a"}"#).await;
        assert_eq!(again.status, 201);
        assert_eq!(again.headers["idempotency-replayed"], "true");
        let mut expected = first.data().clone();
        expected["secret"] = json!(null);
        expected["propagation"] = json!(null);
        assert_eq!(*again.data(), expected);
        assert_eq!(count(&app).await, before);
        let kept: (String,) = app.database.db.query("SELECT body FROM idempotency_keys LIMIT 1").one().await.unwrap();
        assert!(!kept.0.contains(first.secret()));

        send(r#"{"name": "b"}"#).await.refused(422, "idempotency_key_reused");
        let other_path = app.admin().header("idempotency-key", "a-1").post("/api/v1/admin/accounts", r#"{"name": "a"}"#).await;
        other_path.refused(422, "idempotency_key_reused");

        // It is this caller's only, and is forgotten after a day.
        let (_, mine) = app.account(&["write:keys"]).await;
        let theirs = app.with_key(&mine).header("idempotency-key", "a-1").post(KEYS, r#"{"name": "a"}"#).await;
        assert_ne!(theirs.id(), first.id());
        app.world.advance(24 * 60 * 60 * 1000);
        assert_ne!(send(r#"{"name": "a"}"#).await.id(), first.id());
    })
    .await;
}

#[tokio::test]
async fn a_refused_post_is_not_kept() {
    on_both(async |app: TestApp| {
        let (account, mine) = app.account(&["write:keys", "read:keys"]).await;
        let send = async || app.with_key(&mine).header("idempotency-key", "x").post(KEYS, r#"{"name": "a"}"#).await;
        for _ in 0..2 {
            app.with_key(&mine).post(KEYS, r#"{"name": "fill"}"#).await.data();
        }
        send().await.refused(403, "plan_limit_reached");
        app.admin().put(&format!("/api/v1/admin/accounts/{account}/plan"), r#"{"plan": "enterprise"}"#).await.data();
        assert_eq!(send().await.status, 201);
    })
    .await;
}

#[tokio::test]
async fn of_two_at_once_one_acts() {
    on_both(async |app: TestApp| {
        let before = count(&app).await;
        let send = async || app.admin().header("idempotency-key", "x").post(KEYS, r#"{"name": "a"}"#).await;
        let (a, b, c) = tokio::join!(send(), send(), send());
        assert_eq!(count(&app).await, before + 1);
        // Whoever comes while the first is served is refused, and whoever comes after it is answered as it was.
        let acted = |answer: &&Answer| answer.status == 201 && !answer.headers.contains_key("idempotency-replayed");
        assert_eq!([&a, &b, &c].into_iter().filter(acted).count(), 1);
        for other in [&a, &b, &c].into_iter().filter(|answer| answer.status != 201) {
            other.refused(409, "idempotency_key_in_use");
        }
    })
    .await;
}

#[tokio::test]
async fn every_post_can_be_repeated() {
    on_both(async |app: TestApp| {
        let key = app.admin().post(KEYS, r#"{"name": "a"}"#).await.id().to_owned();
        let (account, _) = app.account(&[]).await;
        for path in [
            format!("{KEYS}/{key}/rotate"),
            format!("{KEYS}/{key}/regenerate"),
            format!("/api/v1/admin/accounts/{account}/suspend"),
            format!("/api/v1/admin/accounts/{account}/resume"),
        ] {
            let send = async || app.admin().header("idempotency-key", &path.replace('/', "-")).post(&path, "").await;
            let first = send().await;
            let again = send().await;
            assert_eq!(first.data()["id"], again.data()["id"]);
            assert_eq!(first.data()["secrets"], again.data()["secrets"], "{path}");
            assert_eq!(again.headers["idempotency-replayed"], "true");
        }
    })
    .await;
}

#[tokio::test]
async fn an_idempotency_key_is_short_text() {
    on_both(async |app: TestApp| {
        for wrong in [String::new(), "x".repeat(129), "ä".into()] {
            let refused = app.admin().header("idempotency-key", &wrong).post(KEYS, r#"{"name": "a"}"#).await;
            refused.refused(400, "validation_error");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_too_old_is_swept() {
    on_both(async |app: TestApp| {
        app.admin().header("idempotency-key", "x").post(KEYS, r#"{"name": "a"}"#).await.data();
        let left = async || {
            clearway_control::jobs::sweep_once(&app.api).await;
            app.database.db.query("SELECT count(*) FROM idempotency_keys").scalar::<i64>().await.unwrap()
        };
        app.world.advance(24 * 60 * 60 * 1000 - 1);
        assert_eq!(left().await, 1);
        app.world.advance(1);
        assert_eq!(left().await, 0);
    })
    .await;
}
