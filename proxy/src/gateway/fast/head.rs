//! Heads as bytes: a request's, read into parts to decide by and lines to forward; and where any head ends.
//!
//! Strict: whatever the parser does not take for HTTP/1.1 as it is written is refused, and what it takes
//! is looked at again by the request view, as every request is.

use std::{mem::MaybeUninit, ops::Range};

use bytes::{Bytes, BytesMut};
use clearway_config::{
    ErrorCode,
    settings::process::{HEADERS_BOUND, LimitSettings},
};
use http::{
    HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use httparse::{Header, Status};

use super::super::body::Body;

/// A request's head.
#[derive(Debug)]
pub(in super::super) struct Head {
    pub(in super::super) parts: Parts,
    pub(in super::super) bytes: Bytes,
    pub(super) lines: Vec<Line>,
    body_bytes: u64,
}

/// A header line: where its name and its value stand in the head.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// How a request can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// By bytes: HTTP/1.1, and a body of a known length or none.
    Plain,
    /// By Pingora, whose body ends as given; `None` where that is for Pingora to find out.
    Unusual { head_bytes: usize, body: Option<Body> },
}

impl Default for Head {
    fn default() -> Self {
        let parts = http::Request::new(()).into_parts().0;
        Self { parts, bytes: Bytes::new(), lines: Vec::new(), body_bytes: 0 }
    }
}

impl Head {
    /// Takes a head off the front of `ahead`, unless it is unusual: then everything stays where it is.
    /// `None` while the head is not complete. How long the target may be is for whoever decides, unless nothing
    /// but a target has come.
    pub(in super::super) fn take(&mut self, ahead: &mut BytesMut, limits: &LimitSettings) -> Result<Option<Kind>, ErrorCode> {
        self.clear();
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_BOUND];
        let mut request = httparse::Request::new(&mut []);
        let head_bytes = match request.parse_with_uninit_headers(ahead, &mut headers[..limits.headers.min(HEADERS_BOUND)]) {
            Ok(Status::Complete(n)) if n <= limits.head_bytes() => n,
            Ok(Status::Partial) if ahead.len() < limits.head_bytes() => return Ok(None),
            Ok(Status::Partial) if request.method.is_some() && request.version.is_none() => return Err(ErrorCode::UriTooLong),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(ErrorCode::HeadTooLarge),
            Err(_) => return Err(ErrorCode::AmbiguousRequest),
        };
        let base = ahead.as_ptr().addr();
        let range = |bytes: &[u8]| {
            let start = bytes.as_ptr().addr() - base;
            start..start + bytes.len()
        };
        self.lines
            .extend(request.headers.iter().map(|line| Line { name: range(line.name.as_bytes()), value: range(line.value) }));
        let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes());
        self.parts.method = method.map_err(|_| ErrorCode::AmbiguousRequest)?;
        self.parts.version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        if let Some(body) = unusual(request.headers, &self.parts) {
            return Ok(Some(Kind::Unusual { head_bytes, body: body.ok() }));
        }
        self.bytes = ahead.split_to(head_bytes).freeze();
        for Line { name, value } in &self.lines {
            let name = HeaderName::from_bytes(&self.bytes[name.clone()]).map_err(|_| ErrorCode::AmbiguousRequest)?;
            let value = HeaderValue::from_maybe_shared(self.bytes.slice(value.clone()));
            self.parts.headers.append(name, value.map_err(|_| ErrorCode::AmbiguousRequest)?);
        }
        let length = self.parts.headers.get(CONTENT_LENGTH);
        self.body_bytes = length.and_then(|value| number(value.as_bytes())).unwrap_or(0);
        Ok(Some(Kind::Plain))
    }

    /// Lets go of the bytes, so that their buffer can be used again.
    pub(in super::super) fn clear(&mut self) {
        self.parts.headers.clear();
        self.lines.clear();
        self.bytes = Bytes::new();
    }

    /// Whether the client wants its connection kept (RFC 9112, 9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        !self.parts.headers.get_all(CONNECTION).iter().any(|value| has_token(value.as_bytes(), b"close"))
    }

    pub(in super::super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    pub(super) fn names_host(&self) -> Option<&HeaderValue> {
        self.parts.headers.get(HOST)
    }
}

/// The body of a request that is not plain; `Err` where its end is not certain.
fn unusual(headers: &[Header<'_>], parts: &Parts) -> Option<Result<Body, ()>> {
    let is = |header: &Header<'_>, name: &HeaderName| header.name.eq_ignore_ascii_case(name.as_str());
    let named = |name: HeaderName| headers.iter().filter(move |header| is(header, &name)).map(|header| header.value);
    let (mut codings, mut lengths) = (named(TRANSFER_ENCODING), named(CONTENT_LENGTH));
    let (coding, length) = (codings.next(), lengths.next());
    let is_once = codings.next().is_none() && lengths.next().is_none();
    let body = match (coding, length) {
        (None, None) => Ok(Body::NONE),
        (None, Some(digits)) if is_once => number(digits).map(Body::Length).ok_or(()),
        (Some(coding), None) if is_once && coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::chunked()),
        _ => Err(()),
    };
    let upgrades = headers.iter().any(|header| is(header, &UPGRADE));
    let to_websocket = headers.iter().any(|header| is(header, &UPGRADE) && header.value.eq_ignore_ascii_case(b"websocket"));
    let expects = headers.iter().any(|header| is(header, &EXPECT));
    let plain = parts.version == Version::HTTP_11 && parts.method != Method::CONNECT && coding.is_none() && body.is_ok();
    match plain && !upgrades && !expects {
        true => None,
        // What comes behind such a head may be another protocol.
        false if to_websocket => Some(Err(())),
        false => Some(body),
    }
}

/// A Content-Length: digits alone, and no more than count.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

pub(super) fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|&b| b == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(token))
}

/// Whether a head may end in `bytes`, of which those before `from` have been looked at: so that what
/// arrives byte by byte is not parsed byte by byte.
pub(in super::super) fn may_end(bytes: &[u8], from: usize) -> bool {
    let from = from.saturating_sub(3);
    let tail = &bytes[from.min(bytes.len())..];
    memchr::memchr_iter(b'\n', tail).any(|at| matches!(tail[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bytes: &[u8]) -> Result<Option<Kind>, ErrorCode> {
        Head::default().take(&mut BytesMut::from(bytes), &LimitSettings::default())
    }

    fn of(lines: &str) -> Kind {
        take(format!("POST /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n").as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_plain_head_is_taken_off_and_what_follows_it_stays() {
        let bytes = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nX-Own:  a b \r\n\r\nbody";
        let (mut ahead, mut head) = (BytesMut::from(&bytes[..]), Head::default());
        assert_eq!(head.take(&mut ahead, &LimitSettings::default()), Ok(Some(Kind::Plain)));
        assert_eq!((&ahead[..], head.body_bytes(), head.keeps_alive()), (&b"body"[..], 12, true));
        assert_eq!((&head.parts.method, &head.parts.headers["x-own"]), (&Method::POST, &HeaderValue::from_static("a b")));
        assert_eq!(&head.bytes[head.lines[2].name.clone()], b"X-Own");
        head.clear();
        assert!(ahead.try_reclaim(bytes.len() - ahead.len()), "nothing holds on to the buffer");
    }

    #[test]
    fn what_is_not_plain_stays_where_it_is_and_its_end_is_known_or_not() {
        let kind = |kind| match kind {
            Kind::Unusual { body, .. } => Some(body),
            Kind::Plain => None,
        };
        for (lines, body) in [
            ("Content-Length: 0\r\n", None),
            ("Connection: close, x\r\n", None),
            ("Transfer-Encoding: Chunked\r\n", Some(Some(Body::chunked()))),
            ("Expect: 100-continue\r\nContent-Length: 3\r\n", Some(Some(Body::Length(3)))),
            ("Upgrade: h2c\r\nContent-Length: 3\r\n", Some(Some(Body::Length(3)))),
            ("Upgrade: websocket\r\n", Some(None)),
            ("Transfer-Encoding: gzip, chunked\r\n", Some(None)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Some(None)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Some(None)),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", Some(None)),
            ("Content-Length: 3, 3\r\n", Some(None)),
            ("Content-Length: +3\r\n", Some(None)),
            ("Content-Length: 99999999999999999999\r\n", Some(None)),
        ] {
            assert_eq!(kind(of(lines)), body, "{lines}");
        }
        let old = b"GET / HTTP/1.0\r\n\r\n";
        let (mut ahead, mut head) = (BytesMut::from(&old[..]), Head::default());
        let unusual = Kind::Unusual { head_bytes: old.len(), body: Some(Body::NONE) };
        assert_eq!((head.take(&mut ahead, &LimitSettings::default()), &ahead[..]), (Ok(Some(unusual)), &old[..]));
        assert!(matches!(take(b"CONNECT x:1 HTTP/1.1\r\n\r\n"), Ok(Some(Kind::Unusual { .. }))));
    }

    #[test]
    fn what_is_no_head_is_refused_and_what_may_become_one_is_waited_for() {
        for bytes in [
            &b"hello\r\n\r\n"[..],
            b"GET / HTTP/2.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
            b"GET / HTTP/1.1\r\n: b\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
        ] {
            assert_eq!(take(bytes), Err(ErrorCode::AmbiguousRequest), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"GET"[..], b"\r\nGET / HTTP/1.1\r\nHost: x", b"GET / HTTP/1.1\r\nHost: x\r\n\r"] {
            assert_eq!(take(bytes), Ok(None), "{}", bytes.escape_ascii());
        }
        let long = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 64 * 1024]].concat();
        assert_eq!(take(&long), Err(ErrorCode::HeadTooLarge));
        let long = [b"GET /".to_vec(), vec![b'a'; 64 * 1024]].concat();
        assert_eq!(take(&long), Err(ErrorCode::UriTooLong));
    }

    #[test]
    fn the_end_of_a_head_is_noticed_wherever_reads_end() {
        for bytes in [&b"GET / HTTP/1.1\r\nA: b\r\n\r\n"[..], b"GET / HTTP/1.1\nA: b\n\n"] {
            for from in 0..bytes.len() {
                assert!(may_end(bytes, from), "{from}");
            }
            assert!(!may_end(&bytes[..bytes.len() - 1], 0));
        }
    }
}
