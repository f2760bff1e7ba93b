//! Which types of events a webhook is told of: exact types, and patterns such as `product.*` and `*`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::events;

/// Patterns of one webhook at most.
pub(super) const PATTERNS_MAX: usize = 64;
/// Characters of a type at most.
const CHARS_MAX: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// `*`
    Every,
    /// `product.*`: with the dot, without the star.
    Below(String),
    Exact(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a type such as product.created, a pattern such as product.*, or *")]
pub struct MalformedPattern;

impl Pattern {
    /// Whether there can be events that it matches: an exact type is one of the catalogue, or an operator's own, whose names
    /// begin otherwise than all of those.
    pub(super) fn is_known(&self) -> bool {
        let Self::Exact(name) = self else { return true };
        let family = name.split('.').next().unwrap_or_default();
        events::find(name).is_some() || !events::all().any(|entry| entry.family() == family)
    }

    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Below(prefix) => event_type.len() > prefix.len() && event_type.starts_with(prefix.as_str()),
            Self::Exact(exact) => exact == event_type,
        }
    }
}

/// Words of lower-case letters, digits, `_` and `-`, joined by dots.
fn is_type(text: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
    };
    text.len() <= CHARS_MAX && text.split('.').all(word)
}

impl FromStr for Pattern {
    type Err = MalformedPattern;

    fn from_str(text: &str) -> Result<Self, MalformedPattern> {
        if text == "*" {
            return Ok(Self::Every);
        }
        if let Some(prefix) = text.strip_suffix(".*") {
            return if is_type(prefix) { Ok(Self::Below(format!("{prefix}."))) } else { Err(MalformedPattern) };
        }
        if !is_type(text) {
            return Err(MalformedPattern);
        }
        // An older name is taken for what the type is called now.
        let name = events::find(text).map_or(text, |entry| entry.name);
        Ok(Self::Exact(name.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every => f.write_str("*"),
            Self::Below(prefix) => write!(f, "{prefix}*"),
            Self::Exact(exact) => f.write_str(exact),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = MalformedPattern;

    fn try_from(text: String) -> Result<Self, MalformedPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_what_is_below_it_and_nothing_beside_it() {
        for (pattern, takes, leaves) in [
            ("*", &["product.created", "x"][..], &[][..]),
            ("product.*", &["product.created", "product.variant.created"], &["product", "product.", "products.created"]),
            ("product.created", &["product.created"], &["product.createds", "product.create", "Product.created"]),
        ] {
            let read: Pattern = pattern.parse().unwrap();
            assert_eq!(read.to_string(), pattern);
            assert!(takes.iter().all(|event| read.matches(event)), "{pattern}");
            assert!(!leaves.iter().any(|event| read.matches(event)), "{pattern}");
        }
    }

    #[test]
    fn the_seeds_old_names_are_taken_as_what_they_are_called_here() {
        for (old, here) in
            [("app.install", "app.installed"), ("app.uninstall", "app.uninstalled"), ("key.deleted", "key.revoked")]
        {
            assert_eq!(old.parse::<Pattern>().unwrap().to_string(), here);
        }
    }

    #[test]
    fn a_type_that_the_catalogue_would_have_is_known_by_it() {
        for (known, is) in [("product.created", true), ("product.create", false), ("product.*", true), ("orders.paid", true)] {
            assert_eq!(known.parse::<Pattern>().unwrap().is_known(), is, "{known}");
        }
    }

    #[test]
    fn what_is_no_type_and_no_pattern_is_refused() {
        for wrong in
            ["", ".", "a.", ".a", "a..b", "**", "*.created", "product*", "product.*.x", "A.b", "a b", "1a", &"a".repeat(200)]
        {
            assert_eq!(wrong.parse::<Pattern>(), Err(MalformedPattern), "{wrong}");
        }
    }
}
