//! Heads as fields: a request that came by HTTP/2, written for an upstream of HTTP/1.1, and the answer to it.

use clearway_filters::{headers::Stripping, policy::Policies};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, COOKIE, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use httparse::Header;
use pingora::http::ResponseHeader;

use super::{
    super::{answer::Answer, exchange::Exchange, forward, texts::Word},
    answer::Read,
    refuse::Said,
    write,
};

/// Bytes between two cookies of one header.
const COOKIES_JOINED: &[u8] = b"; ";

/// Appends what the upstream is sent for a request without a body. `target` is its `:path`.
pub(super) fn request(to: &mut Vec<u8>, parts: &Parts, target: &[u8], exchange: &Exchange) {
    write::request_line(to, &parts.method, exchange.target.as_deref().unwrap_or(target));
    let route = exchange.route();
    let stripping = Stripping::of(&parts.headers, route.is_some_and(|route| route.keep_credentials));
    let signed_away = forward::signed_away(exchange);
    let strips =
        |name: &HeaderName| *name == HOST || *name == COOKIE || signed_away.contains(name) || stripping.strips(name.as_str());
    let kept = parts.headers.iter().filter(|(name, _)| !strips(name));
    let cookie = if stripping.strips(COOKIE.as_str()) { None } else { cookie(&parts.headers) };
    match exchange.policies().filter(Policies::changes_requests) {
        None => {
            kept.for_each(|(name, value)| write::put(to, name.as_str().as_bytes(), value.as_bytes()));
            if let Some(cookie) = cookie {
                write::put(to, COOKIE.as_str().as_bytes(), cookie.as_bytes());
            }
        }
        Some(policies) => {
            let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
            let mut kept: HeaderMap = kept.chain(cookie.map(|cookie| (COOKIE, cookie))).collect();
            policies.request(&mut kept);
            write::put_all(to, &kept);
        }
    }
    let named = parts.headers.get(HOST).map(HeaderValue::as_bytes);
    let authority = || parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = named.or_else(authority).unwrap_or_else(|| exchange.texts.text(Word::Host).unwrap_or_default().as_bytes());
    write::put(to, HOST.as_str().as_bytes(), exchange.rewritten_host().unwrap_or(host));
    write::told(forward::told_upstream(exchange, host, |name, value| write::tell(to, name, value)));
    if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
        // In HTTP/1.1 it is said of a method that usually has content (RFC 9110, 8.6).
        write::put(to, CONTENT_LENGTH.as_str().as_bytes(), b"0");
    }
    to.extend_from_slice(b"\r\n");
}

/// HTTP/2 sends cookies one by one; before HTTP/1.1 they are one header again (RFC 9113, 8.2.3).
fn cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut cookies = headers.get_all(COOKIE).into_iter();
    let first = cookies.next()?;
    let mut joined = first.as_bytes().to_vec();
    for cookie in cookies {
        joined.extend_from_slice(COOKIES_JOINED);
        joined.extend_from_slice(cookie.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok()
}

/// What the client is sent for an upstream's answer.
pub(super) fn answer(read: &Read<'_, '_, '_>, exchange: &Exchange) -> Box<ResponseHeader> {
    let standing = exchange.standing();
    let mut headers = HeaderMap::with_capacity(read.answer.headers.len() + 8);
    let is_replaced = |name: &str| name == TRANSFER_ENCODING.as_str() || forward::is_told_client(name, exchange, standing);
    write::each_kept(read.answer.headers, read.connection, is_replaced, |line| append(&mut headers, line));
    if let Some(policies) = exchange.policies().filter(Policies::changes_answers) {
        policies.answer(&mut headers, exchange.facts.origin.as_ref(), true);
    }
    write::told(forward::told_client(exchange, standing, |name, value| put(&mut headers, name, value)));
    head(read.answer.code.unwrap_or_default(), headers)
}

/// What the client is sent for an answer of the gateway's own.
pub(super) fn own(answer: &Answer, said: &Said<'_>, exchange: &Exchange) -> Box<ResponseHeader> {
    let mut headers = HeaderMap::with_capacity(16);
    write::told(answer.told(|name, value| put(&mut headers, name, value)));
    if let Some(allow) = &said.allow {
        write::told(put(&mut headers, &http::header::ALLOW, allow.as_bytes()));
    }
    write::told(forward::told_client(exchange, said.standing, |name, value| put(&mut headers, name, value)));
    head(answer.status, headers)
}

/// Adds a line. The parser has let through nothing that is no field.
pub(super) fn append(to: &mut HeaderMap, line: &Header<'_>) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(line.name), HeaderValue::from_bytes(line.value)) {
        to.append(name, value);
    }
}

/// The gateway's own words are fields, all of them.
fn put(to: &mut HeaderMap, name: &HeaderName, value: &[u8]) -> Result<(), std::convert::Infallible> {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        to.insert(name, value);
    }
    Ok(())
}

fn head(status: u16, headers: HeaderMap) -> Box<ResponseHeader> {
    let mut parts = Response::new(()).into_parts().0;
    parts.status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    (parts.version, parts.headers) = (Version::HTTP_2, headers);
    Box::new(ResponseHeader::from(parts))
}
