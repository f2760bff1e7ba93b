//! What every operation of the OpenAPI document has in common, added in one place instead of pasted over
//! each: who may call it, what it can be refused with, the request headers it understands, and an example of each
//! body. What several of them share stands once in the document's components.

mod examples;
mod refusals;
mod security;
mod share;

use serde_json::{Map, Value, json};

use self::{
    refusals::{Facts, Refusals},
    security::Callers,
};

const IDEMPOTENCY_KEY: &str = "Makes a repetition harmless: the same request under the same key, for 24 hours, is not done \
    again and is answered as before, with `Idempotency-Replayed: true`. Secrets are not stored with answers: a replay has \
    `secret: null`; rotate the key if its secret did not arrive. While the first request is being served a second one is \
    refused (409), and so is another request under the same key (422).";

/// Completes what the features describe.
pub fn complete(mut document: Value) -> Value {
    share::schemas(&mut document);
    let schemas = document["components"]["schemas"].take();
    let mut refusals = Refusals::default();
    for (path, method, operation) in operations(&mut document) {
        complete_operation(path, method, operation, &schemas, &mut refusals);
        examples::add(operation, &schemas);
    }
    let named = refusals.named();
    for (_, _, operation) in operations(&mut document) {
        named.refer(operation);
    }
    document["components"]["schemas"] = examples::only_of_fields(schemas);
    document["components"]["responses"] = named.responses();
    document["components"]["securitySchemes"] = security::schemes();
    share::parameters(&mut document);
    share::prune(&mut document);
    document
}

/// Path, method and description of each.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Map<String, Value>)> {
    let items = document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten();
    items.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.filter_map(|(method, operation)| Some((path.as_str(), method.as_str(), operation.as_object_mut()?)))
    })
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>, schemas: &Value, refusals: &mut Refusals) {
    // The alias has operations of its own, and ids are unique.
    if path.contains("/marketplace/")
        && let Some(Value::String(id)) = operation.get_mut("operationId")
    {
        id.insert_str(0, "marketplace_");
    }
    let callers = Callers::of(path, operation);
    operation.insert("security".into(), callers.requirement(method));
    // Of whoever shows a key or a session, and not what only a person does.
    let repeatable = method == "post" && matches!(callers, Callers::Keys(_));
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else { return };
    if repeatable && !parameters.iter().any(|one| one["name"] == "Idempotency-Key") {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "description": IDEMPOTENCY_KEY,
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        }));
    }
    for parameter in parameters.iter_mut() {
        never_null(&mut parameter["schema"]);
        say_what_ids_look_like(parameter);
    }
    let conditional = parameters.iter().any(|parameter| parameter["name"] == "If-Match");
    if parameters.is_empty() {
        operation.remove("parameters");
    }
    let facts = Facts {
        changes: method != "get",
        body: operation.contains_key("requestBody") || method == "post",
        names_objects: path.contains('{') || names_objects(operation, schemas),
        conditional,
        repeatable,
    };
    refusals.note(operation, &refusals::groups(&callers, &facts));
}

/// Whether the feature says that something may not be found, or the query or the body has ids of other objects.
fn names_objects(operation: &Map<String, Value>, schemas: &Value) -> bool {
    let declared = operation.get("responses").is_some_and(|responses| responses.get("404").is_some());
    let parameters = operation.get("parameters").and_then(Value::as_array);
    let mut asked = parameters.into_iter().flatten().filter_map(|parameter| parameter["name"].as_str());
    let form = operation.get("requestBody").and_then(|body| body.pointer("/content/application~1json/schema/$ref"));
    let form = form.and_then(Value::as_str).and_then(|form| schemas.get(form.rsplit('/').next()?));
    let fields = form.and_then(|form| form["properties"].as_object());
    let is_id = |name: &str| name.ends_with("_id");
    declared || asked.any(is_id) || fields.is_some_and(|fields| fields.keys().any(|name| is_id(name)))
}

/// What is left out of a query or of the headers is not null: there is no such word there.
fn never_null(schema: &mut Value) {
    let Some(Value::Array(types)) = schema.get_mut("type") else { return };
    types.retain(|one| one != "null");
    if let [one] = &types[..] {
        schema["type"] = one.clone();
    }
}

/// An id in a path is described as "`key_…`": its prefix, and 22 letters and digits.
fn say_what_ids_look_like(parameter: &mut Value) {
    let described = parameter["description"].as_str().filter(|_| parameter["in"] == "path");
    let Some(prefix) = described.and_then(|text| text.split_once('`')?.1.strip_suffix("_…`")) else { return };
    parameter["schema"]["pattern"] = format!("^{prefix}_[0-9A-Za-z]{{22}}$").into();
}
