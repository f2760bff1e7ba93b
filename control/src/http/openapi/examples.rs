//! An example of each body: what its feature says, and for the rest what its schema says and fields are usually called.

use std::str::FromStr;

use serde_json::{Map, Value, json};

const SCHEMAS: &str = "#/components/schemas/";
/// Schemas within schemas; deeper ones are left empty.
const DEPTH_MAX: usize = 20;
const ID: &str = "1QjvzY8L2d0ZB9oU4hXwVn";
const TIME: &str = "2026-11-20T12:00:00.000Z";

/// Adds one to an operation's request and to each of its successful answers, where the feature has given none.
pub(super) fn add(operation: &mut Map<String, Value>, schemas: &Value) {
    if let Some(request) = operation.get_mut("requestBody") {
        add_to(request, |schema| made(schema, "", Place::Request, schemas, 0));
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten();
    for (status, response) in responses {
        let Some(status) = u16::from_str(status).ok().filter(|status| *status < 400) else { continue };
        add_to(response, |schema| {
            let mut example = made(schema, "", Place::Response, schemas, 0);
            if example.get("meta").is_some() {
                example["code"] = status.into();
            }
            example
        });
    }
}

/// The schemas without examples of the whole: operations have those now.
pub(super) fn only_of_fields(mut schemas: Value) -> Value {
    for schema in schemas.as_object_mut().into_iter().flat_map(Map::values_mut) {
        schema.as_object_mut().into_iter().for_each(|schema| drop(schema.remove("example")));
    }
    schemas
}

fn add_to(body: &mut Value, make: impl Fn(&Value) -> Value) {
    let media = body.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten();
    for (_, media) in media.filter(|(_, media)| media.get("example").is_none() && media.get("examples").is_none()) {
        media["example"] = make(&media["schema"]);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Only what must be there.
    Request,
    Response,
}

fn made(schema: &Value, name: &str, place: Place, schemas: &Value, depth: usize) -> Value {
    let within = |schema: &Value, name: &str| made(schema, name, place, schemas, depth + 1);
    if let Some(said) = said(schema) {
        return said;
    }
    if depth > DEPTH_MAX {
        return json!({});
    }
    if let Some(referred) = schema["$ref"].as_str().and_then(|name| name.strip_prefix(SCHEMAS)) {
        return within(&schemas[referred], if name.is_empty() || name == "data" || name == "items" { referred } else { name });
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().filter_map(|part| within(part, name).as_object().cloned());
        return parts.flatten().collect::<Map<_, _>>().into();
    }
    if let Some(ways) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let way = ways.iter().find(|way| way["type"] != "null");
        return way.map_or(Value::Null, |way| within(way, name));
    }
    match kind(schema) {
        "object" => object(schema, name, place, &within),
        "array" => json!([within(&schema["items"], name)]),
        "string" => string(schema, name),
        "integer" => schema["minimum"].as_i64().unwrap_or(0).max(1).into(),
        "number" => json!(1.5),
        "boolean" => true.into(),
        "null" => Value::Null,
        _ => json!({}),
    }
}

/// What the schema itself gives.
fn said(schema: &Value) -> Option<Value> {
    let first = |list: &str| schema[list].as_array().and_then(|list| list.first());
    let one = [schema.get("example"), first("examples"), schema.get("const"), first("enum"), schema.get("default")];
    one.into_iter().flatten().find(|one| !one.is_null()).cloned()
}

/// The type, or that one of several which is not null.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null"),
        one => one.as_str().unwrap_or_default(),
    }
}

fn object(schema: &Value, name: &str, place: Place, within: &impl Fn(&Value, &str) -> Value) -> Value {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object() else { return json!({}) };
    let wanted = |field: &str| place == Place::Response || required.is_empty() || required.contains(&field);
    let properties = properties.iter().filter(|(field, _)| wanted(field));
    let fields = properties.map(|(field, schema)| {
        // An id is of what the object is.
        let called = if field == "id" { name } else { field };
        (field.clone(), within(schema, called))
    });
    fields.collect::<Map<_, _>>().into()
}

fn string(schema: &Value, name: &str) -> Value {
    let text = text(name);
    let at_least = schema["minLength"].as_u64().and_then(|chars| usize::try_from(chars).ok()).unwrap_or(0);
    if text.len() < at_least { "k3Jx9".repeat(at_least.div_ceil(5)).into() } else { text.into() }
}

/// By what the field is called.
fn text(name: &str) -> String {
    let id = |prefix: &str| format!("{prefix}_{ID}");
    match name {
        "timestamp" | "at" | "since" | "not_after" | "not_before" | "failing_since" | "lost_since" | "sunset" => TIME.into(),
        _ if name.ends_with("_at") => TIME.into(),
        "date" | "from" | "to" => "2026-11-20".into(),
        "trace_id" => "0af7651916cd43dd8448eb211c80319c".into(),
        "status" => "active".into(),
        "email" => "ada@example.com".into(),
        "address" => "203.0.113.9".into(),
        "currency" => "USD".into(),
        "url" | "link" | "homepage" | "uri" => "https://example.com/clearway".into(),
        _ if name.ends_with("_url") => "https://example.com/clearway".into(),
        "password" | "current_password" => "correct horse battery".into(),
        "name" | "title" | "displayName" => "Example".into(),
        "slug" => "example".into(),
        "version" | "number" => "1.0.0".into(),
        "user_agent" => "Mozilla/5.0".into(),
        "fingerprint" => format!("sha256:{}", "0af76519".repeat(8)),
        "plan" => "starter".into(),
        "path" => "/orders".into(),
        "scope" => "read:keys".into(),
        "action" => "key.rotated".into(),
        "type" | "event_type" => "key.rotated".into(),
        _ if name.ends_with("id") || name.starts_with(char::is_uppercase) => prefix(name).map_or_else(|| "example".into(), id),
        _ => "example".into(),
    }
}

/// Of the ids of what a field or a schema is named after.
fn prefix(name: &str) -> Option<&'static str> {
    const PREFIXES: [(&str, &str); 24] = [
        ("Success", "req"),
        ("Failure", "req"),
        ("request", "req"),
        ("account", "acct"),
        ("user", "user"),
        ("person", "user"),
        ("session", "ses"),
        ("webhook", "wh"),
        ("event", "evt"),
        ("delivery", "dlv"),
        ("store", "store"),
        ("product", "prod"),
        ("installation", "inst"),
        ("review", "rev"),
        ("app", "app"),
        ("version", "ver"),
        ("client", "client"),
        ("grant", "grant"),
        ("project", "prj"),
        ("ticket", "tkt"),
        ("mail", "mail"),
        ("invitation", "inv"),
        ("proxy", "prx"),
        ("key", "key"),
    ];
    let lower = name.to_ascii_lowercase();
    PREFIXES.iter().find(|(word, _)| lower.contains(&word.to_ascii_lowercase())).map(|(_, prefix)| *prefix)
}
