//! One request as one line of JSON.
//!
//! Written by hand into a buffer that is reused: at gateway volume a serializer and a fresh string a
//! field cost more than the decision. Which fields a line has is its [`Shape`]'s to say. No field holds a
//! credential.

use std::{cell::Cell, io::Write as _, net::IpAddr, net::SocketAddr};

use clearway_config::{
    AccountId, ErrorCode, KeyId, RequestId, WebhookId,
    settings::{gateway::AuthMethod, process::Field},
};

use super::shape::{Network, Shape};

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
    /// Query and headers as [`Shape::describe`] wrote them.
    pub(crate) described: &'r str,
    pub(crate) route: Option<&'r str>,
    /// What the route matches.
    pub(crate) route_path: Option<&'r str>,
    /// 499: the client left before there was an answer.
    pub(crate) status: u16,
    pub(crate) admitted: bool,
    pub(crate) reject: Option<ErrorCode>,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) key_id: Option<KeyId>,
    /// Of a message that was posted to be passed on.
    pub(crate) webhook_id: Option<WebhookId>,
    pub(crate) plan: Option<&'r str>,
    /// What the request was judged by.
    pub(crate) auth: Option<AuthMethod>,
    /// Whom its token or certificate is about.
    pub(crate) subject: Option<&'r str>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) duration_us: u64,
    pub(crate) upstream_us: Option<u64>,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// What the cache had to do with it.
    pub(crate) cache: Option<&'r str>,
    /// The process ended while it was being served; written at the next start.
    pub(crate) interrupted: bool,
    pub(crate) protocol: Option<&'static str>,
    /// The version.
    pub(crate) tls: Option<&'static str>,
}

impl Line<'_> {
    /// Appends the line and its end.
    pub(super) fn write(&self, shape: &Shape, to: &mut Vec<u8>) {
        let mut object = Object::open(to, shape);
        object.time(self.time_ms);
        object.shown(Field::RequestId, Some(self.request_id));
        object.shown(Field::TraceId, Some(format_args!("{:032x}", self.trace_id)));
        object.text(Field::Method, Some(cut(self.method, WORD_CHARS_MAX)));
        object.text(Field::Host, Some(cut(self.host, WORD_CHARS_MAX)));
        self.write_path(&mut object, shape);
        object.raw(self.described);
        object.text(Field::Route, self.route);
        object.number(Field::Status, u64::from(self.status));
        object.truth(Field::Admitted, self.admitted);
        object.text(Field::Reject, self.reject.map(ErrorCode::as_str));
        object.shown(Field::AccountId, self.account_id);
        object.shown(Field::KeyId, self.key_id);
        object.shown(Field::WebhookId, self.webhook_id);
        object.text(Field::Plan, self.plan);
        object.text(Field::Auth, self.auth.filter(|&auth| auth != AuthMethod::Key).map(AuthMethod::as_str));
        object.text(Field::Subject, self.subject.map(|subject| cut(subject, WORD_CHARS_MAX)));
        if shape.hides_address() {
            object.shown(Field::Address, self.address.map(Network::of));
        } else {
            object.shown(Field::Address, self.address);
        }
        object.number(Field::DurationUs, self.duration_us);
        if let Some(took) = self.upstream_us {
            object.number(Field::UpstreamUs, took);
        }
        object.shown(Field::Upstream, self.upstream);
        object.number(Field::BytesIn, self.bytes_in);
        object.number(Field::BytesOut, self.bytes_out);
        object.text(Field::Cache, self.cache);
        if self.interrupted {
            object.truth(Field::Interrupted, true);
        }
        object.text(Field::Protocol, self.protocol);
        object.text(Field::Tls, self.tls);
        object.close();
    }

    fn write_path(&self, object: &mut Object<'_>, shape: &Shape) {
        if !shape.hides_path() {
            return object.text(Field::Path, Some(cut(self.path, PATH_CHARS_MAX)));
        }
        let Some(route) = self.route_path else { return };
        let depth = |path: &str| path.trim_end_matches('/').matches('/').count();
        let shown = cut(route.trim_end_matches('/'), PATH_CHARS_MAX);
        // A route's parameter stands for a segment; what lies deeper than the route is the client's.
        let below = depth(self.path) > depth(route);
        object.joined(Field::Path, if below { [shown, "/*"] } else { [if shown.is_empty() { "/" } else { shown }, ""] });
    }
}

/// An object being written. A field that is absent, or not wanted, takes no room.
struct Object<'b> {
    to: &'b mut Vec<u8>,
    shape: &'b Shape,
}

impl<'b> Object<'b> {
    fn open(to: &'b mut Vec<u8>, shape: &'b Shape) -> Self {
        to.push(b'{');
        Self { to, shape }
    }

    fn time(&mut self, ms: u64) {
        if self.named(Field::Time) {
            self.to.push(b'"');
            write_time(self.to, ms);
            self.to.push(b'"');
        }
    }

    /// Writes the field's name, if it is wanted.
    fn named(&mut self, field: Field) -> bool {
        let wanted = self.shape.has(field);
        if wanted {
            self.comma();
            self.to.push(b'"');
            self.to.extend_from_slice(name(field).as_bytes());
            self.to.extend_from_slice(b"\":");
        }
        wanted
    }

    fn comma(&mut self) {
        if self.to.last() != Some(&b'{') {
            self.to.push(b',');
        }
    }

    fn text(&mut self, field: Field, value: Option<&str>) {
        if let Some(value) = value
            && self.named(field)
        {
            self.to.push(b'"');
            write_escaped(self.to, value);
            self.to.push(b'"');
        }
    }

    fn joined(&mut self, field: Field, parts: [&str; 2]) {
        if self.named(field) {
            self.to.push(b'"');
            parts.iter().for_each(|part| write_escaped(self.to, part));
            self.to.push(b'"');
        }
    }

    /// A value whose text needs no escape: ids, addresses, hexadecimal.
    fn shown(&mut self, field: Field, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value
            && self.named(field)
        {
            write!(self.to, "\"{value}\"").expect("a Vec takes everything");
        }
    }

    fn number(&mut self, field: Field, value: u64) {
        if self.named(field) {
            write!(self.to, "{value}").expect("a Vec takes everything");
        }
    }

    fn truth(&mut self, field: Field, value: bool) {
        if self.named(field) {
            self.to.extend_from_slice(if value { b"true" } else { b"false" });
        }
    }

    /// Fields that are JSON already.
    fn raw(&mut self, fields: &str) {
        if !fields.is_empty() {
            self.comma();
            self.to.extend_from_slice(fields.as_bytes());
        }
    }

    fn close(self) {
        self.to.extend_from_slice(b"}\n");
    }
}

/// As the settings and the lines call it.
pub(super) fn name(field: Field) -> &'static str {
    match field {
        Field::Time => "time",
        Field::RequestId => "request_id",
        Field::TraceId => "trace_id",
        Field::Method => "method",
        Field::Host => "host",
        Field::Path => "path",
        Field::Query => "query",
        Field::Route => "route",
        Field::Status => "status",
        Field::Admitted => "admitted",
        Field::Reject => "reject",
        Field::AccountId => "account_id",
        Field::KeyId => "key_id",
        Field::WebhookId => "webhook_id",
        Field::Plan => "plan",
        Field::Auth => "auth",
        Field::Subject => "subject",
        Field::Address => "address",
        Field::DurationUs => "duration_us",
        Field::UpstreamUs => "upstream_us",
        Field::Upstream => "upstream",
        Field::BytesIn => "bytes_in",
        Field::BytesOut => "bytes_out",
        Field::Cache => "cache",
        Field::Interrupted => "interrupted",
        Field::Protocol => "protocol",
        Field::Tls => "tls",
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

pub(super) fn write_escaped(to: &mut Vec<u8>, text: &str) {
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

pub(super) fn cut(text: &str, chars_max: usize) -> &str {
    if text.len() <= chars_max {
        return text;
    }
    &text[..text.floor_char_boundary(chars_max)]
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::process::{AccessLogSettings, Redaction};

    use super::*;

    fn line() -> Line<'static> {
        Line {
            time_ms: 1_770_724_800_250,
            request_id: RequestId::new(1_770_724_800_250, 7),
            trace_id: 0xab,
            method: "GET",
            host: "api.example.com",
            path: "/orders/1",
            described: "",
            route: Some("orders"),
            route_path: Some("/orders"),
            status: 200,
            admitted: true,
            reject: None,
            account_id: Some(AccountId::new(1, 2)),
            key_id: Some(KeyId::new(1, 3)),
            webhook_id: None,
            plan: Some("starter"),
            auth: Some(AuthMethod::Jwt),
            subject: Some("user-1"),
            address: Some("192.0.2.1".parse().unwrap()),
            duration_us: 1_234,
            upstream_us: Some(1_000),
            upstream: Some("127.0.0.1:7000".parse().unwrap()),
            bytes_in: 0,
            bytes_out: 17,
            cache: None,
            interrupted: false,
            protocol: Some("h2"),
            tls: Some("1.3"),
        }
    }

    fn parsed(line: &Line<'_>) -> serde_json::Value {
        shaped(line, &AccessLogSettings::default())
    }

    fn shaped(line: &Line<'_>, settings: &AccessLogSettings) -> serde_json::Value {
        let mut bytes = Vec::new();
        line.write(&Shape::new(settings), &mut bytes);
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
    fn a_line_has_the_fields_that_were_chosen_and_no_other() {
        use Field::{BytesOut, Method, RequestId, Status};
        let settings = AccessLogSettings { fields: vec![Status, RequestId, Method, BytesOut], ..Default::default() };
        let json = shaped(&line(), &settings);
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["bytes_out", "method", "request_id", "status"]);
    }

    #[test]
    fn what_is_redacted_keeps_the_network_and_the_route() {
        let settings = AccessLogSettings { redact: vec![Redaction::Address, Redaction::Path], ..Default::default() };
        let of = |line: &Line<'_>| {
            let json = shaped(line, &settings);
            (json["address"].as_str().unwrap().to_owned(), json.get("path").and_then(|p| p.as_str()).map(str::to_owned))
        };
        assert_eq!(of(&line()), ("192.0.2.0/24".into(), Some("/orders/*".into())));
        let v6 = Line { address: Some("2001:db8:1:2::3".parse().unwrap()), path: "/orders", ..line() };
        assert_eq!(of(&v6), ("2001:db8:1::/48".into(), Some("/orders".into())));
        let mapped = Line { address: Some("::ffff:192.0.2.9".parse().unwrap()), route_path: Some("/"), ..line() };
        assert_eq!(of(&mapped), ("192.0.2.0/24".into(), Some("/*".into())));
        assert_eq!(of(&Line { route_path: None, ..line() }).1, None);
        let below = |path, route| of(&Line { path, route_path: Some(route), ..line() }).1.unwrap();
        assert_eq!(below("/users/17", "/users/{id}"), "/users/{id}");
        assert_eq!(below("/users/17/mail", "/users/{id}"), "/users/{id}/*");
        assert_eq!((below("/", "/").as_str(), below("/orders/", "/orders").as_str()), ("/", "/orders"));
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
