//! A request comes in, a change takes effect, usage is shown: through the gateway, as a client does it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy, word},
    upstream::Upstream,
};

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";

async fn stand() -> (Fleet, Upstream, Control, Proxy) {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let api = "\n[[routes]]\nname = \"api\"\npath = \"/api\"\nupstream = \"control\"\nauth = \"key\"\nkeep_credentials = true\n";
    let proxy = fleet.proxy("gateway", &format!("{}{api}", upstream.routes()), &control, &control.sync);
    control.attached(1).await;
    (fleet, upstream, control, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_made_through_the_gateway_works_at_once_and_is_refused_once_revoked() {
    let (_fleet, upstream, control, proxy) = stand().await;
    let client = crate::client();
    let made: Value = client
        .post(format!("{}/api/v1/keys", proxy.url))
        .bearer_auth(&control.admin_key)
        .header("content-type", "application/x-www-form-urlencoded") // what curl -d says
        .body(r#"{"name":"ci","scopes":["read:apps"]}"#)
        .send()
        .await
        .expect("the gateway answers")
        .json()
        .await
        .expect("JSON");
    let secret = word(&made["data"], "secret");
    assert!(made["meta"]["rate_limit"]["limit"].is_u64(), "the envelope says what is left: {made}");

    let answer = client.get(format!("{}/svc/hello", proxy.url)).bearer_auth(&secret).send().await.expect("the gateway answers");
    assert_eq!(answer.status(), StatusCode::OK);
    for header in
        ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "ratelimit-policy", "x-request-id"]
    {
        assert!(answer.headers().contains_key(header), "{header}");
    }
    let arrived = upstream.last().to_ascii_lowercase();
    assert!(arrived.starts_with("get /hello "), "{arrived}");
    assert!(!arrived.contains("clw_"), "the credential is removed");
    for header in [
        "x-clearway-account-id: acct_",
        "x-clearway-key-id: key_",
        "x-clearway-plan: enterprise",
        "x-request-id: req_",
        "traceparent: 00-",
    ] {
        assert!(arrived.contains(header), "{header} in {arrived}");
    }

    let id = word(&made["data"], "id");
    let gone: Value = client
        .delete(format!("{}/api/v1/keys/{id}", proxy.url))
        .bearer_auth(&control.admin_key)
        .send()
        .await
        .expect("the gateway answers")
        .json()
        .await
        .expect("JSON");
    assert_eq!(gone["data"]["propagation"]["acknowledged"], json!(1), "{gone}");
    let answer = client.get(format!("{}/svc/hello", proxy.url)).bearer_auth(&secret).send().await.expect("the gateway answers");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.headers().contains_key("www-authenticate"));
    assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["type"], "key_revoked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_on_another_plan_has_its_limits_from_the_next_request() {
    let (_fleet, _upstream, control, proxy) = stand().await;
    let account = control.account("mover", "enterprise").await;
    let (_, secret) = control.key(&account, json!({})).await;
    let client = crate::client();
    let ask = async || client.get(format!("{}/svc/x", proxy.url)).bearer_auth(&secret).send().await.expect("the gateway answers");
    assert_eq!(ask().await.headers()["x-ratelimit-limit"], "100000", "enterprise: its second is nearest to exhaustion");
    control.admin(Method::PUT, &format!("/api/v1/admin/accounts/{account}/plan"), Some(json!({"plan": "tight"}))).await;
    let answer = ask().await;
    assert_eq!(answer.headers()["x-ratelimit-limit"], "200");
    assert_eq!(answer.headers()["x-ratelimit-remaining"], "198", "what was used before counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_day_is_429_with_the_time_to_wait_and_costs_nothing() {
    let (_fleet, upstream, control, proxy) = stand().await;
    let account = control.account("small", "enterprise").await;
    let (_, secret) = control.key(&account, json!({"limits": {"per_day": 3}})).await;
    let client = crate::client();
    let before = upstream.seen();
    for _ in 0..3 {
        let answer = client.get(format!("{}/svc/x", proxy.url)).header("x-api-key", &secret).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let answer = client.get(format!("{}/svc/x", proxy.url)).header("x-api-key", &secret).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = answer.headers()["retry-after"].to_str().expect("ASCII").parse().expect("seconds");
    assert!((1..=86_400).contains(&wait));
    assert_eq!(answer.json::<Value>().await.expect("JSON")["error"]["type"], "quota_exceeded");
    assert_eq!(upstream.seen() - before, 3);

    let usage = eventually("the usage to be shown", async || {
        let usage = control.admin(Method::GET, &format!("/api/v1/analytics/usage?account_id={account}"), None).await;
        (usage["total"] == json!(3)).then_some(usage)
    })
    .await;
    assert_eq!(usage["keys"][0]["admitted"], json!(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_key_works_with_both_secrets_and_a_regenerated_one_with_the_new_alone() {
    let (_fleet, _upstream, control, proxy) = stand().await;
    let account = control.account("rotator", "enterprise").await;
    let (id, first) = control.key(&account, json!({})).await;
    let second = word(&control.admin(Method::POST, &format!("/api/v1/keys/{id}/rotate"), Some(json!({}))).await, "secret");
    let client = crate::client();
    let ask = async |secret: &str| {
        client
            .get(format!("{}/svc/x", proxy.url))
            .bearer_auth(secret)
            .send()
            .await
            .expect("the gateway answers")
            .status()
            .as_u16()
    };
    assert_eq!((ask(&first).await, ask(&second).await), (200, 200));
    let third = word(&control.admin(Method::POST, &format!("/api/v1/keys/{id}/regenerate"), Some(json!({}))).await, "secret");
    assert_eq!((ask(&first).await, ask(&second).await, ask(&third).await), (401, 401, 200));
}
