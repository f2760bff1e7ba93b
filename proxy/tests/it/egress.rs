//! The egress listener: an operator's own sender posts, and its receiver gets it signed.

mod told;

use std::time::{SystemTime, UNIX_EPOCH};

use clearway_config::{AccountId, WebhookId, sync::v1};
use clearway_filters::webhook::{HmacSecret, VerifyingSecret, verify};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    client::{Answer, Client},
    rig::{ACCOUNT, Rig, account, bearer, credential, eventually, request, routes},
    upstream::{Received, Upstream},
};

const BODY: &str = r#"{"hello":"world"}"#;

fn webhook_id(n: u8) -> WebhookId {
    WebhookId::from_bytes([n; 16])
}

/// Webhook 1, of the rig's account, posts to `path` of the upstream.
fn webhook(rig: &Rig, path: &str) -> v1::Webhook {
    v1::Webhook {
        id: webhook_id(1).to_vec(),
        account_id: ACCOUNT.to_vec(),
        url: format!("http://{}{path}", rig.upstream.address),
        active: true,
        brand: "Clearway".to_owned(),
        secrets: Some(v1::WebhookSecrets {
            signing: vec![v1::WebhookSecret { hmac_key: vec![7; 32], ..Default::default() }],
            ..Default::default()
        }),
        ..v1::Webhook::default()
    }
}

/// Key 1 may post webhooks, and webhook 1 posts to `path`.
fn rig(path: &str) -> Rig {
    let upstream = Upstream::start();
    let document = routes(&format!("\"http://{}\"", upstream.address));
    let mut rig = Rig::start_with(upstream, &document, |settings| {
        settings.egress.allow = vec!["127.0.0.1/32".parse().unwrap()];
        settings.egress.allow_http = true;
        settings.egress.body_max = "64KiB".parse().unwrap();
    });
    let key = v1::Credential { scopes: vec!["write:webhooks".to_owned()], ..credential(1) };
    let webhooks = vec![webhook(&rig, path)];
    rig.set(v1::Changes { credentials: vec![key], webhooks, ..Default::default() });
    rig
}

fn connect(rig: &Rig) -> Client {
    Client::connect(rig.proxy().egress())
}

fn message(id: WebhookId, headers: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    request("POST", &format!("/webhooks/{id}"), &[headers, &[&length]].concat(), body)
}

fn send(rig: &Rig, headers: &[&str]) -> Answer {
    let mut client = connect(rig);
    client.send(message(webhook_id(1), headers, BODY));
    client.read()
}

fn headers_of(received: &Received) -> HeaderMap {
    let lines = received.head.lines().filter_map(|line| line.split_once(": "));
    lines.map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())).collect()
}

fn assert_verifies(received: &Received) {
    let secret = VerifyingSecret::Hmac(HmacSecret::new(&[7; 32]).unwrap());
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(verify(&headers_of(received), &received.body, &[secret], now_s), Ok(()));
}

#[test]
fn a_message_is_passed_on_signed_and_its_answer_back() {
    let rig = rig("/hooks/hops?x=1");
    let sent = ["Content-Type: text/x", "Webhook-Id: order-17", "X-Forged: 1", "Clearway-Attempt: 9", "Clearway-Event-Type: a.b"];
    let answer = send(&rig, &[&[bearer(1).as_str()], &sent[..]].concat());
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_eq!((answer.header("clearway-answered-by"), answer.header("webhook-id")), (Some("receiver"), Some("order-17")));
    assert_eq!(answer.header("x-kept"), Some("1"));
    for dropped in ["x-hop", "keep-alive", "connection"] {
        assert_eq!(answer.header(dropped), None, "{dropped}");
    }
    let received = rig.upstream.last();
    assert_eq!((received.target(), received.body.as_slice()), ("/hooks/hops?x=1", BODY.as_bytes()));
    assert_verifies(&received);
    for (name, values) in [
        ("host", vec![rig.upstream.address.to_string()]),
        ("content-type", vec!["text/x".to_owned()]),
        ("webhook-id", vec!["order-17".to_owned()]),
        ("clearway-event-type", vec!["a.b".to_owned()]),
        ("clearway-endpoint-id", vec![webhook_id(1).to_string()]),
        ("authorization", vec![]),
        ("x-forged", vec![]),
        ("clearway-attempt", vec![]),
    ] {
        assert_eq!(received.header(name), values, "{name}");
    }
}

#[test]
fn a_message_without_an_id_is_given_one_and_a_malformed_one_is_refused() {
    let rig = rig("/hook");
    let answer = send(&rig, &[&bearer(1)]);
    let id = answer.header("webhook-id").unwrap().to_owned();
    assert!(id.starts_with("msg_") && id.len() == 26, "{id}");
    assert_eq!(rig.upstream.last().header("webhook-id"), [id.as_str()]);
    assert_verifies(&rig.upstream.last());
    for bad in ["Webhook-Id: a.b", "Webhook-Id: ", "Webhook-Id: a\r\nWebhook-Id: b", "Webhook-Id: a b"] {
        let answer = send(&rig, &[&bearer(1), bad]);
        assert_eq!((answer.status, answer.error().as_str()), (400, "webhook_id_malformed"), "{bad}");
        assert_eq!(answer.header("clearway-answered-by"), Some("egress"));
    }
    assert_eq!(rig.upstream.received().len(), 1);
}

#[test]
fn who_sends_is_judged_as_at_the_gateway_and_nothing_is_charged() {
    let mut rig = rig("/hook");
    let other = AccountId::from_bytes([9; 16]);
    let scopes = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let of_hooks = |n| v1::Credential { scopes: scopes(&["write:webhooks"]), ..credential(n) };
    rig.set(v1::Changes {
        accounts: vec![v1::Account { id: other.to_vec(), ..account(false) }, account(false)],
        credentials: vec![
            v1::Credential { revoked: true, ..of_hooks(2) },
            v1::Credential { expires_at: Some(1), ..of_hooks(3) },
            v1::Credential { allowed_addresses: vec!["192.0.2.0/24".to_owned()], ..of_hooks(4) },
            v1::Credential { scopes: scopes(&["read:webhooks"]), ..credential(5) },
            v1::Credential { account_id: other.to_vec(), ..of_hooks(6) },
            v1::Credential { account_id: other.to_vec(), scopes: scopes(&["admin:platform"]), ..credential(7) },
            v1::Credential { require_signature: true, signing_secret: vec![1; 32], ..of_hooks(8) },
        ],
        ..v1::Changes::default()
    });
    for (n, status, code) in [
        (2, 401, "key_revoked"),
        (3, 401, "key_expired"),
        (4, 403, "address_not_allowed"),
        (5, 403, "scope_missing"),
        (6, 404, "not_found"),
        (8, 401, "credential_not_accepted"),
        (99, 401, "key_unknown"),
    ] {
        let answer = send(&rig, &[&bearer(n)]);
        assert_eq!((answer.status, answer.error().as_str()), (status, code), "key {n}");
    }
    assert_eq!(send(&rig, &[]).error(), "key_missing");
    assert_eq!(send(&rig, &["Authorization: Bearer clw_x"]).error(), "key_malformed");
    assert!(rig.upstream.received().is_empty());
    assert_eq!(send(&rig, &[&bearer(7)]).status, 200, "an admin's key posts for every account");

    rig.set(v1::Changes { accounts: vec![account(true)], ..Default::default() });
    assert_eq!(send(&rig, &[&bearer(1)]).error(), "account_suspended");
    assert_eq!(rig.counted(), 0);
}

#[test]
fn only_posts_to_a_webhook_that_is_there_are_taken() {
    let rig = rig("/hook");
    let ask = |bytes: String| {
        let mut client = connect(&rig);
        client.send(bytes);
        client.read()
    };
    for path in ["/", "/webhooks", "/other/x", "/api/v1/webhooks"] {
        assert_eq!(ask(request("POST", path, &[&bearer(1), "Content-Length: 0"], "")).error(), "route_not_found", "{path}");
    }
    let answer = ask(request("GET", &format!("/webhooks/{}", webhook_id(1)), &[&bearer(1)], ""));
    assert_eq!((answer.error().as_str(), answer.header("allow")), ("method_not_allowed", Some("POST")));
    assert_eq!(ask(message(webhook_id(2), &[&bearer(1)], BODY)).error(), "not_found");
    assert_eq!(ask(request("POST", "/webhooks/wh_x", &[&bearer(1), "Content-Length: 0"], "")).error(), "not_found");
    assert!(rig.upstream.received().is_empty());
}

#[test]
fn a_body_may_come_in_chunks_or_slowly_but_not_be_longer_than_is_taken() {
    let rig = rig("/hook");
    let path = format!("/webhooks/{}", webhook_id(1));
    let mut client = connect(&rig);
    client.send(request("POST", &path, &[&bearer(1), "Transfer-Encoding: chunked"], "5\r\nhello\r\n"));
    client.send("6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.read().status, 200);
    assert_eq!(rig.upstream.last().body, b"hello world");
    assert_verifies(&rig.upstream.last());

    let large = "x".repeat(64 * 1024);
    client.send(message(webhook_id(1), &[&bearer(1)], &large));
    assert_eq!(client.read().status, 200, "on the same connection");
    assert_eq!(rig.upstream.last().body.len(), large.len());
    assert_verifies(&rig.upstream.last());

    for body in [message(webhook_id(1), &[&bearer(1)], &format!("{large}x")), {
        let chunk = format!("{:x}\r\n{large}x\r\n0\r\n\r\n", large.len() + 1);
        request("POST", &path, &[&bearer(1), "Transfer-Encoding: chunked"], &chunk)
    }] {
        let mut client = connect(&rig);
        client.try_send(body.as_bytes());
        let answer = client.read();
        assert_eq!((answer.status, answer.error().as_str()), (413, "body_too_large"));
    }
    assert_eq!(rig.upstream.received().len(), 2);
}

#[test]
fn what_goes_wrong_on_the_way_is_said_in_our_own_words() {
    let mut rig = rig("/hook");
    let change = |rig: &mut Rig, path: &str, change: &dyn Fn(&mut v1::Webhook)| {
        let mut webhook = webhook(rig, path);
        change(&mut webhook);
        rig.set(v1::Changes { webhooks: vec![webhook], ..Default::default() });
    };
    let port = rig.upstream.address.port();
    let private = format!("http://127.0.0.2:{port}/");
    for (path, status, code, how) in [
        ("/hook", 409, "webhook_inactive", &(|webhook: &mut v1::Webhook| webhook.active = false) as &dyn Fn(&mut v1::Webhook)),
        ("/hook", 503, "webhook_unsigned", &|webhook| webhook.secrets = None),
        ("/hook", 502, "receiver_address_refused", &|webhook| webhook.url.clone_from(&private)),
        ("/hook", 502, "receiver_unresolved", &|webhook| webhook.url = "http://name.invalid/".to_owned()),
        ("/hook", 502, "receiver_unreachable", &|webhook| webhook.url = "http://127.0.0.1:1/".to_owned()),
        ("/hangup", 502, "receiver_broken", &|_| {}),
        ("/never", 504, "receiver_timeout", &|webhook| webhook.first_byte_timeout_ms = 50),
    ] {
        change(&mut rig, path, how);
        let answer = send(&rig, &[&bearer(1)]);
        assert_eq!((answer.status, answer.error().as_str()), (status, code));
        assert!(answer.json()["error"]["details"]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{code}");
    }
    change(&mut rig, "/scripted", &|_| {});
    rig.upstream.script(format!("HTTP/1.1 302 Found\r\nLocation: {private}\r\nContent-Length: 0\r\n\r\n"), false);
    let answer = send(&rig, &[&bearer(1)]);
    assert_eq!((answer.status, answer.error().as_str(), answer.header("location")), (502, "receiver_redirected", None));
    change(&mut rig, "/missing", &|_| {});
    let answer = send(&rig, &[&bearer(1)]);
    assert_eq!((answer.status, answer.header("clearway-answered-by")), (404, Some("receiver")), "the receiver's own refusal");
}

#[test]
fn an_answer_is_streamed_back_as_it_comes() {
    let rig = rig("/chunked");
    let answer = send(&rig, &[&bearer(1)]);
    assert_eq!((answer.status, answer.chunks().as_slice()), (200, &b"abc"[..]));
    let mut rig = rig;
    rig.set(v1::Changes { webhooks: vec![webhook(&rig, "/half")], ..Default::default() });
    let mut client = connect(&rig);
    client.send(message(webhook_id(1), &[&bearer(1)], BODY));
    assert_eq!(client.read().body, b"half", "an answer that breaks off does not end well here either");
    assert!(client.ends());
}

#[test]
fn a_removed_webhook_and_a_revoked_key_post_no_more_on_any_connection() {
    let mut rig = rig("/hook");
    let mut client = connect(&rig);
    let send = |client: &mut Client| {
        client.send(message(webhook_id(1), &[&bearer(1)], BODY));
        client.read()
    };
    assert_eq!(send(&mut client).status, 200);
    rig.set(v1::Changes { removed_webhooks: vec![webhook_id(1).to_vec()], ..Default::default() });
    assert_eq!(send(&mut client).error(), "not_found");
    rig.set(v1::Changes { removed_credentials: vec![credential(1).hash], ..Default::default() });
    assert_eq!(send(&mut client).error(), "key_unknown");
    assert_eq!(rig.upstream.received().len(), 1);
}

#[test]
fn a_message_on_its_way_is_answered_when_the_process_stops() {
    let mut rig = rig("/slow");
    let mut client = connect(&rig);
    client.send(message(webhook_id(1), &[&bearer(1)], BODY));
    let mut idle = connect(&rig);
    rig.upstream.wait_for_requests(1);
    let (proxy, upstream) = (rig.take(), rig.upstream.clone());
    let stopping = std::thread::spawn(move || proxy.stop());
    assert!(idle.ends(), "a connection without a message is let go of");
    upstream.release();
    let answer = client.read();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"slow"[..]));
    assert_eq!(stopping.join().unwrap().connections_cut, 0);
    eventually("its end", || client.ends().then_some(()));
}
