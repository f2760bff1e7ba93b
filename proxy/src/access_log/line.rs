//! One request as one line of JSON.
//!
//! Written by hand into a buffer that is reused: at gateway volume a serializer and a fresh string a
//! field cost more than the decision. Credentials and query strings have no field here.

use std::{cell::Cell, io::Write as _, net::IpAddr, net::SocketAddr};

use clearway_config::{AccountId, ErrorCode, KeyId, RequestId};

/// Characters of a path that are logged.
pub(crate) const PATH_CHARS_MAX: usize = 512;
/// Characters of a host or a method that are logged.
const WORD_CHARS_MAX: usize = 255;

/// What is said of a request.
#[derive(Debug, Clone)]
pub(crate) struct Line<'r> {
    /// When its head had been read.
    pub(crate) time_ms: u64,
    pub(crate) request_id: RequestId,
    pub(crate) trace_id: u128,
    pub(crate) method: &'r str,
    pub(crate) host: &'r str,
    pub(crate) path: &'r str,
    pub(crate) route: Option<&'r str>,
    /// 499: the client left before there was an answer.
    pub(crate) status: u16,
    pub(crate) admitted: bool,
    pub(crate) reject: Option<ErrorCode>,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) key_id: Option<KeyId>,
    pub(crate) plan: Option<&'r str>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) duration_us: u64,
    pub(crate) upstream_us: Option<u64>,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The process ended while it was being served; written at the next start.
    pub(crate) interrupted: bool,
}

impl Line<'_> {
    /// Appends the line and its end.
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let mut object = Object::open(to);
        object.time(self.time_ms);
        object.shown("request_id", Some(self.request_id));
        object.shown("trace_id", Some(format_args!("{:032x}", self.trace_id)));
        object.text("method", Some(cut(self.method, WORD_CHARS_MAX)));
        object.text("host", Some(cut(self.host, WORD_CHARS_MAX)));
        object.text("path", Some(cut(self.path, PATH_CHARS_MAX)));
        object.text("route", self.route);
        object.number("status", u64::from(self.status));
        object.truth("admitted", self.admitted);
        object.text("reject", self.reject.map(ErrorCode::as_str));
        object.shown("account_id", self.account_id);
        object.shown("key_id", self.key_id);
        object.text("plan", self.plan);
        object.shown("address", self.address);
        object.number("duration_us", self.duration_us);
        if let Some(took) = self.upstream_us {
            object.number("upstream_us", took);
        }
        object.shown("upstream", self.upstream);
        object.number("bytes_in", self.bytes_in);
        object.number("bytes_out", self.bytes_out);
        if self.interrupted {
            object.truth("interrupted", true);
        }
        object.close();
    }
}

/// An object being written. A field that is absent takes no room.
struct Object<'b> {
    to: &'b mut Vec<u8>,
}

impl<'b> Object<'b> {
    fn open(to: &'b mut Vec<u8>) -> Self {
        to.push(b'{');
        Self { to }
    }

    fn time(&mut self, ms: u64) {
        self.to.extend_from_slice(b"\"time\":\"");
        write_time(self.to, ms);
        self.to.push(b'"');
    }

    fn name(&mut self, name: &str) {
        self.to.extend_from_slice(b",\"");
        self.to.extend_from_slice(name.as_bytes());
        self.to.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.name(name);
        self.to.push(b'"');
        write_escaped(self.to, value);
        self.to.push(b'"');
    }

    /// A value whose text needs no escape: ids, addresses, hexadecimal.
    fn shown(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        let Some(value) = value else { return };
        self.name(name);
        write!(self.to, "\"{value}\"").expect("a Vec takes everything");
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        write!(self.to, "{value}").expect("a Vec takes everything");
    }

    fn truth(&mut self, name: &str, value: bool) {
        self.name(name);
        self.to.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn close(self) {
        self.to.extend_from_slice(b"}\n");
    }
}

/// RFC 3339 in UTC with milliseconds. The part through the second is kept: it changes once a second.
fn write_time(to: &mut Vec<u8>, ms: u64) {
    const THROUGH_SECOND: usize = 19;
    thread_local! {
        static LAST: Cell<(u64, [u8; THROUGH_SECOND])> = const { Cell::new((u64::MAX, [0; THROUGH_SECOND])) };
    }
    let (second, milli) = (ms / 1_000, ms % 1_000);
    let (mut held, mut text) = LAST.get();
    if held != second {
        let stamp = i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
        let shown = stamp.to_string();
        if let Some(through_second) = shown.as_bytes().first_chunk() {
            (held, text) = (second, *through_second);
            LAST.set((held, text));
        }
    }
    to.extend_from_slice(&text);
    write!(to, ".{milli:03}Z").expect("a Vec takes everything");
}

fn write_escaped(to: &mut Vec<u8>, text: &str) {
    if !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\' || b == 0x7f) {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    for b in text.bytes() {
        match b {
            b'"' | b'\\' => to.extend_from_slice(&[b'\\', b]),
            0..0x20 | 0x7f => write!(to, "\\u{b:04x}").expect("a Vec takes everything"),
            _ => to.push(b),
        }
    }
}

fn cut(text: &str, chars_max: usize) -> &str {
    if text.len() <= chars_max {
        return text;
    }
    &text[..text.floor_char_boundary(chars_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            time_ms: 1_770_724_800_250,
            request_id: RequestId::new(1_770_724_800_250, 7),
            trace_id: 0xab,
            method: "GET",
            host: "api.example.com",
            path: "/orders/1",
            route: Some("orders"),
            status: 200,
            admitted: true,
            reject: None,
            account_id: Some(AccountId::new(1, 2)),
            key_id: Some(KeyId::new(1, 3)),
            plan: Some("starter"),
            address: Some("192.0.2.1".parse().unwrap()),
            duration_us: 1_234,
            upstream_us: Some(1_000),
            upstream: Some("127.0.0.1:7000".parse().unwrap()),
            bytes_in: 0,
            bytes_out: 17,
            interrupted: false,
        }
    }

    fn parsed(line: &Line<'_>) -> serde_json::Value {
        let mut bytes = Vec::new();
        line.write(&mut bytes);
        assert_eq!(bytes.pop(), Some(b'\n'));
        assert!(!bytes.contains(&b'\n'), "one line");
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_line_is_one_json_object_with_every_field() {
        let json = parsed(&line());
        assert_eq!(json["time"], "2026-02-10T12:00:00.250Z");
        assert_eq!(json["request_id"].as_str().unwrap().parse::<RequestId>().unwrap(), line().request_id);
        assert_eq!(json["trace_id"], "000000000000000000000000000000ab");
        assert_eq!((&json["status"], &json["admitted"]), (&200.into(), &true.into()));
        assert_eq!((&json["upstream"], &json["address"]), (&"127.0.0.1:7000".into(), &"192.0.2.1".into()));
        assert!(json.get("reject").is_none() && json.get("interrupted").is_none());
    }

    #[test]
    fn what_a_client_chooses_cannot_break_the_line_nor_fill_the_disk() {
        let path = format!("/\"\\\n\u{7f}é{}", "é".repeat(PATH_CHARS_MAX));
        let json = parsed(&Line { path: &path, ..line() });
        let logged = json["path"].as_str().unwrap();
        assert!(path.starts_with(logged) && logged.len() <= PATH_CHARS_MAX, "{logged}");
    }

    #[test]
    fn the_second_is_rendered_anew_when_it_changes() {
        let time = |ms| parsed(&Line { time_ms: ms, ..line() })["time"].as_str().unwrap().to_owned();
        assert_eq!(time(999), "1970-01-01T00:00:00.999Z");
        assert_eq!(time(1_001), "1970-01-01T00:00:01.001Z");
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
    }
}
