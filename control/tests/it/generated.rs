//! Files that are written from the code are current.

use std::{collections::BTreeMap, fs, path::PathBuf};

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

/// The document keeps one schema of each name, whichever was described last: two types of one name would be taken for each
/// other, and nothing would say so.
#[test]
fn no_two_types_are_described_by_one_name() {
    let sources = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut named = BTreeMap::<String, Vec<String>>::new();
    for (file, text) in rust_files(&sources) {
        for described in text.split("#[derive(").skip(1).filter(|rest| rest.split(')').next().unwrap().contains("ToSchema")) {
            let words = |text: &str| {
                text.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let (attributes, declared) = described.split_at(declaration(described));
            let own =
                words(declared).into_iter().find(|word| !["pub", "super", "crate", "in", "struct", "enum"].contains(&&**word));
            let given = attributes.split("schema(as = ").nth(1).and_then(|rest| words(rest).into_iter().next());
            named.entry(given.or(own).unwrap()).or_default().push(file.clone());
        }
    }
    assert!(named.len() > 100, "the types are not found any more");
    let twice: Vec<_> = named.into_iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(twice.is_empty(), "say `#[schema(as = …)]`: {twice:#?}");
}

/// Where a type that has attributes is declared.
fn declaration(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let first = line.split_whitespace().next();
        if first.is_some_and(|word| word == "struct" || word == "enum" || word.starts_with("pub")) {
            return at;
        }
        at += line.len();
    }
    panic!("attributes of nothing: {text}");
}

fn rust_files(folder: &PathBuf) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}
