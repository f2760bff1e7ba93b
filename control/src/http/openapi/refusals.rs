//! What operations can be refused with. Each status that several of them answer with the same codes is one response in
//! the document's components.

use std::collections::BTreeMap;

use clearway_config::ErrorCode;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::security::Callers;

/// Codes that come together.
pub(super) struct Group {
    /// Tells a response that holds them from others of the same status.
    word: &'static str,
    codes: &'static [ErrorCode],
}

/// Refusals that any operation can answer with.
const EVERYWHERE: Group = Group {
    word: "",
    codes: &[
        ErrorCode::AmbiguousRequest,
        ErrorCode::ValidationError,
        ErrorCode::StoreUnavailable,
        ErrorCode::TimedOut,
        ErrorCode::InternalError,
    ],
};
/// Where a key is asked for.
const WITH_KEY: Group = Group {
    word: "Key",
    codes: &[
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
    ],
};
/// Where a person's session will do.
const WITH_SESSION: Group =
    Group { word: "Session", codes: &[ErrorCode::SessionUnknown, ErrorCode::SessionExpired, ErrorCode::CsrfTokenInvalid] };
/// Where nothing else will.
const SESSION_ONLY: Group = Group {
    word: "Person",
    codes: &[
        ErrorCode::KeyMissing,
        ErrorCode::AccountSuspended,
        ErrorCode::SignInRequired,
        ErrorCode::ScopeMissing,
        ErrorCode::CredentialsInvalid,
        ErrorCode::SecondFactorInvalid,
        ErrorCode::SignInLocked,
        ErrorCode::SignInBusy,
        ErrorCode::OneTimeTokenInvalid,
    ],
};
/// Where nobody has to say who they are: they are counted by address.
const BY_ADDRESS: Group = Group { word: "Address", codes: &[ErrorCode::RateLimitExceeded, ErrorCode::ConcurrencyExceeded] };
/// Where people sign in, or are about to.
const SIGN_IN: Group = Group {
    word: "SignIn",
    codes: &[
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
    ],
};
const WITH_BODY: Group =
    Group { word: "Body", codes: &[ErrorCode::MalformedBody, ErrorCode::BodyTooLarge, ErrorCode::UnsupportedMediaType] };
const WITH_ID: Group = Group { word: "Id", codes: &[ErrorCode::NotFound] };
/// On what changes something.
const WRITES: Group = Group { word: "Change", codes: &[ErrorCode::Conflict, ErrorCode::PlanLimitReached] };
const CONDITIONAL: Group = Group { word: "Condition", codes: &[ErrorCode::PreconditionFailed] };
const REPEATABLE: Group = Group { word: "Repeat", codes: &[ErrorCode::IdempotencyKeyInUse, ErrorCode::IdempotencyKeyReused] };

/// What an operation does, as far as refusals follow from it.
pub(super) struct Facts {
    pub(super) changes: bool,
    pub(super) body: bool,
    /// In its path, its query or its body.
    pub(super) names_objects: bool,
    /// Upon `If-Match`.
    pub(super) conditional: bool,
    /// By `Idempotency-Key`.
    pub(super) repeatable: bool,
}

/// All that an operation can be refused with.
pub(super) fn groups(callers: &Callers, facts: &Facts) -> Vec<&'static Group> {
    let mut groups = vec![&EVERYWHERE];
    match callers {
        Callers::Keys(_) => groups.extend([&WITH_KEY, &WITH_SESSION]),
        Callers::People => groups.extend([&SESSION_ONLY, &WITH_SESSION]),
        Callers::SigningIn => groups.push(&SIGN_IN),
        Callers::Anyone => groups.push(&BY_ADDRESS),
    }
    let more = [
        (facts.body, &WITH_BODY),
        (facts.names_objects, &WITH_ID),
        (facts.changes, &WRITES),
        (facts.conditional, &CONDITIONAL),
        (facts.repeatable, &REPEATABLE),
    ];
    groups.extend(more.into_iter().filter_map(|(said, group)| said.then_some(group)));
    groups
}

/// A status, and the words of the groups that hold codes of it.
type Known = (u16, Vec<&'static str>);

/// The responses that operations refer to, by a name that is not final: [`Refusals::named`] knows how many there are.
#[derive(Default)]
pub(super) struct Refusals(BTreeMap<Known, Vec<ErrorCode>>);

impl Refusals {
    /// Adds to an operation's responses what it can be refused with.
    pub(super) fn note(&mut self, operation: &mut Map<String, Value>, groups: &[&'static Group]) {
        let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
        let mut found: BTreeMap<u16, (Vec<&'static str>, Vec<ErrorCode>)> = BTreeMap::new();
        for group in groups {
            for code in group.codes {
                let (words, codes) = found.entry(code.status()).or_default();
                if !words.contains(&group.word) {
                    words.push(group.word);
                }
                if !codes.contains(code) {
                    codes.push(*code);
                }
            }
        }
        for (status, (words, codes)) in found {
            responses.insert(status.to_string(), json!({ "$ref": words.concat() }));
            self.0.insert((status, words), codes);
        }
    }

    /// With the reason phrase as name, and the words of the groups behind it where a status has several responses.
    pub(super) fn named(self) -> Named {
        let mut of_status: BTreeMap<u16, usize> = BTreeMap::new();
        self.0.keys().for_each(|(status, _)| *of_status.entry(*status).or_default() += 1);
        let named = self.0.into_iter().map(|((status, words), codes)| {
            let words = words.concat();
            let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            let reason: String = reason.expect("codes have statuses of HTTP").split(' ').collect();
            let name = if of_status[&status] == 1 { reason } else { reason + &words };
            ((status.to_string(), words), (name, refusal(status, &codes)))
        });
        Named(named.collect())
    }
}

/// Name and text of each response, by status and words.
pub(super) struct Named(BTreeMap<(String, String), (String, Value)>);

impl Named {
    /// Makes an operation's references those of the components.
    pub(super) fn refer(&self, operation: &mut Map<String, Value>) {
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten();
        for (status, response) in responses {
            let Some(words) = response.get("$ref").and_then(Value::as_str) else { continue };
            let (name, _) = &self.0[&(status.clone(), words.to_owned())];
            response["$ref"] = format!("#/components/responses/{name}").into();
        }
    }

    pub(super) fn responses(self) -> Value {
        self.0.into_values().collect::<Map<_, _>>().into()
    }
}

fn refusal(status: u16, codes: &[ErrorCode]) -> Value {
    let lines: Vec<_> = codes.iter().map(|code| format!("- `{code}`: {}", code.meaning())).collect();
    let examples: Map<String, Value> =
        codes.iter().map(|code| (code.to_string(), json!({ "value": example(*code, status) }))).collect();
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
