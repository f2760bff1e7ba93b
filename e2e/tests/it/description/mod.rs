//! The API's OpenAPI document, judged by those who read it: a linter, and a client that tries out all that it says
//! against a real Clearway. For each there is something broken that it must notice.

mod fuzzed;
mod linted;
mod seeded;

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::deploy::root;

fn path() -> PathBuf {
    root().join("docs/api/openapi.json")
}

fn document() -> Value {
    serde_json::from_str(&fs::read_to_string(path()).expect("the document")).expect("JSON")
}
