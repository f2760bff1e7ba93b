//! Events on their way to receivers that nobody here wrote, and through the death of everything between.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clearway_filters::webhook::HmacSecret;
use clearway_testkit::Cluster;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::{
    eventually,
    fleet::{Control, Fleet, word},
    receiver::next,
    script::{NODE, PYTHON, Script},
    upstream::Upstream,
};

const SETTINGS: &str = "
[sync]
mode = \"available\"
[egress]
addr = \"127.0.0.1:0\"
allow = [\"127.0.0.0/8\"]
allow_http = true
";
const KIND: &str = "order.shipped";
/// Events that are on their way when everything is killed.
const PENDING: usize = 5_000;
/// Attempts at the same time: what may come twice at each kill.
const CONCURRENCY: usize = 64;

async fn register(control: &Control) {
    let body = json!({"name": KIND, "description": "An order has left.", "schema": {"type": "object"}});
    control.admin(Method::POST, "/api/v1/events/types", Some(body)).await;
}

/// Statuses that a webhook's receiver has answered, the latest first.
async fn answers(control: &Control, webhook: &str) -> Vec<u64> {
    let log = control.admin(Method::GET, &format!("/api/v1/webhooks/{webhook}/logs?limit=100"), None).await;
    let lines = log["logs"].as_array().expect("a log");
    lines.iter().filter_map(|line| line["status_code"].as_u64()).collect()
}

/// A receiver that verifies by the Rust package of Standard Webhooks.
pub(crate) async fn rust_receiver(secret: &str) -> String {
    let webhook = Arc::new(standardwebhooks::Webhook::new(secret).expect("a secret"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let webhook = webhook.clone();
            tokio::spawn(serve(stream, async move |head: &str, body: &[u8]| {
                let headers = head.lines().filter_map(|line| line.split_once(": "));
                let headers: http::HeaderMap = headers
                    .filter_map(|(name, value)| Some((name.parse::<http::HeaderName>().ok()?, value.trim().parse().ok()?)))
                    .collect();
                if webhook.verify(body, &headers).is_ok() { 204 } else { 400 }
            }));
        }
    });
    url
}

/// Answers the messages of one connection, one after the other.
async fn serve(mut stream: TcpStream, answer: impl AsyncFn(&str, &[u8]) -> u16) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = next(&mut stream, &mut buffer).await {
        let status = answer(&head, &body).await;
        if stream.write_all(format!("HTTP/1.1 {status} It\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_is_taken_by_the_packages_that_receivers_use_also_while_the_secret_is_rotated() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let _gateway = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    register(&control).await;
    let secret = HmacSecret::new(&[7; 32]).expect("32 bytes").reveal();
    let other = HmacSecret::new(&[8; 32]).expect("32 bytes").reveal();
    let (_node, node) = Script::start(&NODE, "receivers/node.cjs", &[&secret]);
    let (_python, python) = Script::start(&PYTHON, "receivers/python.py", &[&secret]);
    let (_stranger, stranger) = Script::start(&NODE, "receivers/node.cjs", &[&other]);
    let mut webhooks = HashMap::new();
    for (name, url) in [("Node", node), ("Python", python), ("Rust", rust_receiver(&secret).await), ("stranger", stranger)] {
        let body = json!({"url": format!("{url}/hook"), "events": ["order.*"], "secret": secret});
        let made = control.admin(Method::POST, "/api/v1/webhooks", Some(body)).await;
        webhooks.insert(name, word(&made, "id"));
    }
    // What JSON libraries like to write in another way.
    let data = json!({"text": "Crème brûlée \u{2028} </script>", "number": 1.0});
    for round in 0..2 {
        control.admin(Method::POST, "/api/v1/events", Some(json!({"type": KIND, "data": data}))).await;
        for (name, webhook) in &webhooks {
            let expected = if *name == "stranger" { 400 } else { 204 };
            let what = format!("{name} to answer, round {round}");
            let answered = eventually(&what, async || {
                let answers = answers(&control, webhook).await;
                (answers.len() > round).then_some(answers)
            });
            assert_eq!(answered.await[0], expected, "{what}");
            if round == 0 {
                let path = format!("/api/v1/webhooks/{webhook}/rotate-secret");
                control.admin(Method::POST, &path, Some(json!({"overlap": 3600}))).await;
            }
        }
    }
}

/// Holds every message until it is opened, and counts how often each came.
#[derive(Debug, Clone, Default)]
struct Gate {
    open: Arc<AtomicBool>,
    came: Arc<Mutex<HashMap<String, usize>>>,
}

impl Gate {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let gate = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let gate = gate.clone();
                tokio::spawn(serve(stream, async move |_: &str, body: &[u8]| {
                    let event: Value = serde_json::from_slice(body).expect("an event");
                    *gate.came.lock().expect("no panic").entry(word(&event, "id")).or_default() += 1;
                    while !gate.open.load(Ordering::Acquire) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    204
                }));
            }
        });
        url
    }

    fn came(&self) -> usize {
        self.came.lock().expect("no panic").len()
    }
}

/// Kills control, then the gateway, then both, with [`PENDING`] deliveries on their way, and sees what arrives.
async fn survive(settings: &str) {
    let fleet = Fleet::new(settings);
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let mut gateway = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    register(&control).await;
    let gate = Gate::default();
    let body = json!({"url": format!("{}/hook", gate.start().await), "events": [KIND], "concurrency": CONCURRENCY});
    control.admin(Method::POST, "/api/v1/webhooks", Some(body)).await;
    let mut accepted = Vec::new();
    for batch in 0..PENDING / 100 {
        let events: Vec<Value> = (0..100).map(|n| json!({"type": KIND, "data": {"n": batch * 100 + n}})).collect();
        let answer = control.admin(Method::POST, "/api/v1/events", Some(events.into())).await;
        accepted.extend(answer["items"].as_array().expect("a list").iter().map(|event| word(event, "id")));
    }
    assert_eq!(accepted.len(), PENDING);

    eventually("attempts to be in flight", async || (gate.came() > 0).then_some(())).await;
    control.restart();
    control.attached(1).await;
    gateway.restart();
    control.attached(1).await;
    control.process.kill();
    gateway.restart();
    control.restart();
    control.attached(1).await;

    gate.open.store(true, Ordering::Release);
    for _ in 0..6 {
        // Half a minute each.
        let arrived = tokio::time::timeout(Duration::from_secs(29), async {
            while gate.came() < PENDING {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        if arrived.await.is_ok() {
            break;
        }
    }
    let came = gate.came.lock().expect("no panic").clone();
    let lost = accepted.iter().filter(|id| !came.contains_key(*id)).count();
    assert_eq!(lost, 0, "of {PENDING} accepted events");
    let twice: usize = came.values().map(|times| times - 1).sum();
    eprintln!("{twice} of {PENDING} came more than once");
    assert!(twice <= 4 * CONCURRENCY, "{twice} duplicates, though {CONCURRENCY} were in flight at each of three kills");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_when_control_and_gateway_are_killed_over_sqlite() {
    survive(SETTINGS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_when_control_and_gateway_are_killed_over_postgresql() {
    let url = Cluster::shared().create("deliveries");
    survive(&format!("{SETTINGS}[control]\ndatabase_url = \"{url}\"\n")).await;
}

/// Whether this control process has begun to dispatch, as it says in its log.
fn dispatches(control: &Control) -> bool {
    let log = std::fs::read_to_string(control.dir.join("clearway-control.log")).unwrap_or_default();
    log.contains("this process dispatches webhooks")
}

/// Events of [`KIND`], as many on each control process, and their ids.
async fn publish(controls: &[&Control], count: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    for batch in 0..count / 50 {
        let events: Vec<Value> = (0..50).map(|n| json!({"type": KIND, "data": {"n": batch * 50 + n}})).collect();
        let answer = controls[batch % controls.len()].admin(Method::POST, "/api/v1/events", Some(events.into())).await;
        accepted.extend(answer["items"].as_array().expect("a list").iter().map(|event| word(event, "id")));
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_two_control_processes_are_delivered_once_and_by_the_other_when_one_dies() {
    const EACH: usize = 400;
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let database = Cluster::shared().create("two_controls_deliver");
    let first = fleet.control_over("control-a", &database, None);
    let second = fleet.control_over("control-b", &database, Some(&first));
    let _gateways = [("gateway-a", &first), ("gateway-b", &second)]
        .map(|(name, control)| fleet.proxy(name, &upstream.routes(), control, &control.sync));
    first.attached(2).await;
    register(&first).await;
    let gate = Gate { open: Arc::new(AtomicBool::new(true)), ..Gate::default() };
    let body = json!({"url": format!("{}/hook", gate.start().await), "events": [KIND], "concurrency": CONCURRENCY});
    first.admin(Method::POST, "/api/v1/webhooks", Some(body)).await;

    let mut accepted = publish(&[&first, &second], EACH).await;
    eventually("all events of both to arrive", async || (gate.came() == EACH).then_some(())).await;
    let came = gate.came.lock().expect("no panic").clone();
    assert!(came.values().all(|times| *times == 1), "{came:?}");
    assert_ne!(dispatches(&first), dispatches(&second), "one of them dispatches");

    gate.open.store(false, Ordering::Release);
    accepted.extend(publish(&[&first, &second], EACH).await);
    eventually("attempts to be in flight", async || (gate.came() > EACH).then_some(())).await;
    let (mut dies, lives) = if dispatches(&first) { (first, second) } else { (second, first) };
    dies.process.kill();
    gate.open.store(true, Ordering::Release);
    accepted.extend(publish(&[&lives], EACH).await);
    for _ in 0..4 {
        // It is waited for as long as the dead one may still be there.
        let arrived = tokio::time::timeout(Duration::from_secs(25), async {
            while gate.came() < 3 * EACH {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        if arrived.await.is_ok() {
            break;
        }
    }
    assert!(dispatches(&lives), "the other dispatches now");
    let came = gate.came.lock().expect("no panic").clone();
    assert_eq!(accepted.iter().filter(|id| !came.contains_key(*id)).count(), 0, "lost, of {}", accepted.len());
    let twice: usize = came.values().map(|times| times - 1).sum();
    // As many again may have been on their way to a gateway, or from it.
    assert!(twice <= 2 * CONCURRENCY, "{twice} duplicates, though {CONCURRENCY} were in flight");
}
