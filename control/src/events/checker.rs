//! Checking an event's data against the schema of its type. Schemas of operators are bounded, refer to nothing outside
//! themselves, and their patterns take time that is linear in the text.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use clearway_config::envelope::FieldIssue;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::{
    catalogue::Entry,
    type_store,
    types::{Stamp, TYPES_MAX},
};
use crate::{
    db::{self, Db},
    http::issue,
};

/// Bytes in an operator's schema, written without blanks.
const SCHEMA_BYTES_MAX: usize = 32 * 1024;
/// Objects and lists within one another in a schema.
const DEPTH_MAX: usize = 24;
/// References in a schema: what they refer to is checked again for each.
const REFERENCES_MAX: usize = 64;
/// Bytes that one pattern may be compiled to.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Faults of one event's data that are told.
const FAULTS_MAX: usize = 10;
/// Characters of what is told of a fault.
const FAULT_CHARS_MAX: usize = 200;

/// The compiled schema of a type, at a version.
#[derive(Debug)]
pub(super) struct Checker {
    pub(super) stamp: Stamp,
    validator: Validator,
}

impl Checker {
    /// What is wrong with `data`, at most a few of it.
    pub(super) fn faults(&self, prefix: &str, data: &Value) -> Vec<FieldIssue> {
        if self.validator.is_valid(data) {
            return Vec::new();
        }
        let told = self.validator.iter_errors(data).take(FAULTS_MAX).map(|fault| {
            let place = fault.instance_path().to_string().replace('/', ".");
            let said: String = fault.to_string().chars().take(FAULT_CHARS_MAX).collect();
            issue(&format!("{prefix}data{place}"), "schema_mismatch", said)
        });
        told.collect()
    }
}

/// Compiles an operator's schema, or says what is wrong with it.
pub(super) fn compile(schema: &Value) -> Result<Validator, String> {
    if !schema.is_object() {
        return Err("must be a JSON Schema: an object".into());
    }
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(format!("must have at most {SCHEMA_BYTES_MAX} bytes"));
    }
    let mut references = 0;
    look_through(schema, 0, &mut references)?;
    if references > REFERENCES_MAX {
        return Err(format!("must have at most {REFERENCES_MAX} references"));
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .build(schema)
        .map_err(|why| why.to_string().chars().take(FAULT_CHARS_MAX).collect())
}

fn look_through(value: &Value, depth: usize, references: &mut usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("must not be deeper than {DEPTH_MAX}"));
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let Value::String(text) = member {
                    match name.as_str() {
                        "$ref" | "$dynamicRef" if !text.starts_with('#') => {
                            return Err(format!("`{name}` must refer to something within the schema: begin with #"));
                        }
                        "$ref" | "$dynamicRef" => *references += 1,
                        "$id" => return Err("`$id` is not taken: a schema is known by its type's name".into()),
                        "$schema" if !text.starts_with("https://json-schema.org/draft/2020-12/schema") => {
                            return Err("`$schema` must be https://json-schema.org/draft/2020-12/schema".into());
                        }
                        _ => {}
                    }
                }
                look_through(member, depth + 1, references)?;
            }
            Ok(())
        }
        Value::Array(values) => values.iter().try_for_each(|value| look_through(value, depth + 1, references)),
        _ => Ok(()),
    }
}

/// Compiled schemas, by type. One may be of an older version than another process has made: what was checked by it is
/// told from what the database says when the event is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Checkers(Arc<Mutex<HashMap<String, Arc<Checker>>>>);

impl Checkers {
    /// The checker of a registered type, as it was when it was last asked for; `None` where there is no such type.
    pub(super) async fn registered(&self, db: &Db, name: &str) -> db::Result<Option<Arc<Checker>>> {
        if let Some(held) = self.held(name) {
            return Ok(Some(held));
        }
        let Some(found) = type_store::find_type(db, name).await? else { return Ok(None) };
        let stamp = found.stamp();
        let validator = compile(&found.schema).map_err(|why| db::undecodable("event_types.schema", &why))?;
        Ok(Some(self.keep(name, Checker { stamp, validator })))
    }

    /// The checker of a type of the catalogue.
    pub(super) fn of_catalogue(&self, entry: &Entry) -> Arc<Checker> {
        if let Some(held) = self.held(entry.name) {
            return held;
        }
        let validator = jsonschema::options().should_validate_formats(true).build(&(entry.schema)());
        let validator = validator.expect("a schema of the catalogue is compiled by a test");
        let stamp = Stamp { version: entry.version.into(), updated_at: 0 };
        self.keep(entry.name, Checker { stamp, validator })
    }

    /// Reads it anew when it is next asked for.
    pub(super) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn held(&self, name: &str) -> Option<Arc<Checker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn keep(&self, name: &str, checker: Checker) -> Arc<Checker> {
        let checker = Arc::new(checker);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Types come and go, so that there may have been more of them than there can be at a time.
        if held.len() > 2 * usize::try_from(TYPES_MAX).unwrap_or(usize::MAX) {
            held.clear();
        }
        held.insert(name.to_owned(), checker.clone());
        checker
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_bounded_and_refers_to_nothing_outside_itself() {
        let mut deep = json!({});
        for _ in 0..30 {
            deep = json!({ "not": deep });
        }
        let doubling: Vec<_> = (0..70).map(|_| json!({ "$ref": "#/$defs/a" })).collect();
        for (schema, why) in [
            (json!(true), "an object"),
            (json!({ "description": "x".repeat(40_000) }), "bytes"),
            (deep, "deeper"),
            (json!({ "$ref": "https://example.com/schema" }), "within the schema"),
            (json!({ "properties": { "a": { "$ref": "file:///etc/passwd" } } }), "within the schema"),
            (json!({ "$id": "https://example.com/", "$ref": "#" }), "$id"),
            (json!({ "$schema": "http://json-schema.org/draft-07/schema#" }), "$schema"),
            (json!({ "$defs": { "a": {} }, "allOf": doubling }), "references"),
            (json!({ "type": "thing" }), "thing"),
            (json!({ "pattern": "(a{1000}){1000}" }), ""),
            (json!({ "pattern": "(?<a>x)\\k<a>" }), ""),
        ] {
            let said = compile(&schema).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(compile(&json!({ "properties": { "$ref": { "type": "string" } } })).is_ok());
    }

    #[test]
    fn what_is_wrong_with_data_is_told_with_its_place() {
        let schema = json!({ "type": "object", "properties": { "a": { "items": { "type": "integer" } } }, "required": ["b"] });
        let checker = Checker { stamp: Stamp { version: 1, updated_at: 0 }, validator: compile(&schema).unwrap() };
        assert!(checker.faults("", &json!({ "a": [1], "b": null })).is_empty());
        let faults = checker.faults("2.", &json!({ "a": [1, "x"] }));
        let mut fields: Vec<_> = faults.iter().map(|fault| fault.field.clone()).collect();
        fields.sort();
        assert_eq!(fields, ["2.data", "2.data.a.1"]);
    }
}
