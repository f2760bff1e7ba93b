//! Changes to fields of JSON bodies, of requests or of answers. A field is named by a JSON Pointer (RFC 6901).

use std::{collections::BTreeMap, fmt::Write as _};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::settings::{
    fault::{Fault, Within as _},
    size,
};

/// Changes of one section at most.
pub const JSON_EDITS_MAX: usize = 64;
/// The longest body that is changed, unless said.
pub const JSON_SIZE_DEFAULT: u64 = 1 << 20;
/// And the longest that can be asked for.
pub const JSON_SIZE_MAX: u64 = 16 << 20;
const POINTER_BYTES_MAX: usize = 1024;
const POINTER_TOKENS_MAX: usize = 32;
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Changes as they are written. They are made in the order of the keys here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JsonSpec {
    /// The longest body that is changed: `1MiB` unless said, `16MiB` at most.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "1MiB"))]
    #[serde(default, with = "size", skip_serializing_if = "Option::is_none")]
    pub size_max: Option<ByteSize>,
    /// What becomes of a body that cannot be changed. For requests one that is not JSON by its type, or compressed:
    /// `pass` unless said. For answers one that is compressed, too long, or not JSON whatever its type says: `refuse`
    /// unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
    /// Fields that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields under another name in the same object; what bore that name before goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// Fields that have this value, and objects around them where there are none. In texts `{account_id}`, `{key_id}`,
    /// `{plan}`, `{subject}`, `{request_id}` and `{address}` are what is known of the request; a text that is nothing
    /// else is `null` where it is not known.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Object>))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Value>,
    /// The same for fields that are absent.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, Object>))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, Value>,
}

/// What becomes of what cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    Refuse,
    Pass,
}

/// Changes, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json {
    /// To be made in this order.
    pub edits: Vec<JsonEdit>,
    /// Bytes.
    pub size_max: u64,
    pub otherwise: Otherwise,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonEdit {
    Remove(Pointer),
    /// The last token becomes this.
    Rename(Pointer, String),
    Set(Pointer, Template),
    Add(Pointer, Template),
}

/// Tokens, decoded; at least one.
pub type Pointer = Vec<String>;

/// A value, with places for what is known of a request.
pub type Template = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// JSON as it is.
    Text(String),
    /// Within a string.
    Within(Fact),
    /// A string of its own, or `null`.
    Whole(Fact),
}

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    AccountId,
    KeyId,
    Plan,
    Subject,
    RequestId,
    Address,
}

impl JsonSpec {
    pub(super) fn resolve_request(&self) -> Result<Json, Fault> {
        self.resolve(Otherwise::Pass)
    }

    pub(super) fn resolve_answer(&self) -> Result<Json, Fault> {
        self.resolve(Otherwise::Refuse)
    }

    fn resolve(&self, otherwise: Otherwise) -> Result<Json, Fault> {
        let edits = self.remove.len() + self.rename.len() + self.set.len() + self.add.len();
        if edits == 0 {
            return Err(Fault::new("needs `remove`, `rename`, `set` or `add`"));
        }
        if edits > JSON_EDITS_MAX {
            return Err(Fault::new(format!("more than {JSON_EDITS_MAX} changes")));
        }
        let size_max = self.size_max.map_or(JSON_SIZE_DEFAULT, |size| size.as_u64());
        if !(1..=JSON_SIZE_MAX).contains(&size_max) {
            return Err(Fault::at("size_max", "must be at least 1B and at most 16MiB"));
        }
        let removed = |(n, text): (usize, &String)| pointer(text).map(JsonEdit::Remove).within(n);
        let renamed = |(from, to): (&String, &String)| rename(from, to).within(from.as_str());
        let mut edits: Vec<JsonEdit> = self.remove.iter().enumerate().map(removed).collect::<Result<_, _>>().within("remove")?;
        edits.extend(self.rename.iter().map(renamed).collect::<Result<Vec<_>, _>>().within("rename")?);
        edits.extend(valued(&self.set, JsonEdit::Set).within("set")?);
        edits.extend(valued(&self.add, JsonEdit::Add).within("add")?);
        Ok(Json { edits, size_max, otherwise: self.otherwise.unwrap_or(otherwise) })
    }
}

fn rename(from: &str, to: &str) -> Result<JsonEdit, Fault> {
    let pointer = pointer(from)?;
    if to.len() > POINTER_BYTES_MAX {
        return Err(Fault::new(format!("a name of more than {POINTER_BYTES_MAX} bytes")));
    }
    if pointer.last().is_some_and(|name| name == to) {
        return Err(Fault::new("is its name already"));
    }
    Ok(JsonEdit::Rename(pointer, to.to_owned()))
}

fn valued(pairs: &BTreeMap<String, Value>, edit: fn(Pointer, Template) -> JsonEdit) -> Result<Vec<JsonEdit>, Fault> {
    let one = |(text, value): (&String, &Value)| {
        pointer(text).and_then(|pointer| Ok(edit(pointer, template(value)?))).within(text.as_str())
    };
    pairs.iter().map(one).collect()
}

/// RFC 6901, 3 and 4. The whole document is no field.
fn pointer(text: &str) -> Result<Pointer, Fault> {
    let rest = text.strip_prefix('/').ok_or_else(|| Fault::new("must be a JSON Pointer such as `/order/lines/0`"))?;
    let tokens = rest.split('/').map(token).collect::<Option<Pointer>>();
    let tokens = tokens.ok_or_else(|| Fault::new("in a JSON Pointer `~` is written `~0`, and `/` within a name `~1`"))?;
    if text.len() > POINTER_BYTES_MAX || tokens.len() > POINTER_TOKENS_MAX {
        return Err(Fault::new(format!("longer than {POINTER_BYTES_MAX} bytes or {POINTER_TOKENS_MAX} names")));
    }
    Ok(tokens)
}

fn token(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        decoded.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(decoded)
}

fn template(value: &Value) -> Result<Template, Fault> {
    let mut pieces = vec![Piece::Text(String::new())];
    add_value(&mut pieces, value)?;
    let bytes: usize = pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
    if bytes > VALUE_BYTES_MAX {
        return Err(Fault::new(format!("longer than {VALUE_BYTES_MAX} bytes")));
    }
    pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    Ok(pieces)
}

fn add_value(to: &mut Template, value: &Value) -> Result<(), Fault> {
    match value {
        // Documents are written out as TOML too, which has none.
        Value::Null => return Err(Fault::new("null cannot be written everywhere; use `remove`")),
        Value::Bool(_) | Value::Number(_) => add_text(to, &value.to_string()),
        Value::String(text) => add_string(to, text)?,
        Value::Array(values) => {
            add_text(to, "[");
            for (n, value) in values.iter().enumerate() {
                add_text(to, if n > 0 { "," } else { "" });
                add_value(to, value)?;
            }
            add_text(to, "]");
        }
        Value::Object(members) => {
            add_text(to, "{");
            for (n, (name, value)) in members.iter().enumerate() {
                add_text(to, if n > 0 { "," } else { "" });
                add_text(to, &format!("{}:", Value::from(name.as_str())));
                add_value(to, value)?;
            }
            add_text(to, "}");
        }
    }
    Ok(())
}

fn add_string(to: &mut Template, text: &str) -> Result<(), Fault> {
    let whole = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).and_then(Fact::named);
    if let Some(fact) = whole {
        to.push(Piece::Whole(fact));
        return Ok(());
    }
    add_text(to, "\"");
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        add_escaped(to, &rest[..at]);
        let from = &rest[at..];
        let (plain, taken) = if from.starts_with("{{") || from.starts_with("}}") {
            (Some(&from[..1]), 2)
        } else {
            let end = from.strip_prefix('{').and_then(|name| name.find('}'));
            let end = end.ok_or_else(|| Fault::new("a brace by itself is written twice: `{{` or `}}`"))?;
            let name = &from[1..=end];
            let fact = Fact::named(name).ok_or_else(|| Fault::new(format!("nothing is known as `{name}`; {KNOWN}")))?;
            to.push(Piece::Within(fact));
            (None, end + 2)
        };
        add_text(to, plain.unwrap_or_default());
        rest = &from[taken..];
    }
    add_escaped(to, rest);
    add_text(to, "\"");
    Ok(())
}

fn add_escaped(to: &mut Template, text: &str) {
    let quoted = Value::from(text).to_string();
    add_text(to, &quoted[1..quoted.len() - 1]);
}

fn add_text(to: &mut Template, text: &str) {
    match to.last_mut() {
        Some(Piece::Text(last)) => last.write_str(text).expect("a String takes everything"),
        _ => to.push(Piece::Text(text.to_owned())),
    }
}

const KNOWN: &str = "account_id, key_id, plan, subject, request_id and address are";

impl Fact {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "account_id" => Self::AccountId,
            "key_id" => Self::KeyId,
            "plan" => Self::Plan,
            "subject" => Self::Subject,
            "request_id" => Self::RequestId,
            "address" => Self::Address,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Json, String> {
        toml::from_str::<JsonSpec>(text).unwrap().resolve_request().map_err(|fault| fault.to_string())
    }

    #[test]
    fn pointers_are_decoded_and_what_is_none_is_refused() {
        let json = resolve(r#"remove = ["/a~1b/~0/0", "/"]"#).unwrap();
        assert_eq!(json.edits[0], JsonEdit::Remove(vec!["a/b".into(), "~".into(), "0".into()]));
        assert_eq!(json.edits[1], JsonEdit::Remove(vec![String::new()]));
        for bad in ["", "a", "#/a", "/a~", "/~2"] {
            assert!(resolve(&format!("remove = [\"{bad}\"]")).is_err(), "{bad}");
        }
        assert_eq!(resolve(r#"rename = { "/a/b" = "b" }"#).unwrap_err(), "rename./a/b: is its name already");
        assert!(resolve("").unwrap_err().contains("needs"));
    }

    #[test]
    fn values_become_text_with_places_for_what_is_known() {
        let json =
            resolve(r#"set = { "/a" = "{account_id}", "/b" = { n = 1.50, s = "{{\"{plan}\"}}" }, "/c" = [true] }"#).unwrap();
        let value = |n: usize| match &json.edits[n] {
            JsonEdit::Set(_, value) => value.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(value(0), [Piece::Whole(Fact::AccountId)]);
        let [Piece::Text(before), Piece::Within(Fact::Plan), Piece::Text(after)] = &value(1)[..] else {
            panic!("{:?}", value(1))
        };
        assert_eq!((before.as_str(), after.as_str()), (r#"{"n":1.5,"s":"{\""#, r#"\"}"}"#));
        assert_eq!(value(2), [Piece::Text("[true]".into())]);
        for bad in ["{who}", "{", "a}", "{account_id"] {
            assert!(resolve(&format!("set = {{ \"/a\" = \"{bad}\" }}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_changed_passes_up_and_is_refused_down() {
        let spec: JsonSpec = toml::from_str(r#"remove = ["/a"]"#).unwrap();
        assert_eq!(spec.resolve_request().unwrap().otherwise, Otherwise::Pass);
        let down = spec.resolve_answer().unwrap();
        assert_eq!((down.otherwise, down.size_max), (Otherwise::Refuse, 1 << 20));
        assert!(resolve("remove = [\"/a\"]\nsize_max = \"17MiB\"").unwrap_err().starts_with("size_max"));
    }
}
