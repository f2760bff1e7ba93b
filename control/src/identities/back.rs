//! Where a browser goes in the end: a path of ours, and nowhere else.

use clearway_config::ErrorCode;
use serde_json::Value;

use crate::http::fields::{Wrong, text};

/// Characters in a path at most; an authorization request of an application is in it, with a state of any text.
const CHARS_MAX: usize = 12_000;
/// Below it are the operator's own pages, which sign people in by the API.
const PORTAL: &str = "/portal/";
/// Pages of ours that send people to the one that they sign in on.
const PAGES: [&str; 2] = ["/oauth/authorize?", "/oauth/device?"];
/// Unless something else is asked for.
pub(super) const HOME: &str = PORTAL;
/// Where they are sent: it leads back to where they came from, and tells by itself what has to be told.
const SIGN_IN: &str = "/oauth/sign-in";

/// A path of ours as a form's field. What a browser could read as another address, or as a way around the list, is none.
pub(super) fn return_to(value: &Value) -> Result<String, Wrong> {
    let path = text(CHARS_MAX)(value)?;
    if is_ours(&path) {
        Ok(path)
    } else {
        Err(("format_invalid", "must be a path that begins with /portal/, or an authorization request".into()))
    }
}

/// Whether it leads to a page that sends people to sign in, as they are written there.
pub fn is_page(path: &str) -> bool {
    path.len() <= CHARS_MAX && is_ours(path) && PAGES.iter().any(|page| path.starts_with(page))
}

/// The page on which whoever comes from `page` signs in; why they have not yet, where that is to be told.
pub(super) fn sign_in_page(page: &str, error: Option<ErrorCode>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", page);
    query.extend_pairs(error.map(|code| ("error", code.as_str())));
    format!("{SIGN_IN}?{}", query.finish())
}

fn is_ours(path: &str) -> bool {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"' | b'<' | b'>'));
    let before_query = path.split('?').next().unwrap_or_default();
    let straight = !before_query.contains("//") && !before_query.contains("..") && !before_query.contains('%');
    plain && straight && PAGES.iter().chain([&PORTAL]).any(|allowed| path.starts_with(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for good in [
            "/portal/",
            "/portal/keys?page=2",
            "/oauth/device?",
            "/oauth/authorize?client_id=x&redirect_uri=https%3A%2F%2Fa.example%2F",
        ] {
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
            "/oauth/sign-in?",
        ] {
            assert!(!is_ours(bad) && !is_page(bad), "{bad}");
        }
        assert!(is_page("/oauth/device?") && !is_page("/portal/"));
        assert!(!is_page(&format!("/oauth/authorize?{}", "x".repeat(CHARS_MAX))));
    }
}
