//! The chain of the audit log: what is hashed, and how, so that whoever holds one link can tell whether anything before
//! it was changed, left out or put in.
//!
//! Each link is SHA-256 over the link before it, its own number, and the entry in a form of its own: neither database,
//! nor a copy from one into the other, changes a link.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// What the first link is made from.
const GENESIS: &[u8; 32] = b"clearway audit chain, version 1\0";

/// An entry with everything that is hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChainedEntry {
    /// `aud_…`
    pub id: String,
    pub account_id: String,
    /// Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// `key`, `user` or `system`.
    pub actor_kind: String,
    pub actor_id: String,
    /// The admin who acted as this user.
    pub impersonator_id: Option<String>,
    /// The application that acted, for the actor or by itself.
    #[serde(default)]
    pub client_id: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub action: String,
    pub object_kind: String,
    pub object_id: String,
    /// The fields that changed, before and after.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub changes: Value,
}

/// SHA-256 over everything up to an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; 32]);

impl Link {
    /// What stands before the first entry.
    pub const fn first() -> Self {
        Self(*GENESIS)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// `None` unless exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// `None` unless 64 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The link of the `number`th entry, the first being 1.
    pub fn next(&self, number: u64, entry: &ChainedEntry) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(number.to_be_bytes());
        hash.update(entry.at_ms.to_be_bytes());
        let said = |text: &str| Some(text.to_owned());
        let mut changes = String::new();
        write_sorted(&entry.changes, &mut changes);
        for field in [
            said(&entry.id),
            said(&entry.account_id),
            said(&entry.actor_kind),
            said(&entry.actor_id),
            entry.impersonator_id.clone(),
            entry.client_id.clone(),
            entry.address.clone(),
            entry.request_id.clone(),
            said(&entry.action),
            said(&entry.object_kind),
            said(&entry.object_id),
            Some(changes),
        ] {
            // Nothing and an empty text are two things, and no field can reach into the next.
            match field {
                None => hash.update([0]),
                Some(text) => {
                    hash.update([1]);
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text);
                }
            }
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// JSON without spaces and with members in alphabetical order, whatever order they came in.
fn write_sorted(value: &Value, to: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            to.push('{');
            for (n, (name, member)) in members.into_iter().enumerate() {
                if n > 0 {
                    to.push(',');
                }
                to.push_str(&Value::from(name.as_str()).to_string());
                to.push(':');
                write_sorted(member, to);
            }
            to.push('}');
        }
        Value::Array(values) => {
            to.push('[');
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    to.push(',');
                }
                write_sorted(value, to);
            }
            to.push(']');
        }
        Value::Number(number) => to.push_str(&plain(number)),
        scalar => to.push_str(&scalar.to_string()),
    }
}

/// A number as digits: PostgreSQL keeps no exponent, and of a whole number no point.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        _ if number.is_i64() || number.is_u64() => number.to_string(),
        // Of which there is a negative one.
        Some(0.0) => "0".to_owned(),
        Some(value) => value.to_string(),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> ChainedEntry {
        ChainedEntry {
            id: "aud_1".into(),
            account_id: "acct_1".into(),
            at_ms: 7,
            actor_kind: "user".into(),
            actor_id: "user_1".into(),
            impersonator_id: None,
            client_id: None,
            address: Some("192.0.2.7".into()),
            request_id: None,
            action: "key.created".into(),
            object_kind: "key".into(),
            object_id: "key_1".into(),
            changes: json!({ "name": { "before": null, "after": "a" } }),
        }
    }

    #[test]
    fn a_link_depends_on_every_field_on_its_number_and_on_the_link_before() {
        let first = Link::first();
        let good = first.next(1, &entry());
        assert_eq!(good, first.next(1, &entry()));
        let mut others = vec![first.next(2, &entry()), good.next(1, &entry())];
        let mut change = |edit: &dyn Fn(&mut ChainedEntry)| {
            let mut other = entry();
            edit(&mut other);
            others.push(first.next(1, &other));
        };
        change(&|entry| entry.id.push('x'));
        change(&|entry| entry.account_id.push('x'));
        change(&|entry| entry.at_ms += 1);
        change(&|entry| entry.actor_kind.push('x'));
        change(&|entry| entry.actor_id.push('x'));
        change(&|entry| entry.impersonator_id = Some(String::new()));
        change(&|entry| entry.client_id = Some(String::new()));
        change(&|entry| entry.address = None);
        change(&|entry| entry.request_id = Some("req_1".into()));
        change(&|entry| entry.action.push('x'));
        change(&|entry| entry.object_kind.push('x'));
        change(&|entry| entry.object_id.push('x'));
        change(&|entry| entry.changes = json!({ "name": { "before": null, "after": "b" } }));
        change(&|entry| (entry.object_kind, entry.object_id) = ("ke".into(), "ykey_1".into()));
        others.push(good);
        for (n, link) in others.iter().enumerate() {
            assert!(others[..n].iter().all(|other| other != link), "{n}");
        }
    }

    #[test]
    fn the_order_of_members_and_spaces_change_nothing() {
        let read = |text: &str| ChainedEntry { changes: serde_json::from_str(text).unwrap(), ..entry() };
        let (one, other) =
            (read(r#"{"a": {"x": [1, "\u00e9"], "y": null}, "b": true}"#), read(r#"{"b":true,"a":{"y":null,"x":[1,"é"]}}"#));
        assert_eq!(Link::first().next(1, &one), Link::first().next(1, &other));
    }

    #[test]
    fn a_number_is_hashed_alike_however_a_database_writes_it() {
        let link = |text: &str| Link::first().next(1, &ChainedEntry { changes: serde_json::from_str(text).unwrap(), ..entry() });
        for (one, other) in [("1e16", "10000000000000000"), ("1.0", "1"), ("-0.0", "0"), ("1.50", "1.5"), ("1e-7", "0.0000001")] {
            assert_eq!(link(one), link(other), "{one}");
        }
        assert_ne!(link("1.5"), link("1.25"));
    }

    #[test]
    fn a_link_survives_its_text() {
        let link = Link::first().next(1, &entry());
        assert_eq!(Link::parse(&link.to_string()), Some(link));
        assert_eq!(Link::parse(&link.to_string()[1..]), None);
        assert_eq!(Link::parse(&"G".repeat(64)), None);
    }
}
