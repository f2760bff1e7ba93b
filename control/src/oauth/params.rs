//! The parameters of OAuth's endpoints: a query or a form, each at most once (RFC 6749, 3.1 and 3.2), all bounded.

use std::collections::HashMap;

use axum::{body::Body, extract::Request};
use http::header;
use zeroize::Zeroizing;

/// Bytes in a query or a form at most.
pub(super) const BYTES_MAX: usize = 16 * 1024;
/// Parameters in it at most.
const PARAMS_MAX: usize = 64;

/// By name. Values may be secrets: they are not printed, and forgotten when dropped.
#[derive(Default)]
pub(super) struct Params(HashMap<String, Zeroizing<String>>);

/// Why parameters cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("there is more than {BYTES_MAX} bytes of parameters, or {PARAMS_MAX} of them")]
    TooMany,
    #[error("the parameter {0} is there twice")]
    Twice(String),
    #[error("the body must be application/x-www-form-urlencoded")]
    NotAForm,
}

impl Params {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        if text.len() > BYTES_MAX {
            return Err(Unreadable::TooMany);
        }
        let mut params = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            // Without a value it is as if it were not there (RFC 6749, 3.1).
            if value.is_empty() {
                continue;
            }
            if params.len() == PARAMS_MAX {
                return Err(Unreadable::TooMany);
            }
            if params.insert(name.clone().into_owned(), Zeroizing::new(value.into_owned())).is_some() {
                return Err(Unreadable::Twice(shown(&name)));
            }
        }
        Ok(Self(params))
    }

    /// Those that were read before.
    pub(super) fn of_pairs(pairs: impl Iterator<Item = (String, String)>) -> Self {
        Self(pairs.map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }

    /// The form that a request carries.
    pub(super) async fn of_body(request: Request) -> Result<Self, Unreadable> {
        let said = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = said.split(';').next().unwrap_or_default().trim();
        let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let body: Body = request.into_body();
        let bytes = axum::body::to_bytes(body, BYTES_MAX).await.map_err(|_| Unreadable::TooMany)?;
        if !is_form {
            return Err(Unreadable::NotAForm);
        }
        Self::parse(&bytes)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Params").field(&self.0.len()).finish()
    }
}

/// A name that a stranger chose, for an answer: RFC 6749 allows few characters there (5.2).
fn shown(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_there_twice_is_refused_and_an_empty_one_is_none() {
        assert_eq!(Params::parse(b"a=1&a=1").unwrap_err(), Unreadable::Twice("a".into()));
        let params = Params::parse(b"a=&b=x%20y").unwrap();
        assert_eq!((params.get("a"), params.get("b")), (None, Some("x y")));
        assert_eq!(Params::parse(&vec![b'a'; BYTES_MAX + 1]).unwrap_err(), Unreadable::TooMany);
        let many: String = (0..=PARAMS_MAX).map(|n| format!("p{n}=1&")).collect();
        assert_eq!(Params::parse(many.as_bytes()).unwrap_err(), Unreadable::TooMany);
    }
}
