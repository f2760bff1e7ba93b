//! The operations of the OpenAPI document, for tests that ask something of every one of them.

use clearway_control::api;
use http::Method;
use serde_json::Value;

/// Below this every operation of the document stands; tables of tests leave it out.
pub(crate) const BASE: &str = "/api/v1";

/// Who may call an operation, as the document says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Open,
    /// A key, a token or a session with this scope.
    Scope(String),
    /// Only somebody who has signed in.
    Session,
}

#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// Without [`BASE`].
    pub(crate) path: String,
    pub(crate) access: Access,
    /// Names of what may stand in the query.
    pub(crate) query: Vec<String>,
    /// Names of headers.
    pub(crate) headers: Vec<String>,
    /// The schema of the body, without references at its root.
    pub(crate) body: Option<Value>,
    /// Of a body.
    pub(crate) example: Option<Value>,
    /// Names of the members of its body, wherever they stand at its first level.
    pub(crate) fields: Vec<String>,
}

impl Operation {
    /// As tables write it: `GET /keys/{id}`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path up to its last parameter: what names an object. `None` where there is no parameter.
    pub(crate) fn template(&self) -> Option<&str> {
        self.path.rfind('}').map(|at| &self.path[..=at])
    }

    /// How many parameters its path has.
    pub(crate) fn parameters(&self) -> usize {
        self.path.matches('{').count()
    }

    /// Where it stands with these in the place of its parameters.
    #[track_caller]
    pub(crate) fn at(&self, ids: &[String]) -> String {
        assert_eq!(ids.len(), self.parameters(), "{}", self.name());
        let mut parts = self.path.split(['{', '}']);
        let mut path = format!("{BASE}{}", parts.next().unwrap());
        for id in ids {
            let _parameter = parts.next();
            path += id;
            path += parts.next().unwrap();
        }
        path
    }

    pub(crate) fn reads(&self) -> bool {
        self.method == Method::GET
    }
}

/// Every operation, in the document's order.
pub(crate) fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&api::document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix(BASE).unwrap_or_else(|| panic!("{path} is not below {BASE}"));
        for (method, operation) in item.as_object().unwrap() {
            operations.push(read(&document, method, path, operation));
        }
    }
    assert!(operations.len() > 200, "the document lost operations");
    operations
}

fn read(document: &Value, method: &str, path: &str, operation: &Value) -> Operation {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = |place: &str| {
        let parameters = parameters.iter().map(|parameter| resolved(document, parameter));
        let there = parameters.filter(|parameter| parameter["in"] == place);
        there.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
    };
    let content = operation.get("requestBody").map(|body| &resolved(document, body)["content"]["application/json"]);
    let body = content.map(|content| &content["schema"]);
    Operation {
        method: method.to_uppercase().parse().unwrap(),
        path: path.to_owned(),
        access: access(operation),
        query: names("query"),
        headers: names("header"),
        fields: body.map(|schema| fields(document, schema)).unwrap_or_default(),
        body: body.map(|schema| resolved(document, schema).clone()),
        example: content.and_then(|content| content.get("example")).cloned(),
    }
}

fn access(operation: &Value) -> Access {
    match operation.pointer("/security/0") {
        None => Access::Open,
        Some(first) => match first.pointer("/key/0").and_then(Value::as_str) {
            Some(scope) => Access::Scope(scope.to_owned()),
            None => Access::Session,
        },
    }
}

/// Of an object, of each of several forms, or of what a list holds.
fn fields(document: &Value, schema: &Value) -> Vec<String> {
    let schema = resolved(document, schema);
    let own = schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys().cloned());
    let forms = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten();
    let within = forms.chain(schema.get("items")).flat_map(|form| fields(document, form));
    own.chain(within).collect()
}

/// What a reference leads to; anything else is itself.
fn resolved<'d>(document: &'d Value, mut value: &'d Value) -> &'d Value {
    while let Some(reference) = value.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap();
        value = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
    }
    value
}
