//! What every operation of the OpenAPI document has in common, added in one place instead of pasted over
//! each: who may call it, what it can be refused with, and the request headers it understands.

use clearway_config::{
    ErrorCode,
    scope::{ADMIN, REGISTRY},
    session::SESSION_COOKIE,
};
use serde_json::{Map, Value, json};

/// Refusals that any operation can answer with.
const EVERYWHERE: &[ErrorCode] = &[
    ErrorCode::AmbiguousRequest,
    ErrorCode::ValidationError,
    ErrorCode::StoreUnavailable,
    ErrorCode::TimedOut,
    ErrorCode::InternalError,
];
/// Where a key is asked for.
const WITH_KEY: &[ErrorCode] = &[
    ErrorCode::KeyMissing,
    ErrorCode::KeyMalformed,
    ErrorCode::KeyUnknown,
    ErrorCode::TokenInvalid,
    ErrorCode::KeyRevoked,
    ErrorCode::KeyExpired,
    ErrorCode::AccountSuspended,
    ErrorCode::AddressNotAllowed,
    ErrorCode::ScopeMissing,
    ErrorCode::RateLimitExceeded,
    ErrorCode::QuotaExceeded,
    ErrorCode::ConcurrencyExceeded,
];
/// Where a person's session will do.
const WITH_SESSION: &[ErrorCode] = &[ErrorCode::SessionUnknown, ErrorCode::SessionExpired, ErrorCode::CsrfTokenInvalid];
/// Where nothing else will.
const SESSION_ONLY: &[ErrorCode] = &[
    ErrorCode::KeyMissing,
    ErrorCode::AccountSuspended,
    ErrorCode::SignInRequired,
    ErrorCode::ScopeMissing,
    ErrorCode::CredentialsInvalid,
    ErrorCode::SecondFactorInvalid,
    ErrorCode::SignInLocked,
    ErrorCode::SignInBusy,
    ErrorCode::OneTimeTokenInvalid,
];
/// Where nobody has to say who they are: they are counted by address.
const BY_ADDRESS: &[ErrorCode] = &[ErrorCode::RateLimitExceeded, ErrorCode::ConcurrencyExceeded];
/// Where people sign in, or are about to.
const SIGN_IN: &[ErrorCode] = &[
    ErrorCode::CredentialsInvalid,
    ErrorCode::SecondFactorInvalid,
    ErrorCode::PasskeysUnavailable,
    ErrorCode::SignInLocked,
    ErrorCode::SignInBusy,
    ErrorCode::OneTimeTokenInvalid,
    ErrorCode::RegistrationClosed,
    ErrorCode::ProviderAnswerUnknown,
    ErrorCode::ProviderUnusable,
    ErrorCode::CsrfTokenInvalid,
    ErrorCode::AccountSuspended,
    ErrorCode::RateLimitExceeded,
    ErrorCode::ConcurrencyExceeded,
];
const WITH_BODY: &[ErrorCode] = &[ErrorCode::MalformedBody, ErrorCode::BodyTooLarge, ErrorCode::UnsupportedMediaType];
const WITH_ID: &[ErrorCode] = &[ErrorCode::NotFound];
/// On what changes something.
const WRITES: &[ErrorCode] = &[ErrorCode::Conflict, ErrorCode::PlanLimitReached];
const CONDITIONAL: &[ErrorCode] = &[ErrorCode::PreconditionFailed];
const REPEATABLE: &[ErrorCode] = &[ErrorCode::IdempotencyKeyInUse, ErrorCode::IdempotencyKeyReused];

const IDEMPOTENCY_KEY: &str = "Makes a repetition harmless: the same request under the same key, for 24 hours, is not done \
    again and is answered as before, with `Idempotency-Replayed: true`. Secrets are not stored with answers: a replay has \
    `secret: null`; rotate the key if its secret did not arrive. While the first request is being served a second one is \
    refused (409), and so is another request under the same key (422).";

const OAUTH: &str = "An access token of an application that was let act for an account; PKCE by S256 always.";
const SESSION: &str = "The token of a person who has signed in. What it allows is what their role in the account does. Without \
    `X-Clearway-Account` that is the account which the session was begun for; with it, that one of those where they are a member.";
const SESSION_IN_COOKIE: &str = "The same token, as browsers keep it. What changes something needs `X-CSRF-Token` beside it.";

/// Completes what the features describe.
pub fn complete(mut document: Value) -> Value {
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else { return document };
    for (path, item) in paths.iter_mut() {
        let Some(operations) = item.as_object_mut() else { continue };
        for (method, operation) in operations.iter_mut() {
            if let Some(operation) = operation.as_object_mut() {
                complete_operation(path, method, operation);
            }
        }
    }
    let given = REGISTRY.iter().filter(|scope| scope.name != ADMIN);
    let scopes: Map<String, Value> = given.map(|scope| (scope.name.to_owned(), scope.says.into())).collect();
    let schemes = json!({
        "key": { "type": "http", "scheme": "bearer", "bearerFormat": "clw_live_… or clw_test_…", "description": "An API key." },
        "key_header": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key in another header." },
        "oauth": { "type": "oauth2", "description": OAUTH, "flows": {
            "authorizationCode": {
                "authorizationUrl": "/oauth/authorize", "tokenUrl": "/oauth/token", "refreshUrl": "/oauth/token", "scopes": scopes
            },
            "clientCredentials": { "tokenUrl": "/oauth/token", "scopes": scopes },
        } },
        "session": { "type": "http", "scheme": "bearer", "bearerFormat": "clws_…", "description": SESSION },
        "session_cookie": { "type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": SESSION_IN_COOKIE },
        "csrf": { "type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "The session's, beside its cookie." },
    });
    document["components"]["securitySchemes"] = schemes;
    document
}

fn complete_operation(path: &str, method: &str, operation: &mut Map<String, Value>) {
    // The alias has operations of its own, and ids are unique.
    if path.contains("/marketplace/")
        && let Some(Value::String(id)) = operation.get_mut("operationId")
    {
        id.insert_str(0, "marketplace_");
    }
    let said = |scheme: &str| operation.get("security").and_then(|security| security.pointer(&format!("/0/{scheme}"))).cloned();
    let (by_key, by_session) = (said("key"), said("session").is_some());
    let mut codes = EVERYWHERE.to_vec();
    let cookie = if method == "get" { json!({ "session_cookie": [] }) } else { json!({ "session_cookie": [], "csrf": [] }) };
    let repeatable = by_key.is_some();
    if let Some(scopes) = by_key {
        operation.insert(
            "security".into(),
            json!([{ "key": scopes }, { "key_header": scopes }, { "oauth": scopes }, { "session": [] }, cookie]),
        );
        codes.extend(WITH_KEY);
        codes.extend(WITH_SESSION);
    } else if by_session {
        operation.insert("security".into(), json!([{ "session": [] }, cookie]));
        codes.extend(SESSION_ONLY);
        codes.extend(WITH_SESSION);
    } else {
        operation.insert("security".into(), json!([]));
        codes.extend(if path.starts_with("/api/v1/auth/") { SIGN_IN } else { BY_ADDRESS });
    }
    if operation.contains_key("requestBody") || method == "post" {
        codes.extend(WITH_BODY);
    }
    if path.contains('{') {
        codes.extend(WITH_ID);
    }
    if method != "get" {
        codes.extend(WRITES);
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    if parameters.is_some_and(|list| list.iter().any(|parameter| parameter["name"] == "If-Match")) {
        codes.extend(CONDITIONAL);
    }
    // Of whoever shows a key or a session, and not what only a person does.
    if method == "post" && repeatable {
        codes.extend(REPEATABLE);
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        let own = parameters.as_array().is_some_and(|list| list.iter().any(|one| one["name"] == "Idempotency-Key"));
        let header = json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "description": IDEMPOTENCY_KEY,
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        });
        parameters.as_array_mut().filter(|_| !own).into_iter().for_each(|list| list.push(header.clone()));
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    let mut statuses: Vec<u16> = codes.iter().map(|code| code.status()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for status in statuses {
        let with: Vec<_> = codes.iter().filter(|code| code.status() == status).collect();
        responses.insert(status.to_string(), refusal(status, &with));
    }
}

fn refusal(status: u16, codes: &[&ErrorCode]) -> Value {
    let lines: Vec<_> = codes.iter().map(|code| format!("- `{code}`: {}", code.meaning())).collect();
    let examples: Map<String, Value> =
        codes.iter().map(|code| (code.to_string(), json!({ "value": example(**code, status) }))).collect();
    json!({
        "description": lines.join("\n"),
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Failure" }, "examples": examples } },
    })
}

fn example(code: ErrorCode, status: u16) -> Value {
    json!({
        "id": "req_1QjvzY8L2d0ZB9oU4hXwVn",
        "status": "error",
        "code": status,
        "error": { "type": code, "message": code.meaning() },
        "meta": { "timestamp": "2026-11-20T12:00:00.000Z", "trace_id": "0af7651916cd43dd8448eb211c80319c" },
    })
}
