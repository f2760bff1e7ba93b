//! Which paths a route is for, and templates that are filled from a request's path.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::settings::fault::Fault;

/// Segments of a route's path at most.
pub const SEGMENTS_MAX: usize = 63;
/// Parameters in a route's path at most.
pub const PARAMS_MAX: usize = 8;
const PATH_BYTES_MAX: usize = 1024;
const PARAM_CHARS_MAX: usize = 32;
/// What a redirect may say besides the path's own parameters.
const RESERVED_PARAMS: [&str; 3] = ["host", "path", "query"];

const NOT_A_PATH: &str =
    "must be whole segments of letters, digits and -._~!$&'()*+,=:@, without an empty one, `.` or `..`; or `{name}`";

/// How much of a request's path a route's path is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PathMatch {
    /// Itself and everything below it, by whole segments.
    #[default]
    Prefix,
    /// Itself only; a slash at its end makes no difference.
    Exact,
}

impl PathMatch {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A route's path, checked. Written the way requests are matched: normalised, so that no request can spell it
/// differently, and without the parameters of segments (`;v=1`), which matching ignores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    params: Vec<Range<u16>>,
    pub kind: PathMatch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Segment<'p> {
    Literal(&'p str),
    /// One whole segment, whatever it says. Its name.
    Param(&'p str),
}

impl PathPattern {
    pub fn parse(path: &str, kind: PathMatch) -> Result<Self, Fault> {
        let text = check(path)?;
        let mut pattern = Self { text, params: Vec::new(), kind };
        let mut names: Vec<&str> = Vec::new();
        let mut params = Vec::new();
        let mut at = 0;
        for segment in pattern.text.split('/') {
            if let Some(name) = param_name(segment) {
                if RESERVED_PARAMS.contains(&name) {
                    return Err(Fault::new(format!("`{{{name}}}` is a word of redirects; choose another name")));
                }
                if names.contains(&name) {
                    return Err(Fault::new(format!("`{{{name}}}` is there twice")));
                }
                names.push(name);
                // Bounded by PATH_BYTES_MAX.
                params.push((at + 1) as u16..(at + 1 + name.len()) as u16);
            }
            at += segment.len() + 1;
        }
        if params.len() > PARAMS_MAX {
            return Err(Fault::new(format!("more than {PARAMS_MAX} parameters")));
        }
        pattern.params = params;
        Ok(pattern)
    }

    /// Begins with `/`; no `/` at its end, except as the root.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// None for the root.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let segments = self.text.split('/').filter(|segment| !segment.is_empty());
        segments.map(|segment| param_name(segment).map_or(Segment::Literal(segment), Segment::Param))
    }

    /// In the order of the path.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.params.iter().map(|range| &self.text[usize::from(range.start)..usize::from(range.end)])
    }

    /// Which of the segments are parameters, one bit each.
    pub(super) fn arrangement(&self) -> u64 {
        let params = self.segments().enumerate().filter(|(_, segment)| matches!(segment, Segment::Param(_)));
        params.fold(0, |bits, (n, _)| bits | 1 << n)
    }

    /// The path without the names of its parameters: equal for paths that match the same requests.
    pub(super) fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.text.len());
        for segment in self.segments() {
            shape.push('/');
            shape.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::Param(_) => "{}",
            });
        }
        shape
    }
}

/// A path to be filled with a request's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    /// Texts and parameters; together they begin with `/` and do not end with one, except as the root.
    pub parts: Vec<PathPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPart {
    Text(String),
    /// Index among the route's parameters.
    Param(usize),
}

impl PathTemplate {
    pub(super) fn root() -> Self {
        Self { parts: vec![PathPart::Text("/".to_owned())] }
    }

    /// `text` may name the parameters of `pattern`, as whole segments: a part of a segment could make up `..`.
    pub(super) fn parse(text: &str, pattern: &PathPattern) -> Result<Self, Fault> {
        let text = check(text)?;
        if text == "/" {
            return Ok(Self::root());
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        for segment in text[1..].split('/') {
            literal.push('/');
            match param_name(segment) {
                None => literal.push_str(segment),
                Some(name) => {
                    parts.push(PathPart::Text(std::mem::take(&mut literal)));
                    parts.push(PathPart::Param(param_index(name, pattern)?));
                }
            }
        }
        if !literal.is_empty() {
            parts.push(PathPart::Text(literal));
        }
        Ok(Self { parts })
    }
}

pub(super) fn param_index(name: &str, pattern: &PathPattern) -> Result<usize, Fault> {
    let index = pattern.param_names().position(|param| param == name);
    index.ok_or_else(|| Fault::new(format!("the route's path has no parameter `{{{name}}}`")))
}

/// The path without a slash at its end.
fn check(path: &str) -> Result<String, Fault> {
    if !path.starts_with('/') {
        return Err(Fault::new("must start with /"));
    }
    if path == "/" {
        return Ok(path.to_owned());
    }
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let literal = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&b))
    };
    if trimmed.len() > PATH_BYTES_MAX || !trimmed[1..].split('/').all(|s| literal(s) || param_name(s).is_some()) {
        return Err(Fault::new(NOT_A_PATH));
    }
    if trimmed[1..].split('/').count() > SEGMENTS_MAX {
        return Err(Fault::new(format!("more than {SEGMENTS_MAX} segments")));
    }
    Ok(trimmed.to_owned())
}

pub(super) fn param_name(segment: &str) -> Option<&str> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    let fits = (1..=PARAM_CHARS_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(path: &str) -> PathPattern {
        PathPattern::parse(path, PathMatch::Prefix).unwrap()
    }

    #[test]
    fn a_path_is_literals_and_named_parameters() {
        let path = pattern("/orders/{id}/items/{itemId}/");
        assert_eq!(path.as_str(), "/orders/{id}/items/{itemId}");
        assert_eq!(path.param_names().collect::<Vec<_>>(), ["id", "itemId"]);
        assert_eq!((path.shape(), path.arrangement()), ("/orders/{}/items/{}".to_owned(), 0b1010));
        assert_eq!((pattern("/").segments().count(), pattern("/").shape()), (0, String::new()));
        for bad in ["/{}", "/{1a}", "/x{id}", "/{id}x", "/{a}/{a}", "/{path}", "/{a-b}", "/a;v=1", "/a/..", "/a//b", "", "a"] {
            assert!(PathPattern::parse(bad, PathMatch::Exact).is_err(), "{bad}");
        }
        let long = |n: usize| "/a".repeat(n);
        assert!(PathPattern::parse(&long(SEGMENTS_MAX), PathMatch::Prefix).is_ok());
        assert!(PathPattern::parse(&long(SEGMENTS_MAX + 1), PathMatch::Prefix).is_err());
        let params: String = (0..=PARAMS_MAX).map(|n| format!("/{{p{n}}}")).collect();
        assert!(PathPattern::parse(&params, PathMatch::Prefix).is_err());
    }

    #[test]
    fn a_template_names_parameters_that_there_are() {
        let orders = pattern("/orders/{id}/items/{item}");
        let template = PathTemplate::parse("/v2/{item}/of/{id}", &orders).unwrap();
        let text = |text: &str| PathPart::Text(text.to_owned());
        assert_eq!(template.parts, [text("/v2/"), PathPart::Param(1), text("/of/"), PathPart::Param(0)]);
        assert_eq!(PathTemplate::parse("/", &orders).unwrap(), PathTemplate::root());
        assert_eq!(PathTemplate::parse("/x/", &orders).unwrap().parts, [text("/x")]);
        for bad in ["/{other}", "/.{id}", "/a/{id}.json", "x", "/a?b"] {
            assert!(PathTemplate::parse(bad, &orders).is_err(), "{bad}");
        }
    }
}
