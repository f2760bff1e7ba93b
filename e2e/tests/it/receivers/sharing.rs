//! What all share, and nobody takes from the others: receivers that hang delay none that answer, and deliveries and an
//! operator's own senders leave room to each other.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{KIND, Stand, settings};
use crate::{
    client, eventually,
    receiver::{Does, Receiver},
};

const EVENTS: usize = 60;
const GOOD: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_none_of_the_others() {
    let stand = Stand::start("127.0.0.1/32").await;
    let hanging = Receiver::start(|_, _| Does::Hangs).await;
    let patient = json!({"timeouts": {"first_byte_ms": 60_000, "total_ms": 100_000}});
    let stuck = stand.webhook(&hanging.url, patient).await;
    let mut good = Vec::new();
    for _ in 0..GOOD {
        let receiver = Receiver::start(|_, _| Does::takes()).await;
        stand.webhook(&receiver.url, json!({})).await;
        good.push(receiver);
    }
    let events: Vec<Value> = (0..EVENTS).map(|n| json!({"type": KIND, "data": {"n": n}})).collect();
    stand.control.admin(Method::POST, "/api/v1/events", Some(events.into())).await;

    let all_came = async || good.iter().all(|receiver| receiver.messages().len() == EVENTS).then_some(());
    eventually("every event at every receiver that answers", all_came).await;
    assert!(!hanging.messages().is_empty(), "it was asked too");
    let path = format!("/api/v1/deliveries?state=succeeded&webhook_id={stuck}");
    let listed = stand.control.admin(Method::GET, &path, None).await;
    assert_eq!(listed["items"], json!([]), "and still hangs");

    hanging.release();
    stand.ended(&stuck, EVENTS).await;
    assert_eq!(hanging.messages().len(), EVENTS);
}

/// A message of an operator's own sender.
async fn post(stand: &Stand, webhook: &str) -> StatusCode {
    let request = client().post(format!("{}/webhooks/{webhook}", stand.gateway.egress)).bearer_auth(&stand.control.admin_key);
    request.json(&json!({"n": 1})).send().await.expect("the gateway answers").status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_deliveries_nor_senders_take_the_places_of_the_other() {
    // Of four places each side has three at most.
    let stand = Stand::with(&settings("127.0.0.1/32", "in_flight_max = 4\n")).await;
    let (hanging, good) = (Receiver::start(|_, _| Does::Hangs).await, Receiver::start(|_, _| Does::takes()).await);
    let stuck = stand.webhook(&hanging.url, json!({})).await;
    for n in 0..6 {
        stand.event("order-1", json!({"n": n})).await;
    }
    eventually("deliveries to take all they can", async || (hanging.messages().len() == 3).then_some(())).await;
    let webhook = stand.webhook(&good.url, json!({})).await;
    assert_eq!(post(&stand, &webhook).await, StatusCode::NO_CONTENT, "a sender finds its place");
    hanging.release();
    stand.ended(&stuck, 6).await;

    let senders = Receiver::start(|_, _| Does::Hangs).await;
    // Its own event is none of those that are emitted.
    let posted = stand.webhook(&senders.url, json!({"events": ["app.installed"]})).await;
    let posts = async || {
        let sent = (0..3).map(|_| post(&stand, &posted));
        futures_util::future::join_all(sent).await
    };
    let meanwhile = async || {
        eventually("senders to take all they can", async || (senders.messages().len() == 3).then_some(())).await;
        assert_eq!(post(&stand, &webhook).await, StatusCode::SERVICE_UNAVAILABLE, "a fourth finds none");
        stand.event("order-2", json!({"n": 7})).await;
        eventually("a delivery", async || good.messages().iter().any(|it| it.event["data"]["n"] == 7).then_some(())).await;
        senders.release();
    };
    let (sent, ()) = tokio::join!(posts(), meanwhile());
    assert_eq!(sent, [StatusCode::NO_CONTENT; 3]);
}
