//! The path that the gateway authorised is the path that other people's HTTP stacks see.
//!
//! Thousands of targets from a seed, and every target of the corpus, go over sockets through both planes to
//! hyper, Node and Python. Either the gateway refuses, or all three and the access log name one path, which
//! none of them would change. This does not look at bodies or headers: the corpus does.

mod judge;
mod stacks;
mod targets;

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    corpus::{case, client::Conversation},
    eventually,
    fleet::{Fleet, Proxy, word},
};
use judge::{Logged, Outcome};
use stacks::{NAMES, Stacks};
use targets::HOST;

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";
/// Targets that are made up in a run.
const TARGETS: usize = 3_000;
/// So many have to pass, and so many have to be refused: else the run would show nothing.
const EACH_MIN: usize = 600;
/// Connections to each stack's host.
const CONNECTIONS: usize = 6;
/// A number of one's own to make targets of, such as that of a run that failed.
const SEED: &str = "CLEARWAY_TEST_SEED";

fn host(stack: &str) -> String {
    format!("{stack}.test")
}

/// A host for each stack; Python's asks for a key.
fn routes(stacks: &Stacks) -> String {
    let mut routes = String::new();
    for (name, url) in NAMES.iter().zip(&stacks.urls) {
        let (host, auth) = (host(name), if *name == "python" { "key" } else { "open" });
        write!(
            routes,
            "[[upstreams]]\nname = \"{name}\"\naddresses = [\"{url}\"]\n\n\
             [[routes]]\nname = \"{name}\"\nhost = \"{host}\"\npath = \"/\"\nupstream = \"{name}\"\nauth = \"{auth}\"\n\n"
        )
        .expect("a String takes everything");
    }
    routes
}

async fn ask(conversation: &mut Conversation, target: &[u8], host: &str, key: &str) -> Outcome {
    let mut request = b"GET ".to_vec();
    request.extend(case::replaced(target, HOST, host));
    request.extend(format!(" HTTP/1.1\r\nHost: {host}\r\nX-Api-Key: {key}\r\n\r\n").into_bytes());
    let answer = match conversation.ask(&request).await {
        Ok(answer) => answer,
        Err(fault) => return Outcome::Fault(fault),
    };
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) if body.get("stack").is_some() => {
            serde_json::from_value(body).map_or_else(|e| Outcome::Fault(e.to_string()), Outcome::Echoed)
        }
        Ok(_) => Outcome::Refused(answer.status),
        // In none of the gateway's own words.
        Err(_) => Outcome::Unread(answer.status),
    }
}

/// Outcomes of every target at one stack's host, in order.
async fn ask_all(address: &str, targets: &Arc<Vec<Vec<u8>>>, stack: &str, key: &str) -> Vec<Outcome> {
    let mut asking = JoinSet::new();
    for first in 0..CONNECTIONS {
        let (targets, host, key) = (targets.clone(), host(stack), key.to_owned());
        let mut conversation = Conversation::with(address);
        asking.spawn(async move {
            let mut outcomes = Vec::new();
            for at in (first..targets.len()).step_by(CONNECTIONS) {
                outcomes.push((at, ask(&mut conversation, &targets[at], &host, &key).await));
            }
            outcomes
        });
    }
    let mut outcomes: Vec<_> = asking.join_all().await.into_iter().flatten().collect();
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Lines of the access log by request id, once all of `ids` are there.
async fn logged(proxy: &Proxy, ids: &BTreeSet<&str>) -> HashMap<String, Logged> {
    eventually("the access log to be written", async || {
        let text = std::fs::read_to_string(proxy.dir.join("access.log")).unwrap_or_default();
        if text.lines().count() < ids.len() || !text.ends_with('\n') {
            return None;
        }
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let lines: HashMap<_, _> = lines
            .map(|line| (word(&line, "request_id"), line))
            .filter(|(id, _)| ids.contains(id.as_str()))
            .map(|(id, line)| (id, Logged { host: word(&line, "host"), path: word(&line, "path") }))
            .collect();
        (lines.len() == ids.len()).then_some(lines)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_that_was_authorised_is_the_path_that_every_stack_sees() {
    let seed = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().expect("a seed is a number"));
    let mut targets = targets::generate(seed, TARGETS);
    let corpus = case::load();
    targets.extend(corpus.iter().flat_map(|case| case.targets(HOST)));

    let stacks = Stacks::start().await;
    let fleet = Fleet::new(SETTINGS);
    let control = fleet.control();
    let proxy = fleet.proxy("gateway", &routes(&stacks), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("differential", "enterprise").await;
    let (_, key) = control.key(&account, json!({})).await;

    let address = proxy.url.strip_prefix("http://").expect("an address");
    let targets: Arc<Vec<_>> = Arc::new(targets.into_iter().collect());
    let [hyper, node, python] = NAMES.map(|stack| ask_all(address, &targets, stack, &key));
    let (hyper, node, python) = tokio::join!(hyper, node, python);
    let outcomes: Vec<[Outcome; 3]> = hyper.into_iter().zip(node).zip(python).map(|((h, n), p)| [h, n, p]).collect();

    let ids = outcomes.iter().flatten().filter_map(|outcome| match outcome {
        Outcome::Echoed(echo) => Some(echo.request_id.as_str()),
        Outcome::Refused(_) | Outcome::Unread(_) | Outcome::Fault(_) => None,
    });
    let logged = logged(&proxy, &ids.collect()).await;
    let hosts = NAMES.map(host);
    let hosts = hosts.each_ref().map(String::as_str);
    let mut disagreements: Vec<_> = targets
        .iter()
        .zip(&outcomes)
        .map(|(target, outcomes)| (target, judge::judge(target, &hosts, outcomes, &logged)))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    disagreements.sort_by_key(|(target, _)| target.len());
    let mut report = String::new();
    for (target, faults) in &disagreements {
        write!(report, "\n{}\n  {}\n", target.escape_ascii(), faults.join("\n  ")).expect("a String takes everything");
    }
    assert!(
        report.is_empty(),
        "{} of {} targets are read in more than one way ({SEED}={seed} makes the same again):\n{report}",
        disagreements.len(),
        targets.len()
    );
    let passed = outcomes.iter().filter(|outcomes| matches!(outcomes[0], Outcome::Echoed(_))).count();
    let refused = targets.len() - passed;
    assert!(passed >= EACH_MIN && refused >= EACH_MIN, "{passed} passed and {refused} were refused, {SEED}={seed}");
}
