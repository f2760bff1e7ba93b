//! Files that are written from the code are current.

use std::{fs, path::PathBuf};

use clearway_control::api;
use serde_json::Value;

use crate::{app::TestApp, databases::Engine};

fn committed(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

#[test]
fn the_committed_document_is_current() {
    // As values: the order of members is not part of it.
    let committed: Value = serde_json::from_str(&committed("api/openapi.json")).unwrap();
    let current: Value = serde_json::from_str(&api::document()).unwrap();
    assert!(committed == current, "run `clearway-control openapi > docs/api/openapi.json` (make generate)");
}

#[test]
fn the_committed_error_codes_are_current() {
    assert_eq!(committed("errors.md"), api::errors(), "run `clearway-control errors > docs/errors.md` (make generate)");
}

#[tokio::test]
async fn the_document_is_served_to_anyone() {
    let app = TestApp::new(Engine::Sqlite).await;
    let served = app.anyone().get("/api/v1/openapi.json").await;
    assert_eq!(served.body, serde_json::from_str::<Value>(&api::document()).unwrap());
    assert_eq!(served.body["openapi"], "3.1.0");
}

#[test]
fn operation_ids_are_unique_and_every_reference_has_its_schema() {
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    let mut ids = Vec::new();
    for operation in document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values()) {
        ids.push(operation["operationId"].as_str().unwrap().to_owned());
        assert!(operation["summary"].is_string() && operation["responses"]["500"].is_object());
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
