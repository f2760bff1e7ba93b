//! What receivers say, and what is made of it: that they are gone, busy or elsewhere; and what of it is kept.

use reqwest::Method;
use serde_json::{Value, json};

use super::Stand;
use crate::{
    eventually,
    receiver::{Does, Receiver},
};

/// Of a receiver's answer that is kept, in bytes.
const KEPT: usize = 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_gone_is_posted_to_no_more_until_it_is_enabled_and_its_owner_is_told_why() {
    let stand = Stand::start("127.0.0.1/32").await;
    let gone = Receiver::start(|n, _| if n == 0 { Does::answers(410, &[]) } else { Does::takes() }).await;
    let other = Receiver::start(|_, _| Does::takes()).await;
    let webhook = stand.webhook(&gone.url, json!({})).await;
    let beside = stand.webhook(&other.url, json!({})).await;
    stand.event("order-1", json!({})).await;
    let told = eventually("the webhook to be disabled", async || {
        let told = stand.told(&webhook).await;
        (told["status"] == "disabled").then_some(told)
    });
    let told = told.await;
    assert_eq!((&told["disabled_reason"], &told["active"]), (&json!("gone"), &json!(true)), "{told}");
    let ended = stand.ended(&webhook, 1).await;
    assert_eq!((&ended[0]["state"], &ended[0]["last_status_code"]), (&json!("failed"), &json!(410)), "{ended:?}");

    stand.event("order-2", json!({})).await;
    stand.ended(&beside, 2).await;
    assert_eq!(gone.messages().len(), 1, "the second event went to the other alone");

    let audit = stand.control.admin(Method::GET, "/api/v1/audit?limit=100", None).await;
    assert!(audit.to_string().contains(&webhook), "it is in the audit log: {audit}");
    stand.control.admin(Method::POST, &format!("/api/v1/webhooks/{webhook}/enable"), None).await;
    let third = stand.event("order-3", json!({})).await;
    let latest = eventually("the third event", async || {
        let messages = gone.messages();
        (messages.len() > 1).then(|| messages[1].header("webhook-id").map(str::to_owned))
    });
    assert_eq!(latest.await, Some(third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
    const ASKED_S: u64 = 2;
    let stand = Stand::start("127.0.0.1/32").await;
    let busy = |status| {
        let asked = format!("Retry-After: {ASKED_S}");
        Receiver::start(move |n, _| if n == 0 { Does::answers(status, &[asked.as_str()]) } else { Does::takes() })
    };
    let (slow_down, unavailable) = (busy(429).await, busy(503).await);
    let webhooks = [stand.webhook(&slow_down.url, json!({})).await, stand.webhook(&unavailable.url, json!({})).await];
    stand.event("order-1", json!({})).await;
    for (webhook, receiver) in webhooks.iter().zip([&slow_down, &unavailable]) {
        let ended = stand.ended(webhook, 1).await;
        assert_eq!((&ended[0]["state"], &ended[0]["attempts"]), (&json!("succeeded"), &json!(2)), "{ended:?}");
        let signed: Vec<u64> = receiver
            .messages()
            .iter()
            .map(|message| message.header("webhook-timestamp").and_then(|s| s.parse().ok()).expect("seconds"))
            .collect();
        assert!(signed[1] - signed[0] >= ASKED_S, "without that word it would have been 100 ms: {signed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_to_wherever_it_leads() {
    let stand = Stand::start("127.0.0.1/32").await;
    let private = Receiver::at([127, 0, 0, 3].into(), 0, |_, _| Does::takes()).await;
    let allowed = Receiver::start(|_, _| Does::takes()).await;
    let once = json!({"retry_policy": {"delays": []}});
    let mut webhooks = Vec::new();
    for (status, to) in [(301, &private), (302, &allowed), (307, &private), (308, &allowed)] {
        let location = format!("Location: {}", to.url);
        let receiver = Receiver::start(move |_, _| Does::answers(status, &[location.as_str()])).await;
        webhooks.push((status, stand.webhook(&receiver.url, once.clone()).await));
    }
    stand.event("order-1", json!({})).await;
    for (status, webhook) in webhooks {
        let ended = stand.ended(&webhook, 1).await;
        assert_eq!((&ended[0]["state"], &ended[0]["last_status_code"]), (&json!("failed"), &json!(status)), "{ended:?}");
        let attempts = stand.attempts(&ended[0]).await;
        assert_eq!(attempts[0]["reason"], "redirects are not followed");
    }
    assert_eq!((private.connections(), allowed.connections()), (0, 0));
}

/// Everything that may be asked about a webhook's deliveries, and what the processes have said.
async fn all_that_is_told(stand: &Stand, webhook: &str, attempts: &[Value]) -> String {
    let log = stand.control.admin(Method::GET, &format!("/api/v1/webhooks/{webhook}/logs"), None).await;
    let told = stand.told(webhook).await;
    let said = |file: &std::path::Path| std::fs::read_to_string(file).unwrap_or_default();
    let (control, gateway) = (&stand.control.dir, &stand.gateway.dir);
    let files = [control.join("clearway-control.log"), gateway.join("clearway-proxy.log"), gateway.join("access.log")];
    format!("{log}{told}{attempts:?}{}", files.map(|file| said(&file)).concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_answer_the_beginning_is_kept_and_no_secret() {
    let stand = Stand::start("127.0.0.1/32").await;
    let echo = Receiver::start(|_, message| {
        let said = message.header("authorization").unwrap_or_default();
        let body = format!("you said {said}, and whsec_c2VjcmV0c2VjcmV0c2VjcmV0; {}", "x".repeat(4 * KEPT));
        let head = format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: s=cookie-of-theirs\r\nX-Note: {said}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Does::Says([head.into_bytes(), body.into_bytes()].concat())
    })
    .await;
    let webhook = stand.webhook(&echo.url, json!({"authorization": "Bearer token-of-the-owner"})).await;
    stand.event("order-1", json!({})).await;
    let ended = stand.ended(&webhook, 1).await;
    assert_eq!(ended[0]["state"], "succeeded");
    assert_eq!(echo.messages()[0].header("authorization"), Some("Bearer token-of-the-owner"));
    let attempts = stand.attempts(&ended[0]).await;
    let kept = attempts[0]["response_body"].as_str().expect("a body");
    assert!(kept.starts_with("you said …") && kept.len() <= KEPT, "{} bytes: {}", kept.len(), &kept[..60]);
    assert_eq!(attempts[0]["response_body_cut"], true);
    let told = all_that_is_told(&stand, &webhook, &attempts).await;
    for secret in ["token-of-the-owner", "cookie-of-theirs", "c2VjcmV0c2VjcmV0c2VjcmV0"] {
        assert!(!told.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_counts_by_its_status_and_holds_nobody_for_longer_than_the_total_time_out() {
    let stand = Stand::start("127.0.0.1/32").await;
    let endless = Receiver::start(|_, _| Does::Drips(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nx")).await;
    let refusing = Receiver::start(|n, _| match n {
        0 => Does::Drips(b"HTTP/1.1 500 No\r\nContent-Length: 99999\r\n\r\nx"),
        _ => Does::takes(),
    })
    .await;
    let timeouts = json!({"timeouts": {"first_byte_ms": 10_000, "total_ms": 2_000}});
    let (taken, refused) = (stand.webhook(&endless.url, timeouts.clone()).await, stand.webhook(&refusing.url, timeouts).await);
    stand.event("order-1", json!({})).await;
    let ended = stand.ended(&taken, 1).await;
    assert_eq!((&ended[0]["state"], &ended[0]["attempts"]), (&json!("succeeded"), &json!(1)), "{ended:?}");
    let attempts = stand.attempts(&ended[0]).await;
    assert_eq!((&attempts[0]["response_body_cut"], &attempts[0]["status_code"]), (&json!(true), &json!(200)), "{attempts:?}");
    let ended = stand.ended(&refused, 1).await;
    assert_eq!((&ended[0]["state"], &ended[0]["attempts"]), (&json!("succeeded"), &json!(2)), "{ended:?}");
    let attempts = stand.attempts(&ended[0]).await;
    assert_eq!((&attempts[0]["response_body_cut"], &attempts[0]["status_code"]), (&json!(true), &json!(500)), "{attempts:?}");
}
