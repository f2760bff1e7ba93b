//! What stands in the document several times is made one component that the others refer to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

const SCHEMAS: &str = "#/components/schemas/";
const PARAMETERS: &str = "#/components/parameters/";

/// Header and query parameters that many operations take, by the name of their component.
const PARAMETERS_SHARED: [(&str, &str); 5] = [
    ("Idempotency-Key", "IdempotencyKey"),
    ("If-Match", "IfMatch"),
    ("limit", "Limit"),
    ("offset", "Offset"),
    ("cursor", "Cursor"),
];

/// Makes schemas refer to one another, and says of forms that they take no other fields.
pub(super) fn schemas(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    let known = schemas.clone();
    for (name, schema) in schemas.iter_mut() {
        merge_closed(schema);
        for_each_part(schema, &mut merge_closed);
        if name.ends_with("Form") {
            close(schema, &known);
        }
    }
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, schema) in &*schemas {
        names.entry(schema.to_string()).or_default().push(name.clone());
    }
    for (name, schema) in schemas {
        for_each_part(schema, &mut |part| refer(part, name, &names));
    }
}

/// Puts a reference in the place of a schema that is a component; of several that are alike, the one that the
/// schema around it is named after.
fn refer(part: &mut Value, around: &str, names: &BTreeMap<String, Vec<String>>) {
    if !(part.get("type").is_some_and(|kind| kind == "object") || part.get("enum").is_some() || part.get("allOf").is_some()) {
        return;
    }
    let Some(names) = names.get(&part.to_string()) else { return };
    let named_after = names.iter().find(|name| around.ends_with(&format!("_{name}")));
    let name = match &names[..] {
        [only] => Some(only),
        _ => named_after,
    };
    if let Some(name) = name.filter(|name| *name != around) {
        *part = json!({ "$ref": format!("{SCHEMAS}{name}") });
    }
}

/// Every schema within one, the outer ones first.
fn for_each_part(value: &mut Value, act: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(members) => {
            for member in members.values_mut() {
                act(member);
                for_each_part(member, act);
            }
        }
        Value::Array(values) => {
            for value in values {
                act(value);
                for_each_part(value, act);
            }
        }
        _ => {}
    }
}

/// `allOf` with a part that takes no other fields would take none of the other parts' either: one schema has them all.
fn merge_closed(schema: &mut Value) {
    let Some(parts) = schema.get("allOf").and_then(Value::as_array) else { return };
    if parts.iter().any(|part| part["additionalProperties"] == false) {
        let mut whole = merged(parts.clone());
        whole.remove("additionalProperties");
        whole.remove("description");
        put_in_place(schema, whole);
    }
}

/// A form refuses what it does not know.
fn close(schema: &mut Value, known: &Map<String, Value>) {
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let referred = |part: &Value| {
            let name = part["$ref"].as_str().and_then(|name| name.strip_prefix(SCHEMAS));
            name.map_or_else(|| part.clone(), |name| known[name].clone())
        };
        let mut whole = merged(parts.iter().map(referred).collect());
        whole.remove("description");
        whole.remove("example");
        put_in_place(schema, whole);
    }
    if schema["type"] == "object" {
        schema["additionalProperties"] = false.into();
    }
}

fn put_in_place(schema: &mut Value, whole: Map<String, Value>) {
    if let Some(members) = schema.as_object_mut() {
        members.remove("allOf");
        members.extend(whole);
    }
}

fn merged(parts: Vec<Value>) -> Map<String, Value> {
    let mut whole = Map::new();
    for part in parts {
        let Value::Object(part) = part else { continue };
        for (name, member) in part {
            match (whole.get_mut(&name), member) {
                (Some(Value::Object(members)), Value::Object(more)) => members.extend(more),
                (Some(Value::Array(values)), Value::Array(more)) => values.extend(more),
                (_, member) => drop(whole.insert(name, member)),
            }
        }
    }
    whole
}

/// Parameters that operations have in common.
pub(super) fn parameters(document: &mut Value) {
    let mut shared = Map::new();
    for (_, _, operation) in super::operations(document) {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
        for parameter in parameters {
            let Some((_, name)) = PARAMETERS_SHARED.iter().find(|(name, _)| parameter["name"] == *name) else { continue };
            // The first one; those that say something else keep their own words.
            let known = shared.entry(*name).or_insert_with(|| parameter.clone());
            if known == parameter {
                *parameter = json!({ "$ref": format!("{PARAMETERS}{name}") });
            }
        }
    }
    document["components"]["parameters"] = shared.into();
}

/// Removes schemas that nothing refers to any more.
pub(super) fn prune(document: &mut Value) {
    loop {
        let mut used = BTreeSet::new();
        references(document, &mut used);
        let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
        let before = schemas.len();
        schemas.retain(|name, _| used.contains(&format!("{SCHEMAS}{name}")));
        if schemas.len() == before {
            return;
        }
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
