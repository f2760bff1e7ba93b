//! What the operator's address tells: metrics in both formats, and the status.

use serde_json::Value;

use crate::rig::{Rig, bearer, eventually, get, key, key_id};

fn status(rig: &Rig) -> Value {
    let answer = rig.admin("/status.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn the_status_says_what_is_asked_for_who_asks_and_what_is_refused() {
    let rig = Rig::start();
    for _ in 0..5 {
        rig.get("/svc/a");
    }
    rig.ask(get("/svc/a", &[]));
    rig.get("/nowhere");
    let status = eventually("all requests to be counted", || {
        let status = status(&rig);
        (status["traffic"]["requests_total"] == 7 && status["ledger"]["in_flight"] == 0).then_some(status)
    });
    let route = |name: &str| status["routes"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
    assert_eq!((&route("svc")["requests_total"], &route("none")["requests_total"]), (&6.into(), &1.into()));
    assert!(route("svc")["p99_ms"].as_f64().unwrap() > 0.0 && route("svc")["upstream_p50_ms"].is_number());
    assert!(route("svc")["rejects_per_s"].as_f64().unwrap() > 0.0 && status["traffic"]["requests_per_s"].as_f64().unwrap() > 0.0);
    let busiest = &status["busiest"];
    assert_eq!((&busiest["keys"][0]["id"], &busiest["keys"][0]["today"]), (&key_id(1).to_string().into(), &5.into()));
    assert_eq!(busiest["accounts"][0]["today"], 5);
    let codes: Vec<_> = status["rejects"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"key_missing") && codes.contains(&"route_not_found") && codes.len() == 2, "{codes:?}");
    assert_eq!((&status["snapshot"]["revision"], &status["snapshot"]["connected"]), (&1.into(), &Value::Null));
    assert_eq!((&status["unready"], &status["snapshot"]["mode"]), (&Value::Null, &"available".into()));
    let target = status["upstreams"].as_array().unwrap().iter().find(|u| u["name"] == "up").unwrap();
    assert_eq!(target["targets"][0]["address"], rig.upstream.address.to_string());
    assert!(status["process"]["open_descriptors"].as_u64().unwrap() > 3);
    assert!(!status.to_string().contains(&key(1)), "no secret is shown");
}

#[test]
fn a_page_for_people_comes_with_a_policy_that_lets_it_load_nothing() {
    let rig = Rig::start();
    let page = rig.admin("/status");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(String::from_utf8(page.body).unwrap().contains("/status.json"));
}

#[test]
fn a_traced_request_is_the_example_of_its_bucket() {
    let rig = Rig::start();
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(rig.ask(get("/svc/a", &[&bearer(1), parent])).status, 200);
    let mut client = crate::client::Client::connect(rig.proxy().metrics());
    let text = eventually("the exemplar", || {
        client.send("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n");
        let answer = client.read();
        assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
        Some(String::from_utf8(answer.body).unwrap()).filter(|text| text.contains("trace_id"))
    });
    let example = text.lines().find(|line| line.contains("trace_id")).unwrap();
    assert!(example.contains("{route=\"svc\",le=") && example.contains("# {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0."));
    assert!(text.ends_with("# EOF\n"));
}
