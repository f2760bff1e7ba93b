//! Bodies that are none, or too large, or of what nobody knows, are refused by the house's codes, and never break anything.

use serde_json::{Value, json};

use super::{Doer, Exceptions, all_needed, reason};
use crate::{
    app::TestApp,
    databases::Engine,
    document::{BASE, Operation, operations},
    isolation::world::{Target, World},
};

/// More bytes than it takes.
fn too_many_bytes(operation: &Operation) -> usize {
    // A document may be large.
    if operation.path == "/admin/gateway" { 65 << 20 } else { 300 << 10 }
}

/// Where a member that nobody knows is not refused.
const OPEN_FORMS: Exceptions = &[];

/// What reads a body: whatever has one in the document, and every POST, which may be sent an empty one.
fn takes_body(operation: &Operation) -> bool {
    operation.body.is_some() || operation.method == http::Method::POST
}

#[tokio::test]
async fn what_is_no_body_for_an_operation_is_refused_by_its_code() {
    let world = World::new(TestApp::new(Engine::Sqlite).await).await;
    let all = operations();
    all_needed(OPEN_FORMS, all.iter().filter(|operation| takes_body(operation)));
    let mut faults = Vec::new();
    for operation in all.iter().filter(|operation| takes_body(operation)) {
        let doer = Doer::of(&world, operation).await;
        let target = doer.target(operation).await;
        let send = async |kind: &str, body: &str| {
            let client = doer.client().header("content-type", kind);
            world.try_on(client, operation, &Target { body: body.to_owned(), ..target.clone() }).await
        };
        let json = "application/json";
        let too_large = json!({"name": "x".repeat(too_many_bytes(operation))}).to_string();
        let mut tried = vec![
            (413, "body_too_large", send(json, &too_large).await),
            (415, "unsupported_media_type", send("text/plain", "{}").await),
            (415, "unsupported_media_type", send("multipart/form-data", "{}").await),
            (400, "malformed_body", send(json, "{").await),
            (400, "malformed_body", send(json, "17").await),
            (400, "malformed_body", send(json, "\"\u{0}").await),
        ];
        if reason(OPEN_FORMS, operation).is_none() {
            let mut with: Value = serde_json::from_str(&target.body).unwrap_or_else(|_| json!({}));
            with["no_such_member"] = 1.into();
            tried.push((400, "validation_error", send(json, &with.to_string()).await));
        }
        for (status, code, answer) in tried {
            if (answer.status.as_u16(), answer.code()) != (status, code) {
                let said = format!("{} {}", answer.status, answer.body["error"]);
                faults.push(format!("{}: {said} where {status} {code} is right", operation.name()));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test]
async fn no_value_of_any_member_breaks_anything() {
    crate::app::on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let mut faults = Vec::new();
        let values = [
            Value::Null,
            json!(-1),
            json!(u64::MAX),
            json!(""),
            json!("\u{0}"),
            json!("🦀".repeat(200)),
            json!([]),
            json!([null, {"a": "\u{0}"}]),
            json!({"a": {"\u{0}": "\u{0}"}}),
        ];
        for operation in operations().iter().filter(|operation| operation.body.is_some()) {
            // Those wait for a receiver, who does not come.
            if operation.path.ends_with("/test") {
                continue;
            }
            let doer = Doer::of(&world, operation).await;
            let target = doer.target(operation).await;
            let sent: Value = serde_json::from_str(&target.body).unwrap();
            for field in &operation.fields {
                for value in &values {
                    let mut body = sent.clone();
                    body[field] = value.clone();
                    let answer =
                        world.try_on(doer.client(), operation, &Target { body: body.to_string(), ..target.clone() }).await;
                    if answer.status.is_server_error() {
                        faults.push(format!("{} with {field}: {value}: {:#}", operation.name(), answer.body));
                    }
                }
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn no_value_in_a_query_breaks_anything() {
    crate::app::on_both(async |app: TestApp| {
        let world = World::new(app).await;
        let values = ["", "%00", "-1", "1.5", "18446744073709551616", "'%3B--", "%F0%9F%A6%80", "%FF", "a%2Cb", "2026-13-01"];
        let mut faults = Vec::new();
        for operation in operations().iter().filter(|operation| operation.reads()) {
            let doer = Doer::of(&world, operation).await;
            let target = doer.target(operation).await;
            let path = operation.at(&target.ids);
            assert!(path.starts_with(BASE));
            for name in &operation.query {
                for value in values {
                    let answer = doer.client().get(&format!("{path}?{name}={value}")).await;
                    if answer.status.is_server_error() {
                        faults.push(format!("{} with {name}={value}: {:#}", operation.name(), answer.body));
                    }
                }
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    })
    .await;
}
