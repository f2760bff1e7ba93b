//! Requests as OTLP spans, in the words of OpenTelemetry's semantic conventions for HTTP (1.29).
//!
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>

use std::time::{Duration, SystemTime};

use clearway_config::ErrorCode;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
};

use super::{Attempt, Record};

const SCHEMA: &str = "https://opentelemetry.io/schemas/1.29.0";
/// W3C's `sampled`, and "it is known whether the parent is remote".
const FLAGS_LOCAL_PARENT: u32 = 0x101;
/// The same, and "it is".
const FLAGS_REMOTE_PARENT: u32 = 0x301;

/// Who speaks.
pub(super) fn resource(service: &str, instance: &str) -> Resource {
    let attributes = vec![
        text("service.name", service),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", instance),
        text("host.name", &rustix::system::uname().nodename().to_string_lossy()),
    ];
    Resource { attributes, ..Resource::default() }
}

pub(super) fn request(resource: &Resource, records: &[Record]) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: "clearway".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let spans = records.iter().flat_map(|record| std::iter::once(server(record)).chain(client(record))).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA.into() }];
    let resource_spans = ResourceSpans { resource: Some(resource.clone()), scope_spans, schema_url: SCHEMA.into() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// The request as its client had it.
fn server(record: &Record) -> Span {
    let finished = &record.finished;
    let (method, original) = method(&record.method);
    let name = match (&record.route_path, method) {
        (Some(route), "_OTHER") => format!("HTTP {route}"),
        (Some(route), method) => format!("{method} {route}"),
        (None, "_OTHER") => "HTTP".to_owned(),
        (None, method) => method.to_owned(),
    };
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.scheme", if finished.https { "https" } else { "http" }),
        number("http.response.status_code", u64::from(finished.status)),
        text("clearway.request_id", &finished.request_id.to_string()),
    ];
    let known = [
        ("http.request.method_original", original),
        ("server.address", Some(&*record.host)),
        ("url.path", record.path.as_deref()),
        ("http.route", record.route_path.as_deref()),
        ("clearway.route", record.route.as_deref()),
        ("clearway.upstream", record.upstream.as_deref()),
        ("clearway.reject", finished.reject.map(ErrorCode::as_str)),
    ];
    attributes.extend(known.into_iter().filter_map(|(name, value)| Some(text(name, value.filter(|v| !v.is_empty())?))));
    attributes.extend(finished.account_id.map(|id| text("clearway.account_id", &id.to_string())));
    let failed = finished.status >= 500;
    if failed {
        attributes.push(error_type(finished.reject.map(ErrorCode::as_str), Some(finished.status)));
    }
    let start = record.ended - finished.duration;
    Span {
        trace_id: finished.trace_id.to_be_bytes().into(),
        span_id: server_id(finished.span_id),
        parent_span_id: finished.parent_id.map_or_else(Vec::new, |id| id.to_be_bytes().into()),
        flags: if finished.parent_id.is_some() { FLAGS_REMOTE_PARENT } else { FLAGS_LOCAL_PARENT },
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(record.ended),
        attributes,
        status: status(failed),
        ..Span::default()
    }
}

/// The attempt at the upstream, below the request.
fn client(record: &Record) -> Option<Span> {
    let finished = &record.finished;
    let Attempt { target, began, took, status: answered, resent, .. } = finished.attempt?;
    let (method, original) = method(&record.method);
    let mut attributes = vec![
        text("http.request.method", method),
        text("server.address", &target.ip().to_string()),
        number("server.port", u64::from(target.port())),
    ];
    let known = [("http.request.method_original", original), ("clearway.upstream", record.upstream.as_deref())];
    attributes.extend(known.into_iter().filter_map(|(name, value)| Some(text(name, value?))));
    attributes.extend(answered.map(|status| number("http.response.status_code", u64::from(status))));
    if resent > 0 {
        attributes.push(number("http.request.resend_count", resent as u64));
    }
    let failed = answered.is_none_or(|status| status >= 400);
    if failed {
        let reject = finished.reject.map(ErrorCode::as_str).filter(|_| answered.is_none());
        attributes.push(error_type(reject, answered));
    }
    let start = record.ended - finished.duration + began;
    Some(Span {
        trace_id: finished.trace_id.to_be_bytes().into(),
        span_id: finished.span_id.to_be_bytes().into(),
        parent_span_id: server_id(finished.span_id),
        flags: FLAGS_LOCAL_PARENT,
        name: if method == "_OTHER" { "HTTP".to_owned() } else { method.to_owned() },
        kind: SpanKind::Client.into(),
        start_time_unix_nano: nanos(start),
        end_time_unix_nano: nanos(took.map_or(record.ended, |took| start + took)),
        attributes,
        status: status(failed),
        ..Span::default()
    })
}

/// The request's own span, which nobody outside is told of. A mixture of the other's random id that no
/// two ids share (the last steps of SplitMix64), so that no second one need be drawn on every request.
fn server_id(client: u64) -> Vec<u8> {
    let mixed = (client ^ client >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    // 0 means none; only 0 itself mixes to it, and that is not an id.
    (mixed ^ mixed >> 31).max(1).to_be_bytes().into()
}

/// The method as the conventions know it, and as it was if they do not.
fn method(method: &str) -> (&str, Option<&str>) {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    if KNOWN.contains(&method) { (method, None) } else { ("_OTHER", Some(method)) }
}

fn error_type(reject: Option<&str>, status: Option<u16>) -> KeyValue {
    let status = status.map(|status| status.to_string());
    text("error.type", reject.or(status.as_deref()).unwrap_or("_OTHER"))
}

fn status(failed: bool) -> Option<Status> {
    failed.then(|| Status { code: StatusCode::Error.into(), message: String::new() })
}

fn nanos(at: SystemTime) -> u64 {
    let since: Duration = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Finished, tests::finished},
        *,
    };

    fn spans(finished: &Finished<'_>) -> (Span, Option<Span>) {
        let record = Record::of(finished, true);
        (server(&record), client(&record))
    }

    fn said(span: &Span, key: &str) -> Option<String> {
        let value = span.attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()?;
        match value {
            Value::StringValue(text) => Some(text.clone()),
            Value::IntValue(number) => Some(number.to_string()),
            _ => None,
        }
    }

    #[test]
    fn the_upstreams_span_is_below_the_requests_and_within_its_time() {
        let (server, client) = spans(&finished());
        let client = client.unwrap();
        assert_eq!(
            (server.parent_span_id.as_slice(), client.span_id.as_slice()),
            (&9_u64.to_be_bytes()[..], &7_u64.to_be_bytes()[..])
        );
        assert_eq!((&client.parent_span_id, &client.trace_id), (&server.span_id, &server.trace_id));
        assert_ne!(server.span_id, client.span_id);
        assert_eq!(server.end_time_unix_nano - server.start_time_unix_nano, 30_000_000);
        assert_eq!(client.start_time_unix_nano - server.start_time_unix_nano, 10_000_000);
        assert_eq!(client.end_time_unix_nano - client.start_time_unix_nano, 15_000_000);
        assert_eq!((server.name.as_str(), client.name.as_str()), ("GET /orders", "GET"));
        assert_eq!((server.status, client.status), (None, None));
    }

    #[test]
    fn a_failure_is_told_by_its_code_on_both_spans() {
        let attempt = finished().attempt.map(|attempt| Attempt { took: None, status: None, resent: 2, ..attempt });
        let failed = Finished { status: 504, reject: Some(ErrorCode::UpstreamTimeout), attempt, ..finished() };
        let (server, client) = spans(&failed);
        let client = client.unwrap();
        for span in [&server, &client] {
            assert_eq!(said(span, "error.type").unwrap(), "upstream_timeout");
            assert_eq!(span.status.as_ref().unwrap().code, StatusCode::Error as i32);
        }
        assert_eq!(said(&client, "http.request.resend_count").unwrap(), "2");
        assert_eq!((client.end_time_unix_nano, said(&client, "http.response.status_code")), (server.end_time_unix_nano, None));
    }

    #[test]
    fn a_refusal_is_one_span_that_says_why_and_is_no_error_of_ours() {
        let refused = Finished { status: 401, reject: Some(ErrorCode::KeyMissing), attempt: None, ..finished() };
        let (server, client) = spans(&refused);
        assert_eq!((said(&server, "clearway.reject").unwrap().as_str(), server.status.as_ref()), ("key_missing", None));
        assert!(client.is_none());
    }

    #[test]
    fn an_invented_method_makes_no_name() {
        let invented = Finished { method: "BREW", route_path: None, ..finished() };
        let (server, _) = spans(&invented);
        assert_eq!((server.name.as_str(), said(&server, "http.request.method").unwrap().as_str()), ("HTTP", "_OTHER"));
        assert_eq!(said(&server, "http.request.method_original").unwrap(), "BREW");
    }
}
