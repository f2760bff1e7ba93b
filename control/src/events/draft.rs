//! Reading `POST /events`: one event or a list of them, with every fault told at once. What stands in `data` is kept as
//! it was written, because it is what will be posted.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use clearway_config::{AccountId, ErrorCode, envelope::FieldIssue};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

use super::types::NAME_CHARS_MAX;
use crate::http::{
    Api, ApiError, Repeatable,
    fields::{self, Wrong},
    hex, issue,
};

/// Bytes in a request's body.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;
/// Events in a request.
pub(super) const EVENTS_MAX: usize = 100;
/// Characters in an object's id.
const OBJECT_CHARS_MAX: usize = 128;
/// Characters in an idempotency key.
const KEY_CHARS_MAX: usize = 128;
const MEMBERS: [&str; 5] = ["account_id", "data", "idempotency_key", "object_id", "type"];

/// A request to emit, its body not read yet.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) bytes: Bytes,
    /// `Idempotency-Key`, which is of the whole request.
    key: Option<String>,
}

impl FromRequest<Api> for Posted {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let repeatable = Repeatable::from_request_parts(&mut parts, api).await?;
        let bytes = fields::read_json(Request::from_parts(parts, body), BODY_BYTES_MAX).await?;
        Ok(Self { bytes, key: repeatable.key().map(str::to_owned) })
    }
}

/// An event as it was asked for.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) kind: String,
    pub(super) raw: &'a RawValue,
    pub(super) data: Value,
    pub(super) object_id: Option<String>,
    pub(super) account_id: Option<AccountId>,
    pub(super) key: Option<Key>,
}

/// What makes a repetition harmless.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: String,
    /// Of what came with it, in hexadecimal.
    pub(super) fingerprint: String,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Drafts<'a> {
    pub(super) events: Vec<Draft<'a>>,
    /// Whether it was a list.
    pub(super) list: bool,
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

impl Posted {
    pub(super) fn read(&self) -> Result<Drafts<'_>, ApiError> {
        let list = self.bytes.trim_ascii_start().first() == Some(&b'[');
        let malformed =
            |why: serde_json::Error| ApiError::saying(ErrorCode::MalformedBody, format!("The body is not JSON: {why}."));
        let given: Vec<Members<'_>> = if list {
            serde_json::from_slice(&self.bytes).map_err(malformed)?
        } else {
            vec![serde_json::from_slice(&self.bytes).map_err(malformed)?]
        };
        if !(1..=EVENTS_MAX).contains(&given.len()) {
            return Err(ApiError::invalid(&[issue("", "out_of_bounds", format!("must be 1 to {EVENTS_MAX} events"))]));
        }
        let mut issues = Vec::new();
        let whole = self.key.as_ref().map(|key| (key, fingerprint(&[&self.bytes])));
        let mut events = Vec::with_capacity(given.len());
        for (n, members) in given.into_iter().enumerate() {
            let prefix = if list { format!("{n}.") } else { String::new() };
            let mut reader = Reader { members, prefix, issues: &mut issues };
            if whole.is_some() && reader.members.contains_key("idempotency_key") {
                reader.refuse("idempotency_key", ("out_of_bounds", "stands in the header too".into()));
            }
            let Some(mut draft) = reader.event() else { continue };
            if let Some((key, fingerprint)) = &whole {
                // A list's key is of all of it: no key in a body or a header can be alike, for they hold no line break.
                let text = if list { format!("{key}\n{n}") } else { (*key).clone() };
                draft.key = Some(Key { text, fingerprint: fingerprint.clone() });
            }
            events.push(draft);
        }
        if issues.is_empty() { Ok(Drafts { events, list }) } else { Err(ApiError::invalid(&issues)) }
    }
}

struct Reader<'a, 'i> {
    members: Members<'a>,
    prefix: String,
    issues: &'i mut Vec<FieldIssue>,
}

impl<'a> Reader<'a, '_> {
    /// Reads every member, even after one was wrong.
    fn event(&mut self) -> Option<Draft<'a>> {
        let raw = self.members.get("data").copied();
        let kind = self.member("type", |value| fields::text(NAME_CHARS_MAX)(&value));
        let data = self.member("data", |value| match value {
            Value::Object(_) => Ok(value),
            _ => Err(("format_invalid", "must be an object".into())),
        });
        let object_id = self.member("object_id", |value| fields::text(OBJECT_CHARS_MAX)(&value));
        let account_id = self.member("account_id", |value| fields::parsed::<AccountId>(&value));
        let key = self.member("idempotency_key", |value| key(&value));
        let unknown: Vec<_> = std::mem::take(&mut self.members).into_keys().collect();
        for name in unknown {
            // The name is the client's: bounded, it may be echoed.
            let name: String = name.chars().take(64).collect();
            self.refuse(&name, ("unknown", format!("is not known here; the fields are {}", MEMBERS.join(", "))));
        }
        if matches!(kind, Some(None)) {
            self.refuse("type", ("required", "is required".into()));
        }
        if matches!(data, Some(None)) {
            self.refuse("data", ("required", "is required".into()));
        }
        let (kind, data, raw, object_id) = (kind??, data??, raw?, object_id?);
        let key = key?.map(|text| {
            let object = object_id.as_deref().unwrap_or_default();
            let fingerprint = fingerprint(&[kind.as_bytes(), object.as_bytes(), raw.get().as_bytes()]);
            Key { text, fingerprint }
        });
        Some(Draft { kind, raw, data, object_id, account_id: account_id?, key })
    }

    /// A member that may be left out or null; `None` when it is wrong.
    fn member<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<Option<T>> {
        let Some(raw) = self.members.remove(name) else { return Some(None) };
        let value = match serde_json::from_str(raw.get()) {
            Ok(Value::Null) => return Some(None),
            Ok(value) => value,
            Err(why) => {
                self.refuse(name, ("format_invalid", format!("is not JSON: {why}")));
                return None;
            }
        };
        match read(value) {
            Ok(read) => Some(Some(read)),
            Err(wrong) => {
                self.refuse(name, wrong);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, (word, message): Wrong) {
        self.issues.push(issue(&format!("{}{name}", self.prefix), word, message));
    }
}

fn key(value: &Value) -> Result<String, Wrong> {
    let text = value.as_str().ok_or(("format_invalid", "must be text".to_owned()))?;
    if !(1..=KEY_CHARS_MAX).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(("out_of_bounds", format!("must have 1 to {KEY_CHARS_MAX} ASCII characters")));
    }
    Ok(text.to_owned())
}

fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}
