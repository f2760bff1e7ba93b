//! Compressing answers on the way to clients that take them so.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::settings::{
    fault::{Fault, Within as _},
    size,
};

const SIZE_MIN_DEFAULT: u64 = 1024;
const SIZE_MIN_MAX: u64 = 16 << 20;
const TYPES_MAX: usize = 64;

/// A compression as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CompressionSpec {
    /// What is used, the best first: `zstd`, `br` and `gzip` unless said. Among those that a client likes as much as each
    /// other the first is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codings: Vec<Coding>,
    /// Media types that are worth it: `text/html`, `text/*` or `*+json`. Text, JSON, XML, JavaScript, SVG and WebAssembly
    /// unless said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// The shortest body that is worth it, where the answer says how long it is: `1KiB` unless said.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, example = "1KiB"))]
    #[serde(default, with = "size", skip_serializing_if = "Option::is_none")]
    pub size_min: Option<ByteSize>,
    /// How much work is put into it: `normal` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
}

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    Zstd,
    Br,
    Gzip,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Fast,
    #[default]
    Normal,
    Best,
}

/// A compression, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// The best first.
    pub codings: Vec<Coding>,
    pub types: Vec<TypePattern>,
    /// Bytes.
    pub size_min: u64,
    pub level: Level,
}

/// In lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypePattern {
    Exactly(String),
    /// Everything that begins so, `text/`.
    Begins(String),
    /// Everything that ends so, `+json`.
    Ends(String),
}

impl Coding {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

const TYPES: [&str; 12] = [
    "text/*",
    "application/json",
    "*+json",
    "application/x-ndjson",
    "application/xml",
    "*+xml",
    "application/javascript",
    "application/x-javascript",
    "application/wasm",
    "application/graphql",
    "application/yaml",
    "font/ttf",
];

impl CompressionSpec {
    pub(super) fn resolve(&self) -> Result<Compression, Fault> {
        let mut codings = Vec::new();
        for (n, coding) in self.codings.iter().enumerate() {
            if codings.contains(coding) {
                return Err(Fault::new("is there already").within(n).within("codings"));
            }
            codings.push(*coding);
        }
        if codings.is_empty() {
            codings = vec![Coding::Zstd, Coding::Br, Coding::Gzip];
        }
        if self.types.len() > TYPES_MAX {
            return Err(Fault::at("types", format!("more than {TYPES_MAX}")));
        }
        let types = if self.types.is_empty() { TYPES.map(str::to_owned).to_vec() } else { self.types.clone() };
        let types = types.iter().enumerate().map(|(n, text)| pattern(text).within(n)).collect::<Result<_, _>>();
        let size_min = self.size_min.map_or(SIZE_MIN_DEFAULT, |size| size.as_u64());
        if size_min > SIZE_MIN_MAX {
            return Err(Fault::at("size_min", "must be at most 16MiB"));
        }
        Ok(Compression { codings, types: types.within("types")?, size_min, level: self.level.unwrap_or_default() })
    }
}

fn pattern(text: &str) -> Result<TypePattern, Fault> {
    let lower = text.to_ascii_lowercase();
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    if let Some(end) = lower.strip_prefix('*').filter(|end| end.starts_with('+') && is_token(end)) {
        return Ok(TypePattern::Ends(end.to_owned()));
    }
    match lower.split_once('/') {
        Some((kind, "*")) if is_token(kind) => Ok(TypePattern::Begins(format!("{kind}/"))),
        Some((kind, sub)) if is_token(kind) && is_token(sub) => Ok(TypePattern::Exactly(lower)),
        _ => Err(Fault::new(format!("`{text}` is not a media type such as `text/html`, `text/*` or `*+json`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Compression, String> {
        toml::from_str::<CompressionSpec>(text).unwrap().resolve().map_err(|fault| fault.to_string())
    }

    #[test]
    fn unless_said_all_codings_are_used_for_what_is_text() {
        let compression = resolve("").unwrap();
        assert_eq!(compression.codings, [Coding::Zstd, Coding::Br, Coding::Gzip]);
        assert_eq!((compression.size_min, compression.level, compression.types.len()), (1024, Level::Normal, TYPES.len()));
        assert_eq!(resolve("codings = [\"gzip\"]\nlevel = \"best\"").unwrap().codings, [Coding::Gzip]);
    }

    #[test]
    fn types_are_exact_or_end_or_begin_in_a_star() {
        let compression = resolve(r#"types = ["Text/HTML", "text/*", "*+json"]"#).unwrap();
        let expected =
            [TypePattern::Exactly("text/html".into()), TypePattern::Begins("text/".into()), TypePattern::Ends("+json".into())];
        assert_eq!(compression.types, expected);
        for bad in ["text", "*", "*/*", "*/html", "text/", "/html", "te*t/html", "*json", "text/html; charset=utf-8"] {
            assert!(resolve(&format!("types = [\"{bad}\"]")).is_err(), "{bad}");
        }
        assert_eq!(resolve("codings = [\"br\", \"br\"]").unwrap_err(), "codings[1]: is there already");
        assert!(resolve("size_min = \"17MiB\"").is_err());
    }
}
