//! What a request must carry besides host, path and method for a route to be for it.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};

use crate::settings::fault::{Fault, Within as _};

/// Conditions of one route at most, headers and query together.
pub const CONDITIONS_MAX: usize = 16;
const VALUE_CHARS_MAX: usize = 256;

/// Conditions, checked. All of them must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    headers: Vec<(HeaderName, Wanted)>,
    query: Vec<(String, Wanted)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// `"*"`: it is there, whatever it says.
    Present,
    /// It is there once and says exactly this.
    Exactly(String),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "*" => Ok(Self::Present),
            _ if text.len() > VALUE_CHARS_MAX => Err(Fault::new(format!("longer than {VALUE_CHARS_MAX} characters"))),
            // A header's value arrives without spaces around it, so that such a condition would never hold.
            _ if text.trim() != text || !text.bytes().all(|b| matches!(b, b' '..=b'~')) => {
                Err(Fault::new("must be printable ASCII without spaces around it, or `*`"))
            }
            _ => Ok(Self::Exactly(text.to_owned())),
        }
    }

    fn excludes(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Exactly(one), Self::Exactly(other)) if one != other)
    }
}

impl Conditions {
    pub(super) fn resolve(headers: &BTreeMap<String, String>, query: &BTreeMap<String, String>) -> Result<Self, Fault> {
        let mut conditions = Self::default();
        for (name, value) in headers {
            let wanted = header_name(name).and_then(|header| Ok((header, Wanted::parse(value)?)));
            let (header, wanted) = wanted.within(name.as_str()).within("headers")?;
            if conditions.headers.iter().any(|(other, _)| *other == header) {
                return Err(Fault::at(name, "is there twice, in two spellings").within("headers"));
            }
            conditions.headers.push((header, wanted));
        }
        for (name, value) in query {
            if name.is_empty() {
                return Err(Fault::at("query", "a parameter needs a name"));
            }
            let wanted = Wanted::parse(value).within(name.as_str()).within("query")?;
            conditions.query.push((name.clone(), wanted));
        }
        if conditions.len() > CONDITIONS_MAX {
            return Err(Fault::at("headers", format!("more than {CONDITIONS_MAX} conditions, with `query`")));
        }
        Ok(conditions)
    }

    pub fn len(&self) -> usize {
        self.headers.len() + self.query.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn headers(&self) -> &[(HeaderName, Wanted)] {
        &self.headers
    }

    /// Names and values are compared with what a request's query says once decoded.
    pub fn query(&self) -> &[(String, Wanted)] {
        &self.query
    }

    /// Whether these headers meet the conditions that speak of headers.
    pub fn hold_for_headers(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|(name, wanted)| match wanted {
            Wanted::Present => headers.contains_key(name),
            Wanted::Exactly(text) => {
                let mut values = headers.get_all(name).iter();
                values.next().is_some_and(|value| value.as_bytes() == text.as_bytes()) && values.next().is_none()
            }
        })
    }

    /// Whether no request can meet both.
    pub(super) fn exclude(&self, other: &Self) -> bool {
        fn any<N: PartialEq>(ours: &[(N, Wanted)], theirs: &[(N, Wanted)]) -> bool {
            ours.iter().any(|(name, wanted)| theirs.iter().any(|(n, other)| name == n && wanted.excludes(other)))
        }
        any(&self.headers, &other.headers) || any(&self.query, &other.query)
    }
}

fn header_name(name: &str) -> Result<HeaderName, Fault> {
    let header: HeaderName = name.parse().map_err(|_| Fault::new("is not a header's name"))?;
    // Only a client that forges them sends these.
    if header.as_str().replace(['_', '.'], "-").starts_with("x-clearway") {
        return Err(Fault::new("is a header that only the gateway sends"));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(headers: &[(&str, &str)], query: &[(&str, &str)]) -> Result<Conditions, Fault> {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Conditions::resolve(&map(headers), &map(query))
    }

    #[test]
    fn conditions_exclude_each_other_where_one_name_is_to_say_two_things() {
        let of = |headers: &[(&str, &str)], query: &[(&str, &str)]| conditions(headers, query).unwrap();
        let version = |v| of(&[("X-API-Version", v)], &[]);
        assert!(version("1").exclude(&version("2")));
        assert!(!version("1").exclude(&version("1")) && !version("1").exclude(&version("*")));
        assert!(!version("1").exclude(&of(&[("x-other", "1")], &[])));
        assert!(of(&[], &[("a", "1")]).exclude(&of(&[("b", "1")], &[("a", "2")])));
    }

    #[test]
    fn a_condition_that_could_never_hold_is_refused() {
        for (name, value) in [("x y", "1"), ("x-a", " 1"), ("x-a", "é"), ("X-Clearway-Plan", "pro"), ("x_clearway_plan", "*")] {
            assert!(conditions(&[(name, value)], &[]).is_err(), "{name}: {value}");
        }
        assert!(conditions(&[("X-A", "1"), ("x-a", "2")], &[]).is_err());
        assert!(conditions(&[], &[("", "1")]).is_err());
        let many: Vec<_> = (0..=CONDITIONS_MAX).map(|n| format!("x-{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "*")).collect();
        assert!(conditions(&many, &[]).is_err());
    }
}
