//! What the access log says is the operator's choice; what it proves is not lost by accident.

use clearway_config::settings::process::{Field, Redaction};

use crate::{
    curl::curl,
    rig::{Rig, bearer, get, routes},
    upstream::Upstream,
};

#[test]
fn a_line_says_what_was_chosen_of_query_headers_address_and_path() {
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    let rig = Rig::start_with(upstream, &routes(&address), |settings| {
        let log = &mut settings.access_log;
        log.fields = vec![Field::RequestId, Field::Admitted, Field::Path, Field::Query, Field::Address];
        log.redact = vec![Redaction::Address, Redaction::Path, Redaction::Query];
        log.headers = vec!["user-agent".into()];
    });
    let request = get("/svc/customers/17?page=2&name=Smith", &[&bearer(1), "User-Agent: \"quoted\"", "X-Other: kept out"]);
    assert_eq!(rig.ask(request).status, 200);
    let lines = rig.log_until(|lines| lines.len() == 1);
    let line = lines[0].as_object().unwrap();
    let names: Vec<_> = line.keys().map(String::as_str).collect();
    assert_eq!(names, ["address", "admitted", "headers", "path", "query", "request_id"]);
    assert_eq!((&line["path"], &line["query"]), (&"/svc/*".into(), &"page=*&name=*".into()));
    assert_eq!((&line["address"], &line["headers"]["user-agent"]), (&"127.0.0.0/24".into(), &"\"quoted\"".into()));
    assert_eq!(line["headers"].as_object().unwrap().len(), 1);
}

#[test]
fn a_line_names_the_protocol_where_that_was_chosen() {
    let upstream = Upstream::start();
    let address = format!("\"http://{}\"", upstream.address);
    let rig = Rig::start_with(upstream, &routes(&address), |settings| {
        settings.access_log.fields = vec![Field::RequestId, Field::Protocol, Field::Tls];
    });
    assert_eq!(rig.get("/svc/a").status, 200);
    let (to, auth) = (rig.proxy().gateway(), bearer(1));
    let asked = curl(to, "http://api.example.com/svc/a", &["--http2-prior-knowledge", "-H", &auth]);
    assert_eq!(asked.status, 200);
    let lines = rig.log_until(|lines| lines.len() == 2);
    assert_eq!((&lines[0]["protocol"], &lines[1]["protocol"]), (&"http/1.1".into(), &"h2".into()));
    assert!(lines.iter().all(|line| line.get("tls").is_none_or(serde_json::Value::is_null)));
}
