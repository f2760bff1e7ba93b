//! The pages that people see: plain HTML that needs no script and loads nothing but one of ours, where there is use for it.
//! Everything shown is escaped.

use std::fmt::Write as _;

use axum::response::{Html, IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.4rem}label{display:block;margin:.8rem 0 .2rem}input,select,button{font:inherit;padding:.5rem .7rem}\
input,select{width:100%;box-sizing:border-box}button{margin:1rem .5rem 0 0}.wrong{color:#a40000}small{color:#555}";

/// Text as HTML shows it, between tags and in quotes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Of no use in a page, but to make one text look like another.
                c if c.is_control()
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}') => {}
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A page. Its forms go to ourselves, and from there on to `leads_to`: browsers hold a redirect to that, too.
pub(super) fn page(status: StatusCode, title: &str, body: &str, leads_to: Option<&str>) -> Response {
    let forms = leads_to.map(|origin| format!(" {origin}")).unwrap_or_default();
    written(status, title, body, "", &format!("form-action 'self'{forms}"))
}

/// A page with a script, which is a file of ours at this path, and may ask ourselves.
pub(super) fn page_with_script(status: StatusCode, title: &str, body: &str, path: &'static str) -> Response {
    let script = format!("<script src=\"{path}\" defer></script>");
    written(status, title, body, &script, "form-action 'self'; script-src 'self'; connect-src 'self'")
}

fn written(status: StatusCode, title: &str, body: &str, script: &str, may: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style>{script}</head>\n\
         <body><main><h1>{title}</h1>\n{body}</main></body></html>\n",
        title = Escaped(title),
    );
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; {may}; frame-ancestors 'none'; base-uri 'none'");
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    // An origin is ASCII without blanks or semicolons.
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}

/// A page that says what is wrong, and leads nowhere.
pub(super) fn wrong(status: StatusCode, says: &str) -> Response {
    page(status, "This did not work", &format!("<p class=\"wrong\">{}</p>\n", Escaped(says)), None)
}

/// Sends a browser elsewhere by GET, whatever it came by (RFC 9700, 4.12).
pub(super) fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        return wrong(StatusCode::BAD_REQUEST, "The address to go on to cannot be written.");
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A hidden field of a form.
pub(super) fn hidden(into: &mut String, name: &str, value: &str) {
    writeln!(into, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", Escaped(name), Escaped(value))
        .expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_is_shown_and_never_run() {
        let hostile = "\"><script>alert('x')</script>\u{202e}&";
        assert_eq!(Escaped(hostile).to_string(), "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;");
    }
}
