use std::{collections::BTreeSet, fs, path::Path};

use super::*;

#[test]
fn names_and_older_names_are_distinct_and_in_order() {
    let mut seen = BTreeSet::new();
    for entries in ENTRIES {
        assert!(entries.is_sorted_by_key(|entry| entry.name), "{:?}", entries[0].name);
    }
    for entry in all() {
        for name in [entry.name].iter().chain(entry.aliases) {
            assert!(seen.insert(*name), "{name} is there twice");
            assert_eq!(find(name).unwrap().name, entry.name);
        }
        assert!(entry.description.ends_with('.') && entry.version > 0, "{}", entry.name);
    }
    assert!(find("app.installer").is_none());
}

#[test]
fn every_event_of_the_seeds_has_its_place() {
    for name in [
        "app.created",
        "app.updated",
        "app.deleted",
        "app.published",
        "app.install",
        "app.uninstall",
        "app.installed",
        "app.uninstalled",
        "user.signup",
        "user.deleted",
        "key.created",
        "key.rotated",
        "key.deleted",
        "quota.exceeded",
        "billing.payment_failed",
        "billing.upgraded",
        "webhook.failed",
        "product.created",
        "product.updated",
        "product.deleted",
    ] {
        assert!(find(name).is_some(), "{name}");
    }
}

#[test]
fn a_schema_is_of_draft_2020_12_stands_alone_and_takes_its_example() {
    for entry in all() {
        let (schema, example) = ((entry.schema)(), (entry.example)());
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{}", entry.name);
        assert!(!schema.to_string().contains("$ref"), "{schema:#}");
        assert_eq!(schema["type"], "object");
        let members: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(members, example.as_object().unwrap().keys().collect(), "{}", entry.name);
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let faults: Vec<_> = validator.iter_errors(&example).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", entry.name);
        assert!(!validator.is_valid(&serde_json::json!({})), "{} asks for nothing", entry.name);
    }
}

/// The page of the catalogue would lie otherwise.
#[test]
fn what_is_said_to_be_emitted_is_and_what_waits_is_not() {
    fn code(dir: &Path, found: &mut String) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "catalogue" {
                code(&path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                found.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default());
            }
        }
    }
    let mut text = String::new();
    code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    for entry in all() {
        let made = text.contains(&format!("{} {{", entry.rust));
        assert_eq!(made, entry.emission == Emission::Emitted, "{}: {:?}", entry.name, entry.emission);
    }
}
