//! The OpenAPI document says all of every operation, and says it once.

use std::collections::BTreeSet;

use clearway_control::api;
use serde_json::Value;

/// Bytes, as it is served. Those who read it do so whole.
const SIZE_MAX: usize = 1_250_000;

fn document() -> Value {
    serde_json::from_str(&api::document()).unwrap()
}

/// Each operation, with its method and path as name.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let items = document["paths"].as_object().unwrap().iter();
    let operations = items.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    operations.collect()
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).unwrap_or(&Value::Null),
        None => value,
    }
}

/// What the bodies of a request or a response lack.
fn lacks_of_bodies(body: &Value) -> Vec<String> {
    let media = body["content"].as_object().into_iter().flatten();
    let lacks = media.flat_map(|(name, media)| {
        let example = media.get("example").or_else(|| media["examples"].as_object()?.values().next());
        [(media.get("schema").is_none(), "schema"), (example.is_none(), "example")]
            .into_iter()
            .filter(|(lacks, _)| *lacks)
            .map(move |(_, what)| format!("{what} of its {name}"))
    });
    lacks.collect()
}

fn lacks_of(document: &Value, operation: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let mut lacks: Vec<String> = Vec::new();
    let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let tagged = operation["tags"].as_array().is_some_and(|own| !own.is_empty() && own.iter().all(|tag| tags.contains(&tag)));
    for (has, what) in [
        (text(&operation["operationId"]), "operationId"),
        (text(&operation["summary"]), "summary"),
        (tagged, "tags that the document describes"),
        (text(&operation["description"]), "description"),
        (operation["security"].is_array(), "security, or none in so many words"),
    ] {
        if !has {
            lacks.push(what.into());
        }
    }
    lacks.extend(lacks_of_bodies(&operation["requestBody"]).into_iter().map(|lack| format!("{lack} request")));
    let Some(responses) = operation["responses"].as_object() else { return lacks };
    for (status, response) in responses {
        let response = resolved(document, response);
        if !text(&response["description"]) {
            lacks.push(format!("description of {status}"));
        }
        lacks.extend(lacks_of_bodies(response).into_iter().map(|lack| format!("{lack} {status}")));
    }
    if !responses.keys().any(|status| status.starts_with(['2', '3'])) {
        lacks.push("an answer that is no refusal".into());
    }
    let mut refusals: BTreeSet<&str> = ["400", "500", "503"].into();
    let closed = operation["security"].as_array().is_some_and(|ways| !ways.is_empty());
    if closed {
        refusals.extend(["401", "403"]);
    }
    if operation.get("requestBody").is_some() {
        refusals.extend(["413", "415"]);
    }
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    let has = |key: &str, value: &str| parameters.iter().any(|one| resolved(document, one)[key] == value);
    if has("in", "path") {
        refusals.insert("404");
    }
    if has("name", "If-Match") {
        refusals.insert("412");
    }
    if has("name", "Idempotency-Key") {
        refusals.extend(["409", "422"]);
    }
    lacks.extend(refusals.into_iter().filter(|status| !responses.contains_key(*status)).map(str::to_owned));
    lacks
}

#[test]
fn every_operation_says_who_may_call_it_what_it_takes_and_all_that_it_answers() {
    let document = document();
    let lacking: Vec<String> = operations(&document)
        .iter()
        .flat_map(|(name, operation)| lacks_of(&document, operation).into_iter().map(move |lack| format!("{name}: {lack}")))
        .collect();
    assert!(lacking.is_empty(), "the document lacks\n{}", lacking.join("\n"));
}

#[test]
fn an_operation_that_lacks_something_is_noticed() {
    let document = document();
    let (_, whole) = operations(&document).into_iter().find(|(name, _)| name == "put /api/v1/stores/{id}").unwrap();
    assert_eq!(lacks_of(&document, whole), Vec::<String>::new());
    for lost in [
        "/operationId",
        "/summary",
        "/tags",
        "/security",
        "/responses/404",
        "/responses/412",
        "/responses/200",
        "/requestBody/content/application~1json/example",
        "/responses/415",
    ] {
        let mut broken = whole.clone();
        let (parent, member) = lost.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member).unwrap();
        assert_eq!(lacks_of(&document, &broken).len(), 1, "{lost}");
    }
}

#[test]
fn operation_ids_are_unique_and_every_reference_leads_somewhere() {
    let document = document();
    let ids: Vec<&str> = operations(&document).iter().map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    // And nothing is there that nobody refers to.
    for kind in ["schemas", "responses", "parameters"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            assert!(found.contains(format!("#/components/{kind}/{name}").as_str()), "{kind}: {name}");
        }
    }
}

#[test]
fn operations_ask_for_schemes_and_scopes_that_there_are() {
    let document = document();
    let schemes = &document["components"]["securitySchemes"];
    let given = &schemes["oauth"]["flows"]["authorizationCode"]["scopes"];
    for (name, operation) in operations(&document) {
        for way in operation["security"].as_array().unwrap() {
            for (scheme, scopes) in way.as_object().unwrap() {
                assert!(schemes[scheme].is_object(), "{name}: {scheme}");
                let known = |scope: &Value| scheme != "oauth" || given[scope.as_str().unwrap()].is_string();
                assert!(scopes.as_array().unwrap().iter().all(known), "{name}: {scopes}");
            }
        }
    }
}

#[test]
fn what_operations_share_stands_in_the_document_once() {
    let text = api::document();
    assert!(text.len() < SIZE_MAX, "{} bytes", text.len());
    for (name, operation) in operations(&document()) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let refused = status.starts_with(['4', '5']);
            assert!(!refused || response["$ref"].is_string(), "{name}: {status} is written out");
        }
    }
}
