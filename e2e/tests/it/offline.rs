//! The control plane is down: traffic flows, and a gateway that restarts serves from its disk.

use serde_json::json;

use crate::{fleet::Fleet, upstream::Upstream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_restarted_without_control_serves_and_still_refuses_what_was_revoked() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let mut proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("offline", "enterprise").await;
    let (_, kept) = control.key(&account, json!({})).await;
    let (id, revoked) = control.key(&account, json!({"name": "gone"})).await;
    control.admin(reqwest::Method::DELETE, &format!("/api/v1/keys/{id}"), None).await;

    control.process.kill();
    proxy.restart();
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
    assert_eq!(ask(&kept).await, 200, "from the disk snapshot");
    assert_eq!(ask(&revoked).await, 401, "what was acknowledged was on disk before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_gateway_restarted_without_control_refuses_with_503_never_401() {
    let fleet = Fleet::new("[sync]\nmode = \"strict\"\nauth_lease = \"1s\"\n");
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let mut proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("strict", "enterprise").await;
    let (_, secret) = control.key(&account, json!({})).await;
    control.process.kill();
    proxy.restart();
    let answer = crate::client().get(format!("{}/svc/x", proxy.url)).bearer_auth(&secret).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(answer.json::<serde_json::Value>().await.expect("JSON")["error"]["type"], "auth_lease_expired");
}
