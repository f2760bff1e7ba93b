//! Changes to headers, of requests or of answers.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::settings::fault::{Fault, Within as _};

/// Changes of one section at most.
pub const EDITS_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 4096;

/// Changes as they are written. They are made in the order of the keys here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditsSpec {
    /// Names of headers that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Headers under another name; what bore that name before goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// Headers that say this and nothing else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Headers that say this besides what they say already.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, String>,
}

/// Changes, checked: to be made in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    pub remove: Vec<HeaderName>,
    /// From, to.
    pub rename: Vec<(HeaderName, HeaderName)>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl EditsSpec {
    pub(super) fn resolve(&self) -> Result<Edits, Fault> {
        let edits = self.remove.len() + self.rename.len() + self.set.len() + self.add.len();
        if edits == 0 {
            return Err(Fault::new("needs `remove`, `rename`, `set` or `add`"));
        }
        if edits > EDITS_MAX {
            return Err(Fault::new(format!("more than {EDITS_MAX} changes")));
        }
        let rename = |(from, to): (&String, &String)| {
            let names = name(from).and_then(|from| Ok((from, name(to)?)));
            let names =
                names.and_then(|(from, to)| if from == to { Err(Fault::new("is its name already")) } else { Ok((from, to)) });
            names.within(from.as_str())
        };
        Ok(Edits {
            remove: self
                .remove
                .iter()
                .enumerate()
                .map(|(n, text)| name(text).within(n))
                .collect::<Result<_, _>>()
                .within("remove")?,
            rename: self.rename.iter().map(rename).collect::<Result<_, _>>().within("rename")?,
            set: headers(&self.set).within("set")?,
            add: headers(&self.add).within("add")?,
        })
    }
}

fn headers(pairs: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, Fault> {
    let header =
        |(text, value): (&String, &String)| name(text).and_then(|name| Ok((name, self::value(value)?))).within(text.as_str());
    pairs.iter().map(header).collect()
}

/// A header that may be changed. Others frame the message, belong to one connection, or are the gateway's own word
/// on who asks, from where, and what is left; Host is `rewrite.host`'s.
fn name(text: &str) -> Result<HeaderName, Fault> {
    let name: HeaderName = text.parse().map_err(|_| Fault::new(format!("`{text}` is not a header's name")))?;
    // Servers that take `_` or `.` for `-` would read the other header.
    let read = name.as_str().replace(['_', '.'], "-");
    let fixed = matches!(
        read.as_str(),
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "upgrade"
            | "http2-settings"
            | "expect"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "forwarded"
    ) || ["x-clearway", "x-forwarded", "ratelimit", "x-ratelimit", "sec-websocket"]
        .iter()
        .any(|start| read.starts_with(start));
    if fixed { Err(Fault::new(format!("`{text}` is not for policies to change"))) } else { Ok(name) }
}

fn value(text: &str) -> Result<HeaderValue, Fault> {
    if text.len() > VALUE_BYTES_MAX {
        return Err(Fault::new(format!("longer than {VALUE_BYTES_MAX} bytes")));
    }
    let value = HeaderValue::from_str(text).ok().filter(|value| value.to_str().is_ok() && text.trim() == text);
    value.ok_or_else(|| Fault::new("must be printable ASCII without spaces around it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<Edits, String> {
        let set = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        EditsSpec { set, ..EditsSpec::default() }.resolve().map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_frames_a_message_or_says_who_asks_is_not_changed_in_any_spelling() {
        for name in [
            "Host",
            "Content-Length",
            "content_length",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Upgrade",
            "X-Clearway-Account-Id",
            "x_clearway_plan",
            "X-Forwarded-For",
            "RateLimit",
            "RateLimit-Policy",
            "X-RateLimit-Limit",
            "X-Request-Id",
            "traceparent",
            "Sec-WebSocket-Accept",
        ] {
            assert_eq!(set(name, "1").unwrap_err(), format!("set.{name}: `{name}` is not for policies to change"));
        }
        assert!(set("Authorization", "Basic abc").is_ok() && set("X-Backend", "a b").is_ok());
    }

    #[test]
    fn no_name_or_value_breaks_a_line() {
        for (name, value) in [("x\r\ny", "1"), ("x y", "1"), ("", "1"), ("x", "1\r\nEvil: 2"), ("x", " 1"), ("x", "é")] {
            assert!(set(name, value).is_err(), "{name:?}: {value:?}");
        }
        let same = EditsSpec { rename: BTreeMap::from([("X-A".to_owned(), "x-a".to_owned())]), ..EditsSpec::default() };
        assert!(same.resolve().is_err() && EditsSpec::default().resolve().is_err());
    }
}
