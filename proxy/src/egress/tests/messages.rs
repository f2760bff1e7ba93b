//! What is sent.

use clearway_filters::webhook::{HmacSecret, Seed, VerifyingSecret, verify, verify_brand};

use super::*;

#[tokio::test]
async fn a_message_arrives_byte_for_byte_and_signed() {
    let receiver = Receiver::start(|_, _| status("202 Accepted", "X-Trace: t\r\nSet-Cookie: s=1\r\n", "taken")).await;
    let mut wire = wire(&receiver.url());
    wire.headers =
        [("x-tenant", "acme"), ("x-own", "1"), ("webhook-id", "forged"), ("host", "other"), ("content-type", "text/x")]
            .map(|(name, value)| v1::Header { name: name.into(), value: value.into() })
            .to_vec();
    wire.secrets.as_mut().unwrap().authorization = "Basic c2VjcmV0c2VjcmV0".to_owned();
    let outcome = poster(&settings()).post(&held(&wire), message()).await;

    assert_eq!((outcome.status, outcome.failure, outcome.reason.as_str()), (Some(202), None, ""));
    assert_eq!(outcome.address, Some(receiver.address.ip()));
    assert_eq!((outcome.response_body.as_str(), outcome.response_body_cut), ("taken", false));
    let [got] = &receiver.got()[..] else { panic!("one message") };
    assert_eq!((got.target.as_str(), &got.body[..]), ("/hook?a=b", BODY));
    for (name, value) in [
        ("host", receiver.address.to_string().as_str()),
        ("content-type", "application/json"),
        ("user-agent", concat!("Clearway-Webhooks/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", "evt_0000000000000000000001"),
        ("clearway-event-type", "app.installed"),
        ("clearway-attempt", "3"),
        ("clearway-endpoint-id", &WebhookId::from_bytes([2; 16]).to_string()),
        ("x-tenant", "acme"),
        ("x-own", "1"),
        ("authorization", "Basic c2VjcmV0c2VjcmV0"),
    ] {
        let values: Vec<_> = got.headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    let secret = [VerifyingSecret::Hmac(HmacSecret::new(&[7; 32]).unwrap())];
    let now_s = crate::gateway::now_ms() / 1000;
    assert_eq!(verify(&got.headers, &got.body, &secret, now_s), Ok(()));
    assert_eq!(verify_brand(got.headers["x-clearway-signature"].as_bytes(), &got.body, &secret), Ok(()));

    let kept = |of: &[v1::Header], name: &str| of.iter().find(|h| h.name == name).map(|h| h.value.clone());
    assert_eq!(kept(&outcome.request_headers, "x-tenant").unwrap(), "acme");
    assert_eq!(kept(&outcome.request_headers, "authorization").unwrap(), "…");
    assert_eq!(kept(&outcome.response_headers, "x-trace").unwrap(), "t");
    assert_eq!(kept(&outcome.response_headers, "set-cookie").unwrap(), "…");
}

#[tokio::test]
async fn while_secrets_are_rotated_receivers_with_either_verify() {
    let receiver = Receiver::start(|_, _| ok()).await;
    let now_ms = crate::gateway::now_ms();
    let secret = |n: u8, expires_at| v1::WebhookSecret { hmac_key: vec![n; 32], ed25519_seed: vec![n; 32], expires_at };
    let mut wire = wire(&receiver.url());
    wire.secrets.as_mut().unwrap().signing =
        vec![secret(1, None), secret(2, Some(now_ms + 3_600_000)), secret(3, Some(now_ms - 1))];
    assert_eq!(poster(&settings()).post(&held(&wire), message()).await.status, Some(200));
    let got = &receiver.got()[0];
    let verified = |secret: VerifyingSecret| verify(&got.headers, &got.body, &[secret], now_ms / 1000).is_ok();
    for (n, is_live) in [(1, true), (2, true), (3, false)] {
        assert_eq!(verified(VerifyingSecret::Hmac(HmacSecret::new(&[n; 32]).unwrap())), is_live, "{n}");
        assert_eq!(verified(VerifyingSecret::Ed25519(Seed::new([n; 32]).public())), is_live, "{n}");
    }
}

#[tokio::test]
async fn nothing_is_sent_for_a_webhook_that_is_inactive_or_cannot_be_signed_for() {
    let receiver = Receiver::start(|_, _| ok()).await;
    let poster = poster(&settings());
    let attempt = async |change: &dyn Fn(&mut v1::Webhook)| {
        let mut wire = wire(&receiver.url());
        change(&mut wire);
        poster.post(&held(&wire), message()).await
    };
    assert_failed(&attempt(&|wire| wire.active = false).await, Failure::WebhookInactive);
    assert_failed(&attempt(&|wire| wire.secrets = None).await, Failure::WebhookUnknown);
    assert_failed(
        &attempt(&|wire| wire.secrets.as_mut().unwrap().signing[0].expires_at = Some(1)).await,
        Failure::WebhookUnknown,
    );
    assert_failed(&attempt(&|wire| wire.client_certificate = b"no PEM".to_vec()).await, Failure::WebhookUnknown);
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_result_says_everything_that_came_of_an_attempt() {
    let receiver = Receiver::start(|_, _| status("503 No", "Retry-After: 2\r\n", "busy")).await;
    let result = post(&poster(&settings()), &receiver.url()).await.into_result(42);
    assert_eq!((result.number, result.status, result.failure()), (42, Some(503), Failure::Unspecified));
    assert_eq!((result.retry_after_ms, result.address), (Some(2_000), vec![127, 0, 0, 1]));
    assert!(result.started_at > 0 && result.duration_us > 0 && !result.request_headers.is_empty());
}
