//! Events of one object arrive one after another, whatever goes wrong in between; those of others do not wait for them.

use serde_json::json;

use super::Stand;
use crate::{
    eventually,
    receiver::{Does, Message, Receiver},
};

const OBJECTS: [&str; 3] = ["order-1", "order-2", "order-3"];
const EACH: u8 = 5;

fn number(message: &Message) -> u64 {
    message.event["data"]["n"].as_u64().expect("a number")
}

fn object(message: &Message) -> &str {
    message.event["data"]["object"].as_str().expect("an object")
}

/// Whether the first attempt at the `n`th event of an object fails.
fn fails(n: u64) -> bool {
    n.is_multiple_of(2)
}

async fn keeps_the_order(stand: &Stand) {
    let receiver = Receiver::start(|came_before, message| match (message.attempt(), came_before % 3) {
        (1, 0) if fails(number(message)) => Does::answers(500, &[]),
        (1, 1) if fails(number(message)) => Does::Closes,
        (1, _) if fails(number(message)) => Does::Resets(b"HTTP/1.1 2"),
        _ => Does::takes(),
    });
    let receiver = receiver.await;
    let webhook = stand.webhook(&receiver.url, json!({"ordering": "object"})).await;
    for n in 0..EACH {
        for object in OBJECTS {
            stand.event(object, json!({"object": object, "n": n})).await;
        }
    }
    let ended = stand.ended(&webhook, OBJECTS.len() * usize::from(EACH)).await;
    assert!(ended.iter().all(|delivery| delivery["state"] == "succeeded"), "{ended:?}");
    let expected: Vec<(u64, u64)> =
        (0..EACH.into()).flat_map(|n| (1..=if fails(n) { 2 } else { 1 }).map(move |k| (n, k))).collect();
    let messages = receiver.messages();
    for name in OBJECTS {
        let came = messages.iter().filter(|message| object(message) == name);
        let mut came: Vec<_> = came.map(|message| (number(message), message.attempt())).collect();
        // One that ends a connection which had rested is sent the same again, over a new one.
        came.dedup();
        assert_eq!(came, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_object_arrive_in_order_while_attempts_fail_over_sqlite() {
    keeps_the_order(&Stand::start("127.0.0.1/32").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_object_arrive_in_order_while_attempts_fail_over_postgresql() {
    keeps_the_order(&Stand::over_postgresql("receivers_ordering").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_whose_first_event_hangs_keeps_no_other_waiting() {
    let stand = Stand::start("127.0.0.1/32").await;
    let receiver = Receiver::start(|_, message| match (object(message), number(message)) {
        ("order-1", 0) => Does::Hangs,
        _ => Does::takes(),
    })
    .await;
    let patient = json!({"first_byte_ms": 60_000, "total_ms": 100_000});
    let webhook = stand.webhook(&receiver.url, json!({"ordering": "object", "timeouts": patient})).await;
    for n in 0..EACH {
        for object in OBJECTS {
            stand.event(object, json!({"object": object, "n": n})).await;
        }
    }
    let others = (OBJECTS.len() - 1) * usize::from(EACH);
    let came = |name: &str| receiver.messages().iter().filter(|message| object(message) == name).map(number).collect::<Vec<_>>();
    stand.ended(&webhook, others).await;
    assert_eq!(came("order-1"), [0], "what follows it waits for it");
    receiver.release();
    eventually("the rest", async || (came("order-1").len() == usize::from(EACH)).then_some(())).await;
    assert_eq!(came("order-1"), (0..EACH.into()).collect::<Vec<_>>());
}
