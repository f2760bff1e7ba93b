//! Where a browser goes in the end: a path of ours, and nowhere else.

use serde_json::Value;

use crate::http::fields::{Wrong, text};

/// Characters in a path at most; an authorization request of an application is in it.
const CHARS_MAX: usize = 2_000;
/// Pages that people sign in from.
const ALLOWED: [&str; 2] = ["/portal/", "/oauth/authorize?"];
/// Unless something else is asked for.
pub(super) const HOME: &str = "/portal/";

/// A path of ours as a form's field. What a browser could read as another address, or as a way around the list, is none.
pub(super) fn return_to(value: &Value) -> Result<String, Wrong> {
    let path = text(CHARS_MAX)(value)?;
    if is_ours(&path) {
        Ok(path)
    } else {
        Err(("format_invalid", "must be a path that begins with /portal/, or an authorization request".into()))
    }
}

fn is_ours(path: &str) -> bool {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"' | b'<' | b'>'));
    let before_query = path.split('?').next().unwrap_or_default();
    let straight = !before_query.contains("//") && !before_query.contains("..") && !before_query.contains('%');
    plain && straight && ALLOWED.iter().any(|allowed| path.starts_with(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for good in ["/portal/", "/portal/keys?page=2", "/oauth/authorize?client_id=x&redirect_uri=https%3A%2F%2Fa.example%2F"] {
            assert!(is_ours(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "portal/",
            "//evil.example/portal/",
            "https://evil.example/portal/",
            "/\\evil.example",
            "/portal/../api/v1",
            "/portal//evil.example",
            "/portal/%2e%2e/x",
            "/portal/#x",
            "/portal/\r\nset-cookie: x",
            "/portal",
            "/oauth/authorize",
            "/portal/\\..",
            "javascript:alert(1)",
            "/api/v1/keys",
            "/oauth/token?",
        ] {
            assert!(!is_ours(bad), "{bad}");
        }
    }
}
