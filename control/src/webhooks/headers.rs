//! What a webhook may have sent beside what every webhook is sent.

use std::{fmt, str::FromStr};

use clearway_filters::webhook;
use serde::{Deserialize, Serialize};

/// Headers of one webhook at most.
pub(super) const HEADERS_MAX: usize = 16;
/// Characters of a header's name and of its value at most.
pub(super) const NAME_CHARS_MAX: usize = 64;
pub(super) const VALUE_CHARS_MAX: usize = 1_024;
/// Characters of a value of `Authorization` at most.
pub(super) const AUTHORIZATION_CHARS_MAX: usize = 4_096;

/// A header that is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// What decides where a message ends, whom it is for, or who says so (RFC 9110, 7.6.1; RFC 9112), and what is ours to say.
const REFUSED: [&str; 14] = [
    "accept-encoding",
    "connection",
    "cookie",
    "date",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];
const REFUSED_BEGINNINGS: [&str; 5] = ["content-", "clearway-", "proxy-", "sec-", "webhook-"];

/// Reads one; the reason where it is refused.
pub(super) fn header(name: &str, value: &str) -> Result<Header, String> {
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(is_token) {
        return Err(format!("a name must have 1 to {NAME_CHARS_MAX} letters, digits or marks such as -"));
    }
    let lower = name.to_ascii_lowercase();
    if lower == "authorization" {
        return Err("Authorization is set by the field `authorization`, which is stored sealed and not shown".into());
    }
    if is_signature(&lower)
        || REFUSED.contains(&lower.as_str())
        || REFUSED_BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
    {
        return Err(format!("{lower} cannot be set"));
    }
    if value.len() > VALUE_CHARS_MAX || !is_value(value) {
        return Err(format!("{lower} must have at most {VALUE_CHARS_MAX} visible ASCII characters and blanks between them"));
    }
    Ok(Header { name: name.to_owned(), value: value.to_owned() })
}

/// A value of `Authorization`.
pub(super) fn is_authorization(value: &str) -> bool {
    (1..=AUTHORIZATION_CHARS_MAX).contains(&value.len()) && is_value(value)
}

/// `X-<Brand>-Signature`, of whatever brand: an account may be given another.
fn is_signature(lower: &str) -> bool {
    lower.starts_with("x-") && lower.ends_with("-signature")
}

fn is_value(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && value.trim() == value
}

/// RFC 9110, 5.6.2.
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// The word in `X-<Brand>-Signature`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} letters, digits and single - between them", webhook::BRAND_CHARS_MAX)]
pub struct MalformedBrand;

impl FromStr for Brand {
    type Err = MalformedBrand;

    fn from_str(text: &str) -> Result<Self, MalformedBrand> {
        if webhook::brand_header(text).is_some() { Ok(Self(text.to_owned())) } else { Err(MalformedBrand) }
    }
}

impl Brand {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_headers_are_refused_in_any_case() {
        for name in [
            "Host",
            "CONTENT-LENGTH",
            "Content-Type",
            "content-encoding",
            "Connection",
            "Keep-Alive",
            "Proxy-Authorization",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Expect",
            "webhook-id",
            "Webhook-Signature",
            "clearway-attempt",
            "X-Clearway-Signature",
            "x-sedifex-signature",
            "Authorization",
            "Cookie",
            "User-Agent",
            "",
            "a b",
            "a:b",
            "ä",
            "a\r\nb",
        ] {
            assert!(header(name, "x").is_err(), "{name}");
        }
        for name in ["X-Custom-Header", "X-Api-Key", "Accept", "x-tenant"] {
            assert!(header(name, "value, with blanks").is_ok(), "{name}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        for value in ["a\r\nb", "a\nb", "a\0", " a", "a ", "\ta", "ä", &"x".repeat(VALUE_CHARS_MAX + 1)] {
            assert!(header("x-a", value).is_err(), "{value:?}");
        }
        assert!(header("x-a", "").is_ok());
        assert!(is_authorization("Bearer abc") && !is_authorization("") && !is_authorization("a\nb"));
    }

    #[test]
    fn a_brand_is_a_word_of_a_headers_name() {
        for good in ["Clearway", "Sedifex", "a-1"] {
            assert!(good.parse::<Brand>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a--b", "a_b", "a b", "ä", &"a".repeat(33)] {
            assert!(bad.parse::<Brand>().is_err(), "{bad}");
        }
    }
}
