//! Settings read again while requests are served.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{client, eventually, fleet::Fleet, upstream::Upstream};

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";
const RELOADS: usize = 1_000;
const CLIENTS: usize = 6;
/// For all of them.
const PATIENCE: Duration = Duration::from_secs(120);

/// The routes of reload `n`: one that is its own, and the others as they always were, with another header.
fn routes(upstream: &Upstream, n: usize) -> String {
    let mut routes = upstream.routes();
    write!(routes, "\n[[routes]]\nname = \"own\"\npath = \"/own-{n}\"\nupstream = \"svc\"\nauth = \"open\"\n")
        .expect("a String takes everything");
    routes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_under_load_fail_no_request_and_lose_no_line() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let proxy = fleet.proxy("gateway", &routes(&upstream, 0), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("reloads", "enterprise").await;
    let (_, secret) = control.key(&account, json!({})).await;

    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (over, url, secret) = (over.clone(), format!("{}/svc/x", proxy.url), secret.clone());
            tokio::spawn(async move {
                let (client, mut answers) = (client(), Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let answer = client.get(&url).bearer_auth(&secret).send().await;
                    answers.push(answer.map(|answer| answer.status().as_u16()).map_err(|e| format!("{e:?}")));
                }
                answers
            })
        })
        .collect();

    let began = Instant::now();
    let (file, new, asking) = (proxy.dir.join("routes.toml"), proxy.dir.join("routes.new"), client());
    for n in 1..=RELOADS {
        // At once, as it should be done: half a file is a mistake, and an empty one no routes.
        std::fs::write(&new, routes(&upstream, n)).expect("writable");
        std::fs::rename(&new, &file).expect("in one directory");
        proxy.process.signal("HUP");
        let own = format!("{}/own-{n}", proxy.url);
        // Asked again at once: there is enough to do meanwhile.
        while asking.get(&own).send().await.expect("an answer").status().as_u16() != 200 {
            assert!(began.elapsed() < PATIENCE, "reload {n} did not come");
        }
    }
    over.store(true, Ordering::Relaxed);
    let mut served = 0;
    for client in clients {
        for answer in client.await.expect("no panic") {
            assert_eq!(answer, Ok(200));
            served += 1;
        }
    }
    assert!(served > RELOADS, "{served}");
    eventually("the access log to be whole", async || (proxy.admitted_in_access_log().len() == served).then_some(())).await;
}
