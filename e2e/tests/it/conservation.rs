//! Counted = enforced = shown: after load and `kill -9`, what the access log says was admitted, what
//! the ledger holds and what the API answers are the same number.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use clearway_filters::quota::Now;
use clearway_proxy::ledger::{Ledger, Opened, Subject};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy},
    upstream::Upstream,
};

/// Clients that send as fast as they are answered, whatever the answer.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(url: &str, secrets: &[String]) -> Self {
        let mut load = Self { stop: Arc::default(), answered: Arc::default(), tasks: JoinSet::new() };
        for n in 0..8 {
            let (stop, answered, url, secrets) =
                (load.stop.clone(), load.answered.clone(), format!("{url}/svc/x"), secrets.to_vec());
            load.tasks.spawn(async move {
                let client = crate::client_for(Duration::from_secs(5));
                for turn in n.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    match client.get(&url).bearer_auth(&secrets[turn % secrets.len()]).send().await {
                        Ok(_) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        // The gateway is being killed: do not spin while it is away.
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            });
        }
        load
    }

    async fn answered_more(&self, by: u64) {
        let target = self.answered.load(Ordering::SeqCst) + by;
        eventually("requests to be answered", async || (self.answered.load(Ordering::SeqCst) >= target).then_some(())).await;
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What the API says each account's keys were admitted, summed over days.
async fn shown(control: &Control, accounts: &[String]) -> (u64, BTreeMap<String, u64>) {
    let (mut total, mut keys) = (0, BTreeMap::new());
    for account in accounts {
        let usage = control.admin(Method::GET, &format!("/api/v1/analytics/usage?account_id={account}"), None).await;
        total += sum(&usage["days"]);
        for key in usage["keys"].as_array().into_iter().flatten() {
            *keys.entry(key["id"].as_str().expect("a key has an id").to_owned()).or_default() +=
                key["admitted"].as_u64().expect("a count");
        }
    }
    (total, keys)
}

fn sum(rows: &Value) -> u64 {
    rows.as_array().into_iter().flatten().map(|row| row["admitted"].as_u64().expect("a count")).sum()
}

/// The ledger's own counts, read after its process has ended: accounts and keys, each summed.
pub(crate) fn counted(proxy: &Proxy) -> (u64, u64) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970").as_millis();
    let now = Now::at(u64::try_from(now).expect("before the year 584 million"));
    let Opened { ledger, interrupted } = Ledger::open(&proxy.dir.join("proxy"), &now).expect("the ledger opens");
    assert!(interrupted.is_empty(), "a gateway that ended in order leaves nothing in flight");
    let (mut accounts, mut keys) = (0, 0);
    loop {
        let totals = ledger.totals(1_000);
        if totals.is_empty() {
            return (accounts, keys);
        }
        for total in totals {
            match total.subject {
                Subject::Account(_) => accounts += total.admitted,
                Subject::Key(_) => keys += total.admitted,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_is_enforced_logged_and_shown_after_kills_of_both_planes() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
    let upstream = Upstream::start().await;
    let mut control = fleet.control();
    let mut proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;

    let (mut accounts, mut secrets) = (Vec::new(), Vec::new());
    for plan in ["enterprise", "tight"] {
        let account = control.account(plan, plan).await;
        for n in 0..3 {
            secrets.push(control.key(&account, json!({"name": format!("key {n}")})).await.1);
        }
        accounts.push(account);
    }

    let load = Load::start(&proxy.url, &secrets);
    for round in 0..4 {
        load.answered_more(150 + round * 37).await;
        proxy.restart();
        load.answered_more(150).await;
        control.restart();
    }
    load.answered_more(200).await;
    load.end().await;

    let logged: BTreeSet<String> = eventually("the log to have as many lines as the API shows", async || {
        let lines = proxy.admitted_in_access_log();
        let logged: BTreeSet<String> = lines.iter().cloned().collect();
        assert_eq!(logged.len(), lines.len(), "no request is logged twice");
        let (total, keys) = shown(&control, &accounts).await;
        (total == logged.len() as u64 && keys.values().sum::<u64>() == total).then_some(logged)
    })
    .await;
    let tight = control.admin(Method::GET, &format!("/api/v1/analytics/usage?account_id={}", accounts[1]), None).await;
    assert_eq!(sum(&tight["days"]), 200, "an exhausted day admits its limit exactly, through every kill");

    proxy.process.signal("TERM");
    assert_eq!(proxy.process.ended().await, Some(0));
    assert_eq!(counted(&proxy), (logged.len() as u64, logged.len() as u64));
    assert!(upstream.seen() <= logged.len() as u64, "nothing reaches the upstream uncounted");
}
