//! Spectral finds nothing to say of the document.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::deploy::root;

/// The rules of what was found, each with where.
fn findings(document: &Path) -> Vec<(String, String)> {
    let spectral = root().join("target/linters/node_modules/.bin/spectral");
    assert!(spectral.is_file(), "{} is missing: make prerequisites", spectral.display());
    let output = Command::new(spectral)
        .args(["lint", "--quiet", "--format", "json", "--fail-severity", "hint", "--ruleset"])
        .arg(root().join("docs/api/spectral.yaml"))
        .arg(document)
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let found: Value = serde_json::from_str(&said)
        .unwrap_or_else(|e| panic!("no findings as JSON ({e}): {said}{}", String::from_utf8_lossy(&output.stderr)));
    let found = found.as_array().expect("a list").iter();
    found.map(|one| (one["code"].as_str().expect("a rule").to_owned(), format!("{}: {}", one["path"], one["message"]))).collect()
}

#[test]
fn the_linter_has_nothing_to_say() {
    assert_eq!(findings(&super::path()), []);
}

#[test]
fn the_linter_sees_what_is_broken() {
    let mut document = super::document();
    let mut at = |pointer: &str, member: &str, value: Value| {
        let parent = document.pointer_mut(pointer).and_then(Value::as_object_mut);
        parent.unwrap_or_else(|| panic!("the document has no {pointer} any more")).insert(member.into(), value);
    };
    at("/paths/~1api~1v1~1keys/get", "operationId", json!("keys_create"));
    at("/paths/~1api~1v1~1keys/post", "description", json!(""));
    at("/paths/~1api~1v1~1keys/post/responses/201/content/application~1json/example", "code", json!("created"));
    at("/paths/~1api~1v1~1keys~1{id}/get", "parameters", json!([]));
    at("/paths/~1api~1v1~1keys~1{id}/put", "tags", json!(["locks"]));
    at("/components/schemas", "Unused", json!({ "type": "object" }));
    at("/components/schemas/Failure", "required", json!("all"));
    let broken = tempfile::tempdir().expect("a temporary directory");
    let file = broken.path().join("openapi.json");
    fs::write(&file, document.to_string()).expect("writable");
    let found = findings(&file);
    for rule in [
        "operation-operationId-unique",
        "operation-description",
        "oas3-valid-media-example",
        "path-params",
        "operation-tag-defined",
        "oas3-unused-component",
        "oas3-schema",
    ] {
        assert!(found.iter().any(|(code, _)| code == rule), "{rule} is not among {found:?}");
    }
}
