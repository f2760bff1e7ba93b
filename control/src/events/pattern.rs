//! Which types somebody wants: one by its name, or by one of its older names; all of a noun, `product.*`; or all, `*`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{catalogue, types::NAME_CHARS_MAX};

/// Older names have become the present ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a type such as key.created, all of a kind such as key.*, or *")]
pub struct MalformedPattern;

impl Pattern {
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => kind.starts_with(start),
            None => self.0 == kind,
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = MalformedPattern;

    /// The type need not be there yet.
    fn from_str(text: &str) -> Result<Self, MalformedPattern> {
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let name = text.strip_suffix(".*").unwrap_or(text);
        if text.len() > NAME_CHARS_MAX || !name.split('.').all(word) || (name == text && !name.contains('.')) {
            return Err(MalformedPattern);
        }
        Ok(Self(catalogue::find(text).map_or(text, |entry| entry.name).to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Pattern {
    type Error = MalformedPattern;

    fn try_from(text: String) -> Result<Self, MalformedPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(Pattern(text): Pattern) -> Self {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_a_type_its_older_name_all_of_a_noun_or_everything() {
        for (pattern, kind, takes) in [
            ("key.created", "key.created", true),
            ("key.created", "key.revoked", false),
            ("key.deleted", "key.revoked", true),
            ("key.*", "key.revoked", true),
            ("key.*", "keyring.made", false),
            ("webhook.endpoint.*", "webhook.endpoint.failing", true),
            ("webhook.*", "webhook.endpoint.failing", true),
            ("*", "order.shipped", true),
            ("order.shipped", "order.shipped", true),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(kind), takes, "{pattern} {kind}");
        }
        for wrong in ["", "key", "*.created", "key.*.x", "key.c*", "Key.created", "key.", ".*", "**"] {
            assert_eq!(wrong.parse::<Pattern>(), Err(MalformedPattern), "{wrong}");
        }
    }
}
