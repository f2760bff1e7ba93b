//! Whatever a receiver does instead of taking an event, it gets it again until it does.

use serde_json::{Value, json};

use super::Stand;
use crate::receiver::{Does, Receiver, event_of};

/// What the log says of an attempt: the status, or the word for why there was none.
fn came_to(attempt: &Value) -> String {
    match attempt["failure"].as_str() {
        Some(failure) => failure.to_owned(),
        None => attempt["status_code"].to_string(),
    }
}

/// A receiver that fails at first.
struct Failure {
    name: &'static str,
    does: Does,
    /// What is said of it.
    is: &'static str,
    /// Milliseconds until the answer's first byte, and for the whole attempt.
    patience: (u32, u32),
}

fn failures() -> Vec<Failure> {
    let of = |name, does, is| Failure { name, does, is, patience: (10_000, 20_000) };
    let slow = Does::Drips(b"HTTP/1.1 200 OK\r\nX-Slow: yes");
    vec![
        of("500", Does::answers(500, &[]), "500"),
        of("404", Does::answers(404, &[]), "404"),
        of("closes", Does::Closes, "broken"),
        of("resets", Does::Resets(b"HTTP/1.1 200 OK\r\nContent-Le"), "broken"),
        of("is no HTTP", Does::Says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()), "broken"),
        Failure { patience: (500, 20_000), ..of("hangs", Does::Hangs, "first_byte_timeout") },
        Failure { patience: (500, 20_000), ..of("dawdles", slow.clone(), "first_byte_timeout") },
        Failure { patience: (10_000, 700), ..of("dawdles for too long in all", slow, "total_timeout") },
    ]
}

async fn gets_it_again(stand: &Stand) {
    let mut all = Vec::new();
    for Failure { name, does, is, patience: (first_byte_ms, total_ms) } in failures() {
        let receiver = Receiver::start(move |n, _| if n == 0 { does.clone() } else { Does::takes() }).await;
        let timeouts = json!({"first_byte_ms": first_byte_ms, "total_ms": total_ms});
        let webhook = stand.webhook(&receiver.url, json!({"timeouts": timeouts})).await;
        all.push((name, is, receiver, webhook));
    }
    let event = stand.event("order-1", json!({"n": 1})).await;
    for (name, expected, receiver, webhook) in all {
        let ended = stand.ended(&webhook, 1).await;
        assert_eq!((&ended[0]["state"], &ended[0]["attempts"]), (&json!("succeeded"), &json!(2)), "{name}: {ended:?}");
        let attempts = stand.attempts(&ended[0]).await;
        assert_eq!(attempts.iter().map(came_to).collect::<Vec<_>>(), [expected, "204"], "{name}: {attempts:?}");
        assert_eq!(attempts[0]["address"], "127.0.0.1", "{name}");
        let got = receiver.messages();
        let told: Vec<_> = got.iter().map(|message| (event_of(message), message.attempt())).collect();
        assert_eq!(told, [(event.clone(), 1), (event.clone(), 2)], "{name}");
        assert!(got.iter().all(|message| message.header("webhook-id") == Some(event.as_str())), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_gets_the_same_event_again_over_sqlite() {
    gets_it_again(&Stand::start("127.0.0.1/32").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_gets_the_same_event_again_over_postgresql() {
    gets_it_again(&Stand::over_postgresql("receivers_failing").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_takes_it_is_given_up_after_its_last_attempt() {
    let stand = Stand::start("127.0.0.1/32").await;
    let receiver = Receiver::start(|_, _| Does::answers(500, &[])).await;
    let twice = json!({"initial_delay_ms": 100, "max_retries": 1});
    let webhook = stand.webhook(&receiver.url, json!({"retry_policy": twice})).await;
    stand.event("order-1", json!({})).await;
    let ended = stand.ended(&webhook, 1).await;
    assert_eq!((&ended[0]["state"], &ended[0]["last_status_code"]), (&json!("failed"), &json!(500)));
    assert!(ended[0]["next_attempt_at"].is_null(), "{ended:?}");
    assert_eq!(receiver.messages().len(), 2);
    assert_eq!(stand.told(&webhook).await["status"], "failing");
}
