//! Traces reach a collector, and a collector that is gone reaches nobody's request.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;

use crate::{
    rig::{ACCOUNT, Rig, bearer, eventually, get, routes},
    upstream::Upstream,
};

fn traced_to(endpoint: String, sample: f64) -> Rig {
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    Rig::start_with(upstream, &routes(&address), |settings| {
        settings.tracing.otlp_endpoint = endpoint;
        settings.tracing.sample = sample;
        settings.tracing.service_name = "edge".into();
    })
}

fn said(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref()?.value.clone());
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// All spans that have come, once there are `n`. They were sent as protobuf, from the service that was named.
fn spans(collector: &Upstream, n: usize) -> Vec<Span> {
    eventually("spans at the collector", || {
        let mut spans = Vec::new();
        for received in collector.received() {
            assert_eq!(received.target(), "/v1/traces");
            assert_eq!(received.header("content-type"), ["application/x-protobuf"]);
            for resource in ExportTraceServiceRequest::decode(received.body.as_slice()).unwrap().resource_spans {
                assert_eq!(said(&resource.resource.unwrap().attributes, "service.name"), "edge");
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        (spans.len() >= n).then_some(spans)
    })
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind == kind as i32).collect()
}

#[test]
fn a_callers_trace_goes_on_through_the_gateway_to_the_upstream() {
    let collector = Upstream::start();
    let rig = traced_to(format!("http://{}/", collector.address), 0.0);
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(rig.ask(get("/svc/orders?secret=hunter2", &[&bearer(1), parent])).status, 200);
    rig.get("/svc/not-traced");
    let spans = spans(&collector, 2);
    let (server, client) = (of_kind(&spans, SpanKind::Server)[0], of_kind(&spans, SpanKind::Client)[0]);
    assert_eq!(spans.len(), 2, "a trace that begins here was not drawn");
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        (hex(&server.trace_id), hex(&server.parent_span_id)),
        ("4bf92f3577b34da6a3ce929d0e0e4736".into(), "00f067aa0ba902b7".into())
    );
    assert_eq!((&client.trace_id, &client.parent_span_id), (&server.trace_id, &server.span_id));
    let told = &rig.upstream.received()[0];
    let expected = format!("00-{}-{}-01", hex(&client.trace_id), hex(&client.span_id));
    assert_eq!(told.header("traceparent"), [expected.as_str()], "the upstream's own span hangs below the attempt");

    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET /svc", "GET"));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/svc"),
        ("url.path", "/svc/orders"),
        ("http.response.status_code", "200"),
        ("server.address", "api.example.com"),
        ("clearway.route", "svc"),
        ("clearway.account_id", &ACCOUNT.to_string()),
    ] {
        assert_eq!(said(&server.attributes, key), value, "{key}");
    }
    let port = rig.upstream.address.port().to_string();
    for (key, value) in [("server.port", port.as_str()), ("clearway.upstream", "up"), ("http.response.status_code", "200")] {
        assert_eq!(said(&client.attributes, key), value, "{key}");
    }
    assert!(client.start_time_unix_nano >= server.start_time_unix_nano && client.end_time_unix_nano <= server.end_time_unix_nano);
    let sent = format!("{:?}", collector.received());
    assert!(!sent.contains("hunter2") && !sent.contains(&crate::rig::key(1)), "neither query nor key");
}

#[test]
fn traces_that_begin_here_say_why_a_request_was_refused_and_what_failed() {
    let collector = Upstream::start();
    let mut rig = traced_to(format!("http://{}", collector.address), 1.0);
    assert_eq!(rig.ask(get("/svc/a", &[])).status, 401);
    assert_eq!(rig.get("/svc/hangup").status, 502);
    // Stopping sends what waits.
    rig.stop();
    let spans = spans(&collector, 3);
    let servers = of_kind(&spans, SpanKind::Server);
    let by_reject = |code: &str| *servers.iter().find(|span| said(&span.attributes, "clearway.reject") == code).unwrap();
    let refused = by_reject("key_missing");
    assert_eq!((refused.status.as_ref(), refused.parent_span_id.is_empty()), (None, true), "a refusal is the client's matter");
    let failed = by_reject("upstream_unreachable");
    assert_eq!(failed.status.as_ref().unwrap().code, StatusCode::Error as i32);
    let attempt = of_kind(&spans, SpanKind::Client)[0];
    assert_eq!(
        (&attempt.parent_span_id, said(&attempt.attributes, "error.type").as_str()),
        (&failed.span_id, "upstream_unreachable")
    );
    assert_eq!((servers.len(), spans.len()), (2, 3));
}

#[test]
fn a_collector_that_is_gone_costs_no_request_and_holds_up_no_stop() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = traced_to(format!("http://{nobody}"), 1.0);
    let mut client = rig.client();
    for n in 0..200 {
        client.send(get(&format!("/svc/{n}"), &[&bearer(1)]));
        assert_eq!(client.read().status, 200);
    }
    let began = std::time::Instant::now();
    rig.stop();
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(rig.log().len(), 200);
}
