//! What an upstream is sent and what a client is sent back: the headers of both directions.
//!
//! There are two ways through the gateway, by Pingora's types and by bytes (`fast`), and one list of
//! what each direction loses and gains, here. On the way up everything that a client could use to speak
//! in the gateway's name is gone before the gateway's own words are put in. Bodies and their framing
//! are not looked at.

use clearway_filters::{
    headers,
    policy::Policies,
    quota::Standing,
    ratelimit::{self, Text},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, LOCATION, STRICT_TRANSPORT_SECURITY, TE, TRANSFER_ENCODING, UPGRADE,
    },
};
use pingora::{
    Error, ErrorType, OrErr as _, Result,
    http::{RequestHeader, ResponseHeader},
};

use super::{
    edits,
    exchange::{Exchange, ForwardedProto},
    texts::Word,
};
use crate::routes::CONTROL;

const ACCOUNT_ID: HeaderName = HeaderName::from_static("x-clearway-account-id");
const KEY_ID: HeaderName = HeaderName::from_static("x-clearway-key-id");
const PLAN: HeaderName = HeaderName::from_static("x-clearway-plan");
const SUBJECT: HeaderName = HeaderName::from_static("x-clearway-subject");
const RATE_LIMIT_FOR_CONTROL: HeaderName = HeaderName::from_static("x-clearway-ratelimit");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// What the gateway tells every upstream, host aside from which all is its own. `host` is the Host
/// header as the client sent it. In place of what the request may hold under these names.
pub(super) fn told_upstream<E>(
    exchange: &Exchange,
    host: &[u8],
    mut tell: impl FnMut(&HeaderName, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let words = [
        (&ACCOUNT_ID, Word::AccountId),
        (&KEY_ID, Word::KeyId),
        (&PLAN, Word::Plan),
        (&SUBJECT, Word::Subject),
        (&REQUEST_ID, Word::RequestId),
        (&TRACEPARENT, Word::Traceparent),
        (&FORWARDED_FOR, Word::Address),
    ];
    for (name, word) in words {
        if let Some(text) = exchange.texts.text(word) {
            tell(name, text.as_bytes())?;
        }
    }
    tell(&FORWARDED_HOST, host)?;
    let proto = match exchange.forwarded_proto {
        ForwardedProto::Http => "http",
        ForwardedProto::Https => "https",
    };
    tell(&FORWARDED_PROTO, proto.as_bytes())?;
    if exchange.facts.upstream == Some(CONTROL)
        && let Some(near) = exchange.standing().and_then(ratelimit::nearest)
    {
        let value = format!("{};{};{}", near.limit, near.remaining, near.reset);
        tell(&RATE_LIMIT_FOR_CONTROL, value.as_bytes())?;
    }
    Ok(())
}

/// What every answer says, the gateway's own too. In place of what an upstream said under these names.
pub(super) fn told_client<E>(
    exchange: &Exchange,
    standing: Option<&Standing>,
    mut tell: impl FnMut(&HeaderName, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(id) = exchange.texts.text(Word::RequestId) {
        tell(&REQUEST_ID, id.as_bytes())?;
    }
    if let Some(location) = &exchange.facts.location {
        tell(&LOCATION, location.as_bytes())?;
    }
    if let Some(hsts) = exchange.hsts() {
        tell(&STRICT_TRANSPORT_SECURITY, hsts.as_bytes())?;
    }
    let Some(standing) = standing.filter(|s| !s.is_empty()) else { return Ok(()) };
    let mut text = Text::default();
    if let Some(near) = ratelimit::nearest(standing) {
        tell(&X_LIMIT, ratelimit::number(&mut text, near.limit))?;
        tell(&X_REMAINING, ratelimit::number(&mut text, near.remaining))?;
        tell(&X_RESET, ratelimit::number(&mut text, near.reset))?;
    }
    tell(&POLICY, ratelimit::policy(&mut text, standing))?;
    tell(&LEFT, ratelimit::left(&mut text, standing))
}

/// Whether [`told_client`] speaks under this name, in lower case.
pub(super) fn is_told_client(name: &str, exchange: &Exchange, standing: Option<&Standing>) -> bool {
    match name {
        "x-request-id" => true,
        "strict-transport-security" => exchange.hsts().is_some(),
        "x-ratelimit-limit" | "x-ratelimit-remaining" | "x-ratelimit-reset" => {
            standing.is_some_and(|standing| standing.nearest().is_some())
        }
        "ratelimit-policy" | "ratelimit" => standing.is_some_and(|standing| !standing.is_empty()),
        _ => false,
    }
}

/// Whether an upstream's header of this name, in lower case, is of its hop only (RFC 9110, 7.6.1).
/// Transfer-Encoding is left to whoever frames the body.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade")
}

/// Whether a word in an upstream's Connection header takes the header of that name along.
pub(super) fn may_be_nominated(token: &[u8]) -> bool {
    ![&UPGRADE, &TRANSFER_ENCODING, &CONTENT_LENGTH].iter().any(|name| token.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// The signature that a request was judged by, where the upstream is sent another target or host than was signed. What
/// others have signed is lost with it; it would not hold either.
pub(super) fn signed_away(exchange: &Exchange) -> &'static [HeaderName] {
    static SIGNATURE: [HeaderName; 2] = [HeaderName::from_static("signature"), HeaderName::from_static("signature-input")];
    let another = exchange.facts.signed && (exchange.target.is_some() || exchange.rewritten_host().is_some());
    if another { &SIGNATURE } else { &[] }
}

/// Makes the upstream's request of the client's.
pub(super) fn request(upstream: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let Some(route) = exchange.route() else { return Ok(()) };
    let wants_trailers = upstream.version == Version::HTTP_2 && accepts_trailers(&upstream.headers);
    let stripped: Vec<HeaderName> = headers::stripped(&upstream.headers, route.keep_credentials).cloned().collect();
    for name in stripped.iter().chain(signed_away(exchange)) {
        upstream.remove_header(name);
    }
    if exchange.loan.is_some() {
        // The body has been asked for, and is here.
        upstream.remove_header(&EXPECT);
    }
    if let Some(target) = &exchange.target {
        upstream.set_raw_path(target)?;
    }
    if wants_trailers {
        // gRPC services refuse a call without it (RFC 9113, 8.2.2 lets it pass a hop).
        upstream.insert_header(TE, HeaderValue::from_static("trailers"))?;
    }
    if upstream.version != Version::HTTP_2 {
        join_cookies(upstream)?;
    }
    if !upstream.headers.contains_key(HOST) {
        // Named in the target only, or nowhere: HTTP/1.1 wants the header all the same.
        let authority = upstream.uri.authority().map(|authority| authority.as_str().to_owned());
        let host = authority.as_deref().or(exchange.texts.text(Word::Host)).unwrap_or_default();
        upstream.insert_header(HOST, value(host.as_bytes())?)?;
    }
    if exchange.upgrade {
        upstream.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"))?;
        upstream.insert_header(UPGRADE, HeaderValue::from_static("websocket"))?;
    }
    let host = upstream.headers.get(HOST).cloned().unwrap_or(HeaderValue::from_static(""));
    if let Some(rewritten) = exchange.rewritten_host() {
        upstream.insert_header(HOST, value(rewritten)?)?;
    }
    if let Some(policies) = exchange.policies().filter(Policies::changes_requests) {
        policies.request(&mut edits::Request(upstream));
    }
    told_upstream(exchange, host.as_bytes(), |name, text| upstream.insert_header(name.clone(), value(text)?))
}

/// Makes the client's answer of the upstream's.
pub(super) fn response(answer: &mut ResponseHeader, client: Version, exchange: &Exchange) -> Result<()> {
    let upgraded = answer.status == http::StatusCode::SWITCHING_PROTOCOLS;
    if answer.status.is_informational() && !upgraded {
        return Ok(());
    }
    strip_hop_by_hop(answer, upgraded);
    if client == Version::HTTP_10 {
        // It cannot read chunks; without them the body ends with the connection.
        answer.remove_header(&TRANSFER_ENCODING);
    }
    if let Some(policies) = exchange.policies().filter(|policies| policies.changes_answers() && !upgraded) {
        policies.answer(&mut edits::Response(answer), exchange.facts.origin.as_ref(), true);
    }
    if let Some(charged) = exchange.admission() {
        charged.ends_soon();
    }
    standing_headers(answer, exchange, exchange.standing())
}

/// Whether no body follows this head.
pub(super) fn ends_with_head(answer: &ResponseHeader, method: &Method) -> bool {
    let empty = answer.headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0");
    let bodiless = *method == Method::HEAD || empty || matches!(answer.status.as_u16(), 204 | 304);
    bodiless && !answer.status.is_informational()
}

/// [`told_client`], for an answer in Pingora's types.
pub(super) fn standing_headers(answer: &mut ResponseHeader, exchange: &Exchange, standing: Option<&Standing>) -> Result<()> {
    told_client(exchange, standing, |name, text| answer.insert_header(name.clone(), value(text)?))
}

pub(super) fn value(text: &[u8]) -> Result<HeaderValue, Box<Error>> {
    HeaderValue::from_bytes(text).or_err(ErrorType::InternalError, "a word of the gateway's is no header value")
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    let tokens = headers.get_all(TE).into_iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    tokens.map(<[u8]>::trim_ascii).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// HTTP/2 sends cookies one by one; before HTTP/1 they are one header again (RFC 9113, 8.2.3).
fn join_cookies(upstream: &mut RequestHeader) -> Result<()> {
    let mut cookies = upstream.headers.get_all(COOKIE).into_iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return Ok(()) };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    upstream.insert_header(COOKIE, value(&joined)?)
}

/// Transfer-Encoding stays: Pingora frames the body by it.
fn strip_hop_by_hop(answer: &mut ResponseHeader, upgraded: bool) {
    if answer.headers.contains_key(CONNECTION) {
        for name in nominated(&answer.headers) {
            answer.remove_header(&name);
        }
    }
    let of_this_hop: Vec<HeaderName> = answer.headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned().collect();
    for name in of_this_hop.iter().filter(|name| !(upgraded && **name == UPGRADE)) {
        answer.remove_header(name);
    }
    if upgraded {
        // Both stand in the list of hop-by-hop headers, and make this hop's upgrade.
        let upgrade = answer.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"));
        debug_assert!(upgrade.is_ok(), "a constant header");
    }
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).into_iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    tokens.filter(|token| may_be_nominated(token)).filter_map(|token| HeaderName::from_bytes(token).ok()).collect()
}
