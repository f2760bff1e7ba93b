//! What an upstream is sent and what a client is sent back: the headers of both directions.
//!
//! Bodies and their framing are Pingora's. On the way up everything that a client could use to speak
//! in the gateway's name is gone before the gateway's own words are put in.

use bytes::Bytes;
use clearway_filters::{
    headers,
    quota::Standing,
    ratelimit::{self, Text},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use pingora::{
    Result,
    http::{RequestHeader, ResponseHeader},
};

use super::{
    exchange::{Exchange, ForwardedProto},
    texts::Word,
};
use crate::{ledger::Admission, routes::CONTROL};

const ACCOUNT_ID: HeaderName = HeaderName::from_static("x-clearway-account-id");
const KEY_ID: HeaderName = HeaderName::from_static("x-clearway-key-id");
const PLAN: HeaderName = HeaderName::from_static("x-clearway-plan");
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

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Makes the upstream's request of the client's.
pub(super) fn request(upstream: &mut RequestHeader, exchange: &Exchange) -> Result<()> {
    let Some((table, route)) = exchange.table().zip(exchange.facts.route) else { return Ok(()) };
    let route = &table.routes.all()[route];
    let stripped: Vec<HeaderName> = headers::stripped(&upstream.headers, route.keep_credentials).cloned().collect();
    for name in &stripped {
        upstream.remove_header(name);
    }
    if let Some(target) = &exchange.target {
        upstream.set_raw_path(target)?;
    }
    if !upstream.headers.contains_key(HOST) {
        // Named in the target only, or nowhere: HTTP/1.1 wants the header all the same.
        upstream.insert_header(HOST, exchange.texts.value(Word::Host).unwrap_or(HeaderValue::from_static("")))?;
    }
    if exchange.upgrade {
        upstream.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"))?;
        upstream.insert_header(UPGRADE, HeaderValue::from_static("websocket"))?;
    }
    let words = [
        (ACCOUNT_ID, Word::AccountId),
        (KEY_ID, Word::KeyId),
        (PLAN, Word::Plan),
        (REQUEST_ID, Word::RequestId),
        (TRACEPARENT, Word::Traceparent),
        (FORWARDED_FOR, Word::Address),
    ];
    for (name, word) in words {
        if let Some(value) = exchange.texts.value(word) {
            upstream.insert_header(name, value)?;
        }
    }
    if let Some(host) = upstream.headers.get(HOST).cloned() {
        upstream.insert_header(FORWARDED_HOST, host)?;
    }
    let proto = match exchange.forwarded_proto {
        ForwardedProto::Http => "http",
        ForwardedProto::Https => "https",
    };
    upstream.insert_header(FORWARDED_PROTO, HeaderValue::from_static(proto))?;
    if exchange.facts.upstream == Some(CONTROL)
        && let Some(near) = exchange.admission().and_then(|a| ratelimit::nearest(a.standing()))
    {
        let value = format!("{};{};{}", near.limit, near.remaining, near.reset);
        upstream.insert_header(RATE_LIMIT_FOR_CONTROL, value)?;
    }
    Ok(())
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
    standing_headers(answer, exchange, exchange.admission().inspect(|charged| charged.ends_soon()).map(Admission::standing))
}

/// Whether no body follows this head.
pub(super) fn ends_with_head(answer: &ResponseHeader, method: &Method) -> bool {
    let empty = answer.headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() == b"0");
    let bodiless = *method == Method::HEAD || empty || matches!(answer.status.as_u16(), 204 | 304);
    bodiless && !answer.status.is_informational()
}

/// What every answer carries, the gateway's own too.
pub(super) fn standing_headers(answer: &mut ResponseHeader, exchange: &Exchange, standing: Option<&Standing>) -> Result<()> {
    if let Some(id) = exchange.texts.value(Word::RequestId) {
        answer.insert_header(REQUEST_ID, id)?;
    }
    let Some(standing) = standing.filter(|s| !s.is_empty()) else { return Ok(()) };
    let values = Values::of(standing);
    for (name, value) in [(X_LIMIT, 0), (X_REMAINING, 1), (X_RESET, 2), (POLICY, 3), (LEFT, 4)] {
        if let Some(value) = values.value(value) {
            answer.insert_header(name, value)?;
        }
    }
    Ok(())
}

/// Five header values in one buffer.
struct Values {
    all: Bytes,
    ends: [usize; 5],
}

impl Values {
    fn of(standing: &Standing) -> Self {
        let mut all = Vec::with_capacity(384);
        let mut ends = [0; 5];
        let mut text = Text::default();
        if let Some(near) = ratelimit::nearest(standing) {
            for (number, end) in [near.limit, near.remaining, near.reset].into_iter().zip(&mut ends) {
                all.extend_from_slice(ratelimit::number(&mut text, number));
                *end = all.len();
            }
        }
        all.extend_from_slice(ratelimit::policy(&mut text, standing));
        ends[3] = all.len();
        all.extend_from_slice(ratelimit::left(&mut text, standing));
        ends[4] = all.len();
        Self { all: all.into(), ends }
    }

    fn value(&self, at: usize) -> Option<HeaderValue> {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        let bounds = start..self.ends[at];
        if bounds.is_empty() {
            return None;
        }
        HeaderValue::from_maybe_shared(self.all.slice(bounds)).ok()
    }
}

/// Transfer-Encoding stays: Pingora frames the body by it.
fn strip_hop_by_hop(answer: &mut ResponseHeader, upgraded: bool) {
    if answer.headers.contains_key(CONNECTION) {
        for name in nominated(&answer.headers) {
            answer.remove_header(&name);
        }
        answer.remove_header(&CONNECTION);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TE, &TRAILER] {
        answer.remove_header(name);
    }
    if upgraded {
        // Both stand in the list of hop-by-hop headers, and make this hop's upgrade.
        let upgrade = answer.insert_header(CONNECTION, HeaderValue::from_static("Upgrade"));
        debug_assert!(upgrade.is_ok(), "a constant header");
    } else {
        answer.remove_header(&UPGRADE);
    }
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).into_iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    tokens
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| ![UPGRADE, TRANSFER_ENCODING, CONTENT_LENGTH].contains(name))
        .collect()
}
