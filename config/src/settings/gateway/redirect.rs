//! Answering with another place instead of forwarding.

use serde::{Deserialize, Serialize};

use super::path::{PathPattern, param_index};
use crate::settings::fault::Fault;

const TO_CHARS_MAX: usize = 1024;

/// A redirect as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RedirectSpec {
    /// Where to: a URL with `https://` or `http://`, or a path. `{host}` is the request's host, `{path}` its whole path,
    /// `{query}` its query with the `?`, if it has one, and `{name}` a parameter of the route's path.
    #[cfg_attr(feature = "openapi", schema(example = "https://{host}{path}{query}"))]
    pub to: String,
    /// 301, 302, 303, 307 or 308; 308 unless said.
    #[serde(default = "permanent", skip_serializing_if = "is_permanent")]
    pub status: u16,
}

/// A redirect, checked: nothing that a client sends can choose the host of the target, but by its own Host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub to: Vec<TargetPart>,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPart {
    Text(String),
    Host,
    Path,
    Query,
    /// Index among the route's parameters.
    Param(usize),
}

fn permanent() -> u16 {
    308
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_permanent(status: &u16) -> bool {
    *status == permanent()
}

impl RedirectSpec {
    pub(super) fn resolve(&self, pattern: &PathPattern) -> Result<Redirect, Fault> {
        if !matches!(self.status, 301 | 302 | 303 | 307 | 308) {
            return Err(Fault::at("status", "must be 301, 302, 303, 307 or 308"));
        }
        let to = parse(&self.to, pattern).map_err(|fault| fault.within("to"))?;
        Ok(Redirect { to, status: self.status })
    }
}

/// Where in the target the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Authority,
    Path,
    Query,
    End,
}

fn parse(text: &str, pattern: &PathPattern) -> Result<Vec<TargetPart>, Fault> {
    if text.len() > TO_CHARS_MAX {
        return Err(Fault::new(format!("longer than {TO_CHARS_MAX} characters")));
    }
    let mut parts = Vec::new();
    let absolute = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let (mut place, mut rest) = match absolute {
        Some(rest) => {
            parts.push(TargetPart::Text(text[..text.len() - rest.len()].to_owned()));
            (Place::Authority, rest)
        }
        // Two slashes would begin with an authority.
        None if text.starts_with("{path}") || (text.starts_with('/') && !text.starts_with("//")) => (Place::Path, text),
        None => return Err(Fault::new("must begin with https://, http:// or one /")),
    };
    let mut authority_bytes = 0;
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(|| Fault::new("a `{` is not closed"))?;
            parts.push(word(name, &mut place, &mut authority_bytes, parts.last(), behind, pattern)?);
            rest = behind;
            continue;
        }
        let end = rest.find('{').unwrap_or(rest.len());
        let (literal, behind) = rest.split_at(end);
        check_literal(literal, &mut place, &mut authority_bytes)?;
        parts.push(TargetPart::Text(literal.to_owned()));
        rest = behind;
    }
    if absolute.is_some() && authority_bytes == 0 {
        return Err(Fault::new("the host is missing"));
    }
    Ok(parts)
}

fn word(
    name: &str,
    place: &mut Place,
    authority_bytes: &mut usize,
    before: Option<&TargetPart>,
    behind: &str,
    pattern: &PathPattern,
) -> Result<TargetPart, Fault> {
    let misplaced = |why: &str| Err(Fault::new(format!("`{{{name}}}` {why}")));
    let ends_with_slash = matches!(before, Some(TargetPart::Text(text)) if text.ends_with('/'));
    match (name, *place) {
        ("host", Place::Authority) if *authority_bytes == 0 => {
            if !(behind.is_empty() || behind.starts_with(['/', ':']) || behind.starts_with("{path}")) {
                return misplaced("must be the whole host");
            }
            *authority_bytes += 1;
            Ok(TargetPart::Host)
        }
        ("host", _) => misplaced("can only be the whole host"),
        ("path", Place::Authority | Place::Path) => {
            if ends_with_slash {
                return misplaced("begins with a slash itself");
            }
            if *place == Place::Authority && *authority_bytes == 0 {
                return misplaced("needs a host before it");
            }
            *place = Place::Path;
            Ok(TargetPart::Path)
        }
        ("query", Place::Authority | Place::Path) if *place == Place::Path || *authority_bytes > 0 => {
            *place = Place::End;
            if behind.is_empty() { Ok(TargetPart::Query) } else { misplaced("must be the end") }
        }
        ("path" | "query", _) => misplaced("cannot be there"),
        // A part of a segment could make up `..`; a part of a host, another host.
        (param, Place::Path) if ends_with_slash && (behind.is_empty() || behind.starts_with(['/', '?', '{'])) => {
            if behind.starts_with('{') && !behind.starts_with("{query}") {
                return misplaced("must be a whole segment of the path");
            }
            param_index(param, pattern).map(TargetPart::Param)
        }
        (param, Place::Query) => param_index(param, pattern).map(TargetPart::Param),
        _ => misplaced("must be a whole segment of the path"),
    }
}

fn check_literal(literal: &str, place: &mut Place, authority_bytes: &mut usize) -> Result<(), Fault> {
    for byte in literal.bytes() {
        let fits = match *place {
            Place::Authority => match byte {
                b'/' => {
                    *place = Place::Path;
                    *authority_bytes > 0
                }
                b'?' => false,
                _ => {
                    *authority_bytes += 1;
                    byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte)
                }
            },
            Place::Path if byte == b'?' => {
                *place = Place::Query;
                true
            }
            Place::Path => byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte),
            Place::Query => byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&byte),
            Place::End => false,
        };
        if !fits {
            return Err(Fault::new(format!("`{}` cannot be there", char::from(byte).escape_default())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::gateway::path::PathMatch;

    fn resolve(to: &str, status: u16) -> Result<Redirect, String> {
        let pattern = PathPattern::parse("/old/{id}", PathMatch::Prefix).unwrap();
        RedirectSpec { to: to.to_owned(), status }.resolve(&pattern).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_target_is_texts_and_words() {
        let text = |text: &str| TargetPart::Text(text.to_owned());
        for (to, parts) in [
            ("https://{host}{path}", vec![text("https://"), TargetPart::Host, TargetPart::Path]),
            ("https://{host}:8443{path}{query}", {
                vec![text("https://"), TargetPart::Host, text(":8443"), TargetPart::Path, TargetPart::Query]
            }),
            ("https://new.example/v2/{id}", vec![text("https://"), text("new.example/v2/"), TargetPart::Param(0)]),
            ("/v2/{id}{query}", vec![text("/v2/"), TargetPart::Param(0), TargetPart::Query]),
            ("/find?old={id}&x=1", vec![text("/find?old="), TargetPart::Param(0), text("&x=1")]),
            ("{path}", vec![TargetPart::Path]),
        ] {
            assert_eq!(resolve(to, 308).map(|redirect| redirect.to), Ok(parts), "{to}");
        }
    }

    #[test]
    fn no_target_lets_a_client_choose_the_host_or_a_header() {
        for to in [
            "",
            "//evil.example",
            "https://",
            "https:///x",
            "https://{id}.example.com/",
            "https://{id}",
            "https://{path}",
            "https://a.{host}/",
            "https://{host}.evil.example/",
            "https://user@evil.example/",
            "javascript:alert(1)",
            "ftp://a/",
            "/{path}",
            "/a{id}",
            "/.{id}",
            "/{id}{id}",
            "/{other}",
            "/a\r\nX: y",
            "/a b",
            "/{query}{path}",
            "/a{id",
            "{host}",
            "{id}",
            "/x\\y",
        ] {
            assert!(resolve(to, 308).is_err(), "{to:?}: {:?}", resolve(to, 308));
        }
        assert_eq!(resolve("/a", 200).unwrap_err(), "status: must be 301, 302, 303, 307 or 308");
    }
}
