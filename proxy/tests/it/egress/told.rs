//! What operators are told of messages that were posted to be passed on, and that they may be posted encrypted.

use clearway_config::{
    KeyId,
    settings::process::{Field, Redaction},
    sync::v1,
};
use serde_json::{Value, json};

use super::{BODY, connect, message, rig, send, webhook, webhook_id};
use crate::{
    authority::{Authority, files},
    curl::curl,
    rig::{ACCOUNT, Rig, bearer, credential, get, routes},
    upstream::Upstream,
};

#[test]
fn every_message_has_its_line_and_is_never_one_of_those_that_were_charged() {
    let mut rig = rig("/hook");
    let passed = send(&rig, &[&bearer(1), "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]);
    let refused = send(&rig, &[]);
    rig.set(v1::Changes { webhooks: vec![webhook(&rig, "/hangup")], ..Default::default() });
    let broken = send(&rig, &[&bearer(1)]);
    let mut client = connect(&rig);
    client.send(message(webhook_id(9), &[&bearer(1)], BODY));
    let unknown = client.read();
    let lines = rig.log_until(|lines| lines.len() == 4);
    let path = format!("/webhooks/{}", webhook_id(1));
    for (line, (answer, reject)) in lines.iter().zip([
        (&passed, Value::Null),
        (&refused, json!("key_missing")),
        (&broken, json!("receiver_broken")),
        (&unknown, json!("not_found")),
    ]) {
        assert_eq!(
            (&line["status"], &line["reject"], &line["admitted"]),
            (&json!(answer.status), &reject, &json!(false)),
            "{line}"
        );
        assert_eq!(line["request_id"].as_str(), answer.header("x-request-id"), "{line}");
        assert_eq!((&line["method"], &line["address"]), (&json!("POST"), &json!("127.0.0.1")), "{line}");
        assert_eq!(line["bytes_out"], json!(answer.body.len()), "{line}");
        assert!(line.get("route").is_none(), "{line}");
    }
    let (account, key) = (ACCOUNT.to_string(), KeyId::from_slice(&credential(1).key_id).unwrap().to_string());
    for line in [&lines[0], &lines[2]] {
        assert_eq!((&line["account_id"], &line["key_id"]), (&json!(account), &json!(key)), "{line}");
        assert_eq!((&line["webhook_id"], &line["path"]), (&json!(webhook_id(1).to_string()), &json!(path)), "{line}");
        assert_eq!(line["upstream"], json!(rig.upstream.address.to_string()), "{line}");
        assert!(line["upstream_us"].as_u64() <= line["duration_us"].as_u64(), "{line}");
        assert_eq!(line["bytes_in"], json!(BODY.len()), "{line}");
    }
    assert_eq!(lines[0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    for (line, absent) in [(&lines[1], "account_id"), (&lines[1], "upstream"), (&lines[3], "webhook_id")] {
        assert!(line.get(absent).is_none(), "{absent} in {line}");
    }
    assert_eq!(rig.counted(), 0);
}

#[test]
fn a_sender_that_leaves_has_its_line_too() {
    let rig = rig("/slow");
    let mut client = connect(&rig);
    client.send(message(webhook_id(1), &[&bearer(1)], BODY));
    rig.upstream.wait_for_requests(1);
    client.leave();
    let lines = rig.log_until(|lines| lines.len() == 1);
    assert_eq!((&lines[0]["status"], &lines[0]["bytes_out"]), (&json!(499), &json!(0)));
}

#[test]
fn settings_choose_what_its_line_says_as_they_do_for_the_gateways() {
    let mut rig = rig("/hook");
    rig.restart_with(|settings| {
        settings.egress.allow = vec!["127.0.0.1/32".parse().unwrap()];
        settings.egress.allow_http = true;
        settings.access_log.fields = vec![Field::RequestId, Field::Path, Field::WebhookId];
        settings.access_log.redact = vec![Redaction::Path];
        settings.access_log.headers = vec!["content-type".to_owned()];
    });
    assert_eq!(send(&rig, &[&bearer(1), "Content-Type: text/x"]).status, 200);
    assert_eq!(rig.get("/svc/a").status, 200);
    let mut lines = rig.log_until(|lines| lines.len() == 2);
    lines.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("request_id")));
    let said = json!({"path": "/webhooks/*", "webhook_id": webhook_id(1).to_string(), "headers": {"content-type": "text/x"}});
    assert!(lines.contains(&said) && lines.contains(&json!({"path": "/svc/*"})), "{lines:?}");
}

#[test]
fn senders_may_speak_tls_and_are_shown_the_gateways_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let own = files(dir.path(), "own");
    authority.certify(&own, &["egress.test"]);
    let upstream = Upstream::start();
    let document = routes(&format!("\"http://{}\"", upstream.address));
    let mut rig = Rig::start_with(upstream, &document, |settings| {
        settings.egress.allow = vec!["127.0.0.1/32".parse().unwrap()];
        settings.egress.allow_http = true;
        settings.egress.tls = true;
        settings.gateway.tls.certificates = vec![own];
        settings.access_log.fields = vec![Field::RequestId, Field::Protocol, Field::Tls];
    });
    let key = v1::Credential { scopes: vec!["write:webhooks".to_owned()], ..credential(1) };
    let webhooks = vec![webhook(&rig, "/hook")];
    rig.set(v1::Changes { credentials: vec![key], webhooks, ..Default::default() });

    let (url, ca) = (format!("https://egress.test/webhooks/{}", webhook_id(1)), authority.file.display().to_string());
    let post = ["--cacert", &ca, "--http2", "-H", &bearer(1), "--data", BODY];
    let answer = curl(rig.proxy().egress(), &url, &post);
    assert_eq!((answer.status, answer.version.as_str()), (200, "1.1"), "{answer:?}");
    assert_eq!(rig.upstream.last().body, BODY.as_bytes());
    let lines = rig.log_until(|lines| lines.len() == 1);
    assert_eq!((&lines[0]["protocol"], &lines[0]["tls"]), (&json!("http/1.1"), &json!("1.3")));

    let mut client = connect(&rig);
    client.try_send(message(webhook_id(1), &[&bearer(1)], BODY).as_bytes());
    client.read_to_end();
    assert_eq!(rig.upstream.received().len(), 1, "nothing is taken in clear");
    assert_eq!(rig.ask(get("/svc/a", &[&bearer(1)])).status, 200, "the gateway is as it was");
}
