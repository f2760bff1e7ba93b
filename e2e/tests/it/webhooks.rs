//! Webhooks on their way from control to a gateway, and out.

use reqwest::Method;
use serde_json::Value;

use crate::{
    eventually,
    fleet::{Control, Fleet},
    upstream::Upstream,
};

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";

/// What operators are told of a gateway.
async fn told(control: &Control, name: &str) -> Option<Value> {
    let listed = control.admin(Method::GET, "/api/v1/admin/proxies", None).await;
    listed["items"].as_array()?.iter().find(|proxy| proxy["name"] == name).cloned()
}

async fn delivers(control: &Control, name: &str) {
    let it_does = async || told(control, name).await.filter(|told| told["delivers"] == true).map(drop);
    eventually("a gateway to deliver", it_does).await;
}

/// A number of the metrics at `url`.
async fn metric(url: &str, name: &str) -> Option<f64> {
    let text = crate::client().get(format!("{url}/metrics")).send().await.ok()?.text().await.ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_delivers_again_after_control_or_itself_was_replaced_and_one_that_is_told_not_to_never_does() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let mut gateway = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    let others = Fleet::new(&format!("{SETTINGS}[egress]\ndeliver = false\n"));
    let quiet = others.proxy("quiet", &upstream.routes(), &control, &control.sync);
    control.attached(2).await;
    delivers(&control, "gateway").await;
    assert_eq!(metric(&gateway.metrics, "clearway_egress_attached").await, Some(1.0));

    control.restart();
    delivers(&control, "gateway").await;

    let mut before = gateway.upgrade(&[]).expect("the new process takes over");
    assert_eq!(before.ended().await, Some(0), "it owes no answer");
    delivers(&control, "gateway").await;
    assert_eq!(metric(&control.metrics, "clearway_control_egress_proxies").await, Some(1.0));

    assert_eq!(told(&control, "quiet").await.expect("it is attached").get("delivers"), Some(&Value::Bool(false)));
    assert_eq!(metric(&quiet.metrics, "clearway_egress_attached").await, Some(0.0));
}
