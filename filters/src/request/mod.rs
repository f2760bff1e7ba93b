//! One canonical view of a request, read once. Routing, authentication, charging, logging and
//! forwarding use this view and nothing else, so that no two of them can disagree.
//!
//! What can be read in more than one way is refused, not repaired: a request that a gateway and an
//! upstream understand differently is how a check is walked around. The view does not look at the
//! body, and does not decide anything: that is for the modules after it.

mod client;
mod host;
pub(crate) mod path;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, net::IpAddr};

use http::{HeaderMap, HeaderValue, Method, Version, request::Parts};
use ipnet::IpNet;

use crate::{Reject, headers};

/// Bytes of a method at most; the longest that is registered has 17.
const METHOD_BYTES_MAX: usize = 32;

/// A request in its one reading. Borrows from the request wherever it is spelled canonically already.
#[derive(Debug, Clone)]
pub struct RequestView<'r> {
    method: &'r Method,
    host: Cow<'r, str>,
    path: Cow<'r, str>,
    query: Option<&'r str>,
    credential: Credential<'r>,
    address: IpAddr,
    upgrade: bool,
    signed: bool,
}

/// What a request authenticates with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'r> {
    None,
    /// What the client says is a key; it has not been looked at.
    Key(&'r [u8]),
    /// A bearer's credential in the form of a token (RFC 7519); it has not been looked at.
    Token(&'r [u8]),
    /// The same, shown as one that is bound to a key (RFC 9449).
    Bound(&'r [u8]),
    /// An Authorization header of a scheme that is none of ours.
    Other,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credential::None => "None",
            Credential::Key(_) => "Key(…)",
            Credential::Token(_) => "Token(…)",
            Credential::Bound(_) => "Bound(…)",
            Credential::Other => "Other",
        })
    }
}

impl<'r> RequestView<'r> {
    /// Reads a request. `target` is its request target as it came over the wire (for HTTP/2, `:path`):
    /// servers lose the authority of an absolute target, or bytes that are not UTF-8, in [`Parts::uri`].
    /// `peer` is who is connected; X-Forwarded-For counts only if that is in `trusted_proxies`.
    pub fn read(parts: &'r Parts, target: &'r [u8], peer: IpAddr, trusted_proxies: &[IpNet]) -> Result<Self, Reject> {
        Self::read_or_why(parts, target, peer, trusted_proxies).map_err(Reject::Ambiguous)
    }

    fn read_or_why(parts: &'r Parts, target: &'r [u8], peer: IpAddr, trusted_proxies: &[IpNet]) -> Result<Self, &'static str> {
        if parts.method.as_str().len() > METHOD_BYTES_MAX {
            return Err("method longer than any");
        }
        let headers = Singles::read(&parts.headers)?;
        let (authority, path_and_query) = split_target(target)?;
        let (path, query) = match path_and_query.iter().position(|&byte| byte == b'?') {
            Some(at) => (&path_and_query[..at], Some(&path_and_query[at + 1..])),
            None => (path_and_query, None),
        };
        let authority = authority.or_else(|| parts.uri.authority().map(|authority| authority.as_str().as_bytes()));
        check_framing(parts.version, &headers)?;
        check_expectation(headers.expect)?;
        let upgrade = headers.connection && check_connection(&parts.headers)? && is_websocket(parts, &headers);
        Ok(Self {
            method: &parts.method,
            host: read_host(parts.version, headers.host, authority)?,
            path: path::normalise(path)?,
            query: query.map(read_query).transpose()?,
            credential: client::credential(headers.authorization, headers.api_key)?,
            address: client::address(peer, &parts.headers, trusted_proxies),
            upgrade,
            signed: headers.signature_input,
        })
    }

    pub fn method(&self) -> &'r Method {
        self.method
    }

    /// In lower case, without port and trailing dot; empty where an HTTP/1.0 request names none.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// In its one spelling, beginning with `/`. This is what is forwarded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As it was sent, without the `?`: no decision is made by it.
    pub fn query(&self) -> Option<&'r str> {
        self.query
    }

    pub fn credential(&self) -> Credential<'r> {
        self.credential
    }

    /// Whether it carries message signatures (RFC 9421), of whomever.
    pub fn is_signed(&self) -> bool {
        self.signed
    }

    /// Whom the request is from, as far as trusted proxies vouch for it.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it asks for a WebSocket. No other upgrade exists here: `h2c`, say, would open a tunnel
    /// of requests that nobody checks; such a header is dropped as hop-by-hop.
    pub fn is_upgrade(&self) -> bool {
        self.upgrade
    }
}

/// The headers that may stand in a request once, and whether there is a Connection header.
#[derive(Default)]
struct Singles<'r> {
    host: Option<&'r HeaderValue>,
    content_length: Option<&'r HeaderValue>,
    transfer_encoding: Option<&'r HeaderValue>,
    authorization: Option<&'r HeaderValue>,
    api_key: Option<&'r HeaderValue>,
    upgrade: Option<&'r HeaderValue>,
    expect: Option<&'r HeaderValue>,
    connection: bool,
    signature_input: bool,
}

impl<'r> Singles<'r> {
    fn read(headers: &'r HeaderMap) -> Result<Self, &'static str> {
        let mut singles = Self::default();
        for (name, value) in headers {
            let (single, why) = match name.as_str() {
                "host" => (&mut singles.host, "repeated Host header"),
                "content-length" => (&mut singles.content_length, "repeated Content-Length header"),
                "transfer-encoding" => (&mut singles.transfer_encoding, "repeated Transfer-Encoding header"),
                "authorization" => (&mut singles.authorization, "repeated Authorization header"),
                "x-api-key" => (&mut singles.api_key, "repeated X-API-Key header"),
                "upgrade" => (&mut singles.upgrade, "repeated Upgrade header"),
                "expect" => (&mut singles.expect, "repeated Expect header"),
                "connection" => {
                    singles.connection = true;
                    continue;
                }
                "signature-input" => {
                    singles.signature_input = true;
                    continue;
                }
                other if headers::is_alias_of_framing(other) => return Err("framing header in another spelling"),
                _ => continue,
            };
            if single.replace(value).is_some() {
                return Err(why);
            }
        }
        Ok(singles)
    }
}

/// Authority, where the target names one, and the rest from the path on.
fn split_target(target: &[u8]) -> Result<(Option<&[u8]>, &[u8]), &'static str> {
    if target.first() == Some(&b'/') {
        return Ok((None, target));
    }
    let after = |scheme: &[u8]| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = after(b"http://").or_else(|| after(b"https://")).ok_or("the target is not a path")?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    match &rest[end..] {
        [] => Ok((Some(&rest[..end]), b"/")),
        path @ [b'/', ..] => Ok((Some(&rest[..end]), path)),
        _ => Err("the target is not a path"),
    }
}

/// Digits of a Content-Length at most: what any server can count to.
const LENGTH_DIGITS_MAX: usize = 18;

/// Where the body ends must be said once, and in a way that every server understands alike.
fn check_framing(version: Version, headers: &Singles<'_>) -> Result<(), &'static str> {
    if let Some(coding) = headers.transfer_encoding {
        if headers.content_length.is_some() {
            return Err("Content-Length together with Transfer-Encoding");
        }
        if version != Version::HTTP_11 {
            return Err("Transfer-Encoding in a version that has none");
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("Transfer-Encoding other than chunked");
        }
    }
    match headers.content_length.map(HeaderValue::as_bytes) {
        // Octal to some readers.
        Some([b'0', _, ..]) => Err("Content-Length that begins with a zero"),
        Some(length) if !(1..=LENGTH_DIGITS_MAX).contains(&length.len()) || !length.iter().all(u8::is_ascii_digit) => {
            Err("Content-Length that is not one number")
        }
        _ => Ok(()),
    }
}

/// A body that one server waits to be asked for, and the next does not, is read as another request by one
/// of them: only the one expectation that there is (RFC 9110, 10.1.1) is let through.
fn check_expectation(expect: Option<&HeaderValue>) -> Result<(), &'static str> {
    match expect {
        Some(expect) if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") => Err("Expect other than 100-continue"),
        _ => Ok(()),
    }
}

/// Whether Connection asks for an upgrade. Nominating a header that this view depends on is refused:
/// the next server would drop it and read another request.
fn check_connection(headers: &HeaderMap) -> Result<bool, &'static str> {
    let mut upgrade = false;
    for token in headers::connection_tokens(headers) {
        if headers::is_load_bearing(token) {
            return Err("Connection nominates a header that the request depends on");
        }
        upgrade |= token.eq_ignore_ascii_case(b"upgrade");
    }
    Ok(upgrade)
}

fn is_websocket(parts: &Parts, headers: &Singles<'_>) -> bool {
    let bodiless = headers.content_length.is_none() && headers.transfer_encoding.is_none();
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && bodiless
        && headers.upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn read_host<'r>(
    version: Version,
    header: Option<&'r HeaderValue>,
    authority: Option<&'r [u8]>,
) -> Result<Cow<'r, str>, &'static str> {
    let header = header.map(|value| host::parse(value.as_bytes())).transpose()?;
    let authority = authority.map(host::parse).transpose()?;
    match (header, authority) {
        (Some(one), Some(other)) if one != other => Err("Host is not the target's authority"),
        // RFC 9112, 3.2: to be sent whatever the target says.
        (None, _) if version == Version::HTTP_11 => Err("Host is missing"),
        (Some(host), _) | (None, Some(host)) => Ok(host.name),
        (None, None) if version <= Version::HTTP_10 => Ok("".into()),
        (None, None) => Err("Host is missing"),
    }
}

/// Looser than RFC 3986, 3.4: clients do send braces and the like unescaped, and every server reads them. Quotes
/// and angle brackets are refused by some.
fn read_query(raw: &[u8]) -> Result<&str, &'static str> {
    const REFUSED: &str = "raw byte that a query may not hold";
    if !raw.iter().all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'"' | b'<' | b'>')) {
        return Err(REFUSED);
    }
    std::str::from_utf8(raw).map_err(|_| REFUSED)
}
