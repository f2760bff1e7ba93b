//! Which of a client's headers an upstream never sees.
//!
//! Hop-by-hop headers and those that Connection nominates; names by which the gateway itself speaks
//! to upstreams (`X-Clearway-*`, `X-Request-Id`, `traceparent`, `X-Forwarded-*` …), which a client could
//! otherwise speak in its stead; headers that change method or path behind the gateway's back; and
//! credentials, unless a route keeps them.
//!
//! Names are compared in any spelling: many servers take `_` and some take `.` for `-`, and every
//! such alias has been somebody's bypass. Nothing is removed here; the caller holds the headers that
//! are forwarded. Content-Length and Transfer-Encoding stay: they are the transport's, and the
//! request view has checked them.

use http::{HeaderMap, header::CONNECTION, header::HeaderName};

/// Longest name that is stripped as a whole; of longer ones only the beginning matters.
const SPELLING_BYTES: usize = 32;

/// Whether this is a header that authenticates a client to the gateway, in any spelling.
pub fn is_credential(name: &str) -> bool {
    Spelling::of(name).is_one_of(is_credential_name)
}

/// Whether a client's header of this name is kept from the upstream. A credential in a spelling that
/// the gateway does not read is never forwarded, so that no upstream reads one that was not checked.
pub fn is_stripped(name: &str, keep_credentials: bool) -> bool {
    let spelling = Spelling::of(name);
    spelling.is_one_of(is_reserved)
        || (!(keep_credentials && spelling.is_canonical()) && spelling.is_one_of(is_credential_name))
        || (!spelling.is_canonical() && spelling.is_one_of(is_framing))
}

/// The names in `headers` that are kept from the upstream, those that Connection nominates included.
pub fn stripped(headers: &HeaderMap, keep_credentials: bool) -> impl Iterator<Item = &HeaderName> {
    let stripping = Stripping::of(headers, keep_credentials);
    headers.keys().filter(move |name| stripping.strips(name.as_str()))
}

/// [`stripped`] for a caller that looks at one header after the other.
#[derive(Debug, Clone, Copy)]
pub struct Stripping<'h> {
    keep_credentials: bool,
    /// Where Connection nominates any.
    nominating: Option<&'h HeaderMap>,
}

impl<'h> Stripping<'h> {
    /// Of a request with these headers.
    pub fn of(headers: &'h HeaderMap, keep_credentials: bool) -> Self {
        let nominates = connection_tokens(headers).any(|token| !is_connection_option(token));
        Self { keep_credentials, nominating: nominates.then_some(headers) }
    }

    /// Whether the header of this name, in lower case, is kept from the upstream.
    pub fn strips(&self, name: &str) -> bool {
        is_stripped(name, self.keep_credentials) || self.nominating.is_some_and(|headers| is_nominated(headers, name))
    }
}

/// Content-Length or Transfer-Encoding, spelled so that only some servers take it for that.
pub(crate) fn is_alias_of_framing(name: &str) -> bool {
    let spelling = Spelling::of(name);
    !spelling.is_canonical() && spelling.is_one_of(is_framing)
}

/// A header without which the request would be another one.
pub(crate) fn is_load_bearing(token: &[u8]) -> bool {
    std::str::from_utf8(token).is_ok_and(|token| {
        Spelling::of(&token.to_ascii_lowercase())
            .is_one_of(|name| is_framing(name) || is_credential_name(name) || matches!(name, "host" | "cookie" | "content-type"))
    })
}

/// The comma-separated words of all Connection headers.
pub(crate) fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).into_iter();
    values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

fn is_connection_option(token: &[u8]) -> bool {
    token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close") || token.eq_ignore_ascii_case(b"upgrade")
}

fn is_nominated(headers: &HeaderMap, name: &str) -> bool {
    connection_tokens(headers).any(|token| {
        token.len() == name.len() && token.iter().zip(name.bytes()).all(|(&a, b)| hyphened(a.to_ascii_lowercase()) == hyphened(b))
    })
}

fn is_credential_name(name: &str) -> bool {
    matches!(name, "authorization" | "x-api-key" | "dpop")
}

fn is_framing(name: &str) -> bool {
    matches!(name, "content-length" | "transfer-encoding")
}

fn is_reserved(name: &str) -> bool {
    match name {
        // Of this hop only: RFC 9110, 7.6.1, and what older software adds.
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "te"
        | "trailer"
        | "upgrade"
        | "http2-settings" => true,
        // The gateway's own words: identity, address, trace.
        "x-request-id"
        | "traceparent"
        | "tracestate"
        | "forwarded"
        | "x-real-ip"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "true-client-ip"
        | "cf-connecting-ip"
        | "fastly-client-ip" => true,
        // Another method or path than the one that was checked; and `Proxy`, which CGI takes for a setting.
        "x-http-method"
        | "x-http-method-override"
        | "x-method-override"
        | "x-original-url"
        | "x-rewrite-url"
        | "x-original-uri"
        | "x-original-method"
        | "x-original-host"
        | "x-host"
        | "proxy" => true,
        _ => name.starts_with("x-clearway") || name.starts_with("x-forwarded"),
    }
}

fn hyphened(byte: u8) -> u8 {
    if matches!(byte, b'_' | b'.') { b'-' } else { byte }
}

/// A lower-case header name, and what it is with `_` and `.` read as `-`.
struct Spelling<'n> {
    name: &'n str,
    hyphened: Option<[u8; SPELLING_BYTES]>,
}

impl<'n> Spelling<'n> {
    fn of(name: &'n str) -> Self {
        if !name.bytes().any(|byte| matches!(byte, b'_' | b'.')) {
            return Self { name, hyphened: None };
        }
        let mut to = [b' '; SPELLING_BYTES];
        for (to, byte) in to.iter_mut().zip(name.bytes()) {
            *to = hyphened(byte);
        }
        Self { name, hyphened: Some(to) }
    }

    fn is_canonical(&self) -> bool {
        self.hyphened.is_none()
    }

    fn is_one_of(&self, names: impl Fn(&str) -> bool) -> bool {
        match &self.hyphened {
            None => names(self.name),
            // A name that was cut is longer than all that are compared as a whole, and keeps its beginning.
            Some(bytes) => std::str::from_utf8(&bytes[..self.name.len().min(SPELLING_BYTES)]).is_ok_and(names),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        headers.iter().map(header).collect()
    }

    fn stripped_names(headers: &[(&str, &str)], keep_credentials: bool) -> Vec<String> {
        let mut names: Vec<_> = stripped(&map(headers), keep_credentials).map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_gateways_own_names_are_stripped_in_every_spelling() {
        for name in
            ["X-Clearway-Account-Id", "X-Request-Id", "X-Forwarded-For", "X-Forwarded-Prefix", "X-Real-IP", "X-Original-URL"]
        {
            for spelled in [
                name.to_owned(),
                name.to_uppercase(),
                name.replace('-', "_"),
                name.replace('-', "."),
                name.replacen('-', "_", 1),
                name.replacen('-', ".", 1).replacen('-', "_", 1),
            ] {
                assert_eq!(stripped_names(&[(&spelled, "x")], true).len(), 1, "{spelled}");
            }
        }
        for name in
            ["traceparent", "tracestate", "x_clearway_a_name_that_is_longer_than_every_other", "Proxy", "te", "http2-settings"]
        {
            assert_eq!(stripped_names(&[(name, "x")], true).len(), 1, "{name}");
        }
    }

    #[test]
    fn ordinary_headers_are_forwarded() {
        let ordinary = [
            ("accept", "*/*"),
            ("content-length", "3"),
            ("content-type", "text/plain"),
            ("cookie", "a=b"),
            ("host", "a"),
            ("user-agent", "x"),
            ("x-forward", "x"),
            ("x_custom", "x"),
            ("x.custom.name_that_is_longer_than_every_reserved_one", "x"),
        ];
        assert_eq!(stripped_names(&ordinary, false), [""; 0]);
    }

    #[test]
    fn credentials_are_forwarded_only_by_a_route_that_keeps_them_and_in_their_own_spelling_only() {
        let sent = [("authorization", "Bearer x"), ("x-api-key", "x"), ("x_api_key", "x"), ("X.Api-Key", "x")];
        assert_eq!(stripped_names(&sent, false), ["authorization", "x-api-key", "x.api-key", "x_api_key"]);
        assert_eq!(stripped_names(&sent, true), ["x.api-key", "x_api_key"]);
        assert!(is_credential("x_api_key") && is_credential("authorization") && !is_credential("cookie"));
    }

    #[test]
    fn what_connection_nominates_is_stripped_in_any_spelling() {
        let sent = [
            ("connection", "keep-alive, X_Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x.other", "2"),
            ("x-third", "3"),
        ];
        assert_eq!(stripped_names(&sent, false), ["connection", "x-secret", "x.other"]);
    }

    #[test]
    fn framing_in_another_spelling_is_never_forwarded() {
        assert_eq!(stripped_names(&[("content_length", "3"), ("transfer.encoding", "chunked")], true).len(), 2);
    }
}
