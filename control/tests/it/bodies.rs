//! What is refused before an operation looks at it, always in the envelope.

use std::{future::pending, time::Duration};

use axum::{Router, body::Body, routing::get};
use clearway_control::http;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    app::{TestApp, on_both},
    databases::Engine,
};

const KEYS: &str = "/api/v1/keys";

#[tokio::test]
async fn an_unknown_path_and_method_answer_the_envelope() {
    on_both(async |app: TestApp| {
        let path = app.anyone().get("/nowhere").await;
        insta::allow_duplicates! { insta::assert_snapshot!(path.shown(), @r#"
            404 Not Found
            {
              "code": 404,
              "error": {
                "message": "No route matches the host and path.",
                "type": "route_not_found"
              },
              "id": "req_0350Z6oinbejdXzyrQqUfL",
              "meta": {
                "timestamp": "2026-11-20T00:00:00.000Z",
                "trace_id": "9c3a48a065a16c88c2121d8433d49535"
              },
              "status": "error"
            }
            "#) }
        let method = app.admin().send(::http::Method::PATCH, KEYS, "").await;
        method.refused(405, "method_not_allowed");
        assert_eq!(method.headers["allow"], "GET,HEAD,POST");
        app.anyone().get("/api/v1/keys/").await.refused(404, "route_not_found");
    })
    .await;
}

#[tokio::test]
async fn a_body_must_be_a_small_json_object() {
    on_both(async |app: TestApp| {
        for (body, status, code) in [
            ("{", 400, "malformed_body"),
            ("[]", 400, "malformed_body"),
            ("{\"name\": \"a\"} x", 400, "malformed_body"),
            ("{\"name\": \"\\ud800\"}", 400, "malformed_body"),
        ] {
            app.admin().post(KEYS, body).await.refused(status, code);
        }
        let large = format!("{{\"name\": \"a\", \"x\": \"{}\"}}", "x".repeat(64 * 1024));
        app.admin().post(KEYS, &large).await.refused(413, "body_too_large");
        app.anyone().post(KEYS, "{").await.refused(401, "key_missing");
    })
    .await;
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    on_both(async |app: TestApp| {
        for (media_type, good) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonp", false),
            // What `curl -d` sends unasked.
            ("application/x-www-form-urlencoded", true),
        ] {
            let answer = app.admin().header("content-type", media_type).post(KEYS, r#"{"name": "a"}"#).await;
            assert_eq!(answer.status.is_success(), good, "{media_type}: {:#}", answer.body);
            assert_eq!(answer.code(), if good { "" } else { "unsupported_media_type" });
        }
    })
    .await;
}

#[tokio::test]
async fn a_panic_and_a_request_without_end_answer_the_envelope() {
    let app = TestApp::new(Engine::Sqlite).await;
    let mut api = app.api.clone();
    api.request_timeout = Duration::from_millis(20);
    let routes = Router::new()
        .route("/panics", get(async || -> &'static str { panic!("with a secret in its message") }))
        .route("/hangs", get(async || pending::<&'static str>().await));
    for (path, status, code) in [("/panics", 500, "internal_error"), ("/hangs", 503, "timed_out")] {
        let request = ::http::Request::get(path).body(Body::empty()).unwrap();
        let answer = http::serve(routes.clone(), api.clone()).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
        let body: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!((body["error"]["type"].as_str(), body["code"].as_u64()), (Some(code), Some(status.into())));
        assert!(!body.to_string().contains("secret"));
    }
}
