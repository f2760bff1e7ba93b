//! Heads, written as bytes: the request to an upstream and the answer to a client.
//!
//! Lines of the other side are copied one by one, in their order and spelling, without those that
//! [`forward`] and the filters keep back; then come the gateway's own. Every copied line of a request
//! passes [`request`]'s loop and every one of an answer [`answer`]'s: what a policy changes about
//! headers is to be asked there.

use std::{cell::RefCell, convert::Infallible};

use clearway_filters::{headers::Stripping, policy::Policies};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::HOST};
use httparse::Header;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::{
    super::{exchange::Exchange, forward, texts::Word},
    fields,
    head::Head,
};

/// Bytes of a header's name that decide what becomes of it; what differs behind them is nobody's.
const NAME_BYTES: usize = 64;

/// Appends what the upstream is sent for a request.
pub(super) fn request(to: &mut Vec<u8>, head: &Head, exchange: &Exchange) {
    request_line(to, &head.parts.method, exchange.target.as_deref().unwrap_or_else(|| super::super::head::target(&head.bytes)));
    let keep_credentials = exchange.route().is_some_and(|route| route.keep_credentials);
    let stripping = Stripping::of(&head.parts.headers, keep_credentials);
    let rewritten = exchange.rewritten_host();
    let signed_away = forward::signed_away(exchange);
    let strips = |name: &str| {
        stripping.strips(name)
            || (rewritten.is_some() && name == HOST.as_str())
            || signed_away.iter().any(|signed| signed.as_str() == name)
    };
    match exchange.policies().filter(Policies::changes_requests) {
        None => {
            for line in &head.lines {
                let name = &head.bytes[line.name.clone()];
                if !lower(name, strips) {
                    put(to, name, &head.bytes[line.value.clone()]);
                }
            }
        }
        Some(policies) => {
            let kept = head.parts.headers.iter().filter(|(name, _)| !strips(name.as_str()));
            let mut kept: HeaderMap = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            policies.request(&mut kept);
            put_all(to, &kept);
        }
    }
    let named = head.names_host().map(HeaderValue::as_bytes);
    let host = named.unwrap_or_else(|| exchange.texts.text(Word::Host).unwrap_or_default().as_bytes());
    match (rewritten, named) {
        (Some(rewritten), _) => put(to, b"host", rewritten),
        // Named in the target only: HTTP/1.1 wants the header all the same.
        (None, None) => put(to, b"host", host),
        (None, Some(_)) => {}
    }
    told(forward::told_upstream(exchange, host, |name, value| tell(to, name, value)));
    to.extend_from_slice(b"\r\n");
}

/// Appends a request line.
pub(super) fn request_line(to: &mut Vec<u8>, method: &Method, target: &[u8]) {
    to.extend_from_slice(method.as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(target);
    to.extend_from_slice(b" HTTP/1.1\r\n");
}

/// How an answer's head differs from the upstream's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes<'a> {
    /// The upstream's Connection headers, by which it may take back others.
    pub(super) connection: &'a [&'a [u8]],
    /// Whether the client's connection is kept.
    pub(super) keep: bool,
    /// Whether the body goes out in chunks that the upstream did not make.
    pub(super) chunked: bool,
}

/// Appends the head of an upstream's answer, as the client is sent it.
pub(super) fn answer(to: &mut Vec<u8>, answer: &httparse::Response<'_, '_>, changes: &Changes<'_>, exchange: &Exchange) {
    let standing = exchange.standing();
    status(to, answer.code.unwrap_or_default(), answer.reason.unwrap_or_default());
    let mut dated = false;
    let is_replaced = |name: &str| {
        dated |= name == "date";
        forward::is_told_client(name, exchange, standing)
    };
    match exchange.policies().filter(Policies::changes_answers) {
        None => {
            each_kept(answer.headers, changes.connection, is_replaced, |line| put(to, line.name.as_bytes(), line.value));
        }
        Some(policies) => {
            let mut kept = HeaderMap::new();
            each_kept(answer.headers, changes.connection, is_replaced, |line| fields::append(&mut kept, line));
            policies.answer(&mut kept, exchange.facts.origin.as_ref(), true);
            put_all(to, &kept);
        }
    }
    if !dated {
        date(to, exchange.now_ms);
    }
    if changes.chunked {
        put(to, b"transfer-encoding", b"chunked");
    }
    told(forward::told_client(exchange, standing, |name, value| tell(to, name, value)));
    end(to, changes.keep);
}

/// Appends an interim answer (1xx): the upstream's own words, without those of its hop.
pub(super) fn interim(to: &mut Vec<u8>, answer: &httparse::Response<'_, '_>, changes: &Changes<'_>) {
    status(to, answer.code.unwrap_or_default(), answer.reason.unwrap_or_default());
    each_kept(answer.headers, changes.connection, |_| false, |line| put(to, line.name.as_bytes(), line.value));
    to.extend_from_slice(b"\r\n");
}

/// Appends a status line.
pub(super) fn status(to: &mut Vec<u8>, code: u16, reason: &str) {
    let digits = [code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + (digit % 10) as u8);
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(&digits);
    to.push(b' ');
    to.extend_from_slice(reason.as_bytes());
    to.extend_from_slice(b"\r\n");
}

/// Appends one header line.
pub(super) fn put(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to.extend_from_slice(name);
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// [`put`], for those who hand over headers one by one.
pub(super) fn tell(to: &mut Vec<u8>, name: &HeaderName, value: &[u8]) -> Result<(), Infallible> {
    put(to, name.as_str().as_bytes(), value);
    Ok(())
}

/// Appends the date (RFC 9110, 6.6.1). Its text is kept: it changes once a second.
pub(super) fn date(to: &mut Vec<u8>, now_ms: u64) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now_ms / 1_000 {
            *second = now_ms / 1_000;
            let stamp = i64::try_from(*second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
            text.clear();
            // It fails for years that have more than four digits: then there is no date.
            let _ = DateTimePrinter::new().print_timestamp_rfc9110(&stamp, &mut *text);
        }
        if !text.is_empty() {
            put(to, b"date", text.as_bytes());
        }
    });
}

/// Appends what becomes of the connection, and the empty line.
pub(super) fn end(to: &mut Vec<u8>, keep: bool) {
    to.extend_from_slice(if keep { b"connection: keep-alive\r\n\r\n" } else { b"connection: close\r\n\r\n" });
}

/// Takes the outcome of what cannot fail.
pub(super) fn told(Ok(()): Result<(), Infallible>) {}

/// Every line of an answer that is passed on. `connection`: its Connection headers, by which it may take back others.
pub(super) fn each_kept<'h>(
    lines: &[Header<'h>],
    connection: &[&[u8]],
    mut is_replaced: impl FnMut(&str) -> bool,
    mut keep: impl FnMut(&Header<'h>),
) {
    for line in lines {
        let dropped = lower(line.name.as_bytes(), |name| forward::is_hop_by_hop(name) || is_replaced(name));
        if !dropped && !is_nominated(line.name.as_bytes(), connection) {
            keep(line);
        }
    }
}

pub(super) fn put_all(to: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        put(to, name.as_str().as_bytes(), value.as_bytes());
    }
}

fn is_nominated(name: &[u8], connection: &[&[u8]]) -> bool {
    let mut tokens = connection.iter().flat_map(|value| value.split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    tokens.any(|token| token.eq_ignore_ascii_case(name) && forward::may_be_nominated(token))
}

/// Asks about a name in lower case, or about its beginning where it is long.
fn lower<T>(name: &[u8], ask: impl FnOnce(&str) -> T) -> T {
    let mut buffer = [0; NAME_BYTES];
    let length = name.len().min(NAME_BYTES);
    for (to, from) in buffer.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    ask(std::str::from_utf8(&buffer[..length]).unwrap_or_default())
}
