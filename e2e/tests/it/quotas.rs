//! A fleet's quotas: gateways in processes of their own share a limit by Redis, and never admit more than it, whatever
//! becomes of them and of Redis.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clearway_testkit::redis::{Redis, RedisSentinel};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy},
    upstream::Upstream,
};

/// What clients were answered: how often which status and code.
type Answers = BTreeMap<(u16, String), u64>;

/// Clients of all gateways, the first of which have more to do than the others.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Answers>>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(gateways: &[Proxy], secret: &str) -> Self {
        let mut load = Self { stop: Arc::default(), answers: Arc::default(), tasks: JoinSet::new() };
        for (n, gateway) in gateways.iter().enumerate() {
            for _ in 0..2 {
                let (stop, answers) = (load.stop.clone(), load.answers.clone());
                let (url, secret) = (format!("{}/svc/x", gateway.url), secret.to_owned());
                load.tasks.spawn(async move {
                    let client = crate::client_for(Duration::from_secs(5));
                    while !stop.load(Ordering::SeqCst) {
                        if let Ok(answer) = client.get(&url).bearer_auth(&secret).send().await {
                            let status = answer.status().as_u16();
                            let body: Value = answer.json().await.unwrap_or_default();
                            let code = body["error"]["type"].as_str().unwrap_or_default().to_owned();
                            *answers.lock().expect("clients do not panic").entry((status, code)).or_default() += 1;
                        }
                        tokio::time::sleep(Duration::from_millis(2 + 8 * n as u64)).await;
                    }
                });
            }
        }
        load
    }

    fn so_far(&self) -> Answers {
        self.answers.lock().expect("clients do not panic").clone()
    }

    fn accepted(&self) -> u64 {
        self.so_far().iter().filter(|((status, _), _)| *status < 300).map(|(_, n)| n).sum()
    }

    /// Waits until so many more have been accepted, or refused because there are no more.
    async fn goes_on(&self, by: u64) {
        let target = self.accepted() + by;
        eventually("requests to be accepted", async || {
            let exhausted = self.so_far().keys().any(|(_, code)| code == "quota_exceeded");
            (self.accepted() >= target || exhausted).then_some(())
        })
        .await;
    }

    async fn end(mut self) -> Answers {
        self.stop.store(true, Ordering::SeqCst);
        while self.tasks.join_next().await.is_some() {}
        self.so_far()
    }
}

/// No other than these were given: nobody's key is doubted, and nothing breaks.
fn only_known(answers: &Answers) {
    let known = ["", "quota_exceeded", "rate_limit_exceeded", "quota_store_unavailable"];
    let odd: Vec<_> = answers.keys().filter(|(_, code)| !known.contains(&code.as_str())).collect();
    assert!(odd.is_empty(), "{odd:?} in {answers:?}");
    assert!(answers.keys().all(|(status, code)| (*status == 503) == (code == "quota_store_unavailable")), "{answers:?}");
}

/// What control has been told was admitted of the account.
pub(crate) async fn counted(control: &Control, account: &str) -> u64 {
    let usage = control.admin(Method::GET, &format!("/api/v1/analytics/usage?account_id={account}"), None).await;
    usage["days"].as_array().into_iter().flatten().map(|day| day["admitted"].as_u64().expect("a count")).sum()
}

struct Stand {
    _fleet: Fleet,
    control: Control,
    gateways: Vec<Proxy>,
    upstream: Upstream,
    account: String,
    secret: String,
}

impl Stand {
    async fn start(redis: &Redis, plan: &str, gateways: usize) -> Self {
        Self::start_by(&format!("url = \"{}\"", redis.url()), plan, gateways).await
    }

    /// `redis` is said in the settings' section of that name.
    async fn start_by(redis: &str, plan: &str, gateways: usize) -> Self {
        let settings = format!("[sync]\nmode = \"available\"\n[redis]\n{redis}\nforget_after = \"15s\"\n");
        let (fleet, upstream) = (Fleet::new(&settings), Upstream::start().await);
        let control = fleet.control();
        let start = |n: usize| fleet.proxy(&format!("gateway-{n}"), &upstream.routes(), &control, &control.sync);
        let gateways: Vec<_> = (0..gateways).map(start).collect();
        control.attached(gateways.len()).await;
        let account = control.account("shared", plan).await;
        let (_, secret) = control.key(&account, json!({})).await;
        Self { _fleet: fleet, control, gateways, upstream, account, secret }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_share_a_day_exactly_over_kills_stalls_and_restarts_of_redis() {
    const LIMIT: u64 = 2_000;
    let mut redis = Redis::start();
    let mut stand = Stand::start(&redis, "shared", 3).await;
    let load = Load::start(&stand.gateways, &stand.secret);
    load.goes_on(200).await;

    stand.gateways[0].restart();
    load.goes_on(150).await;
    stand.gateways[1].process.signal("STOP");
    load.goes_on(150).await;
    stand.gateways[1].process.signal("CONT");
    redis.restart();
    load.goes_on(150).await;
    redis.restart_empty();
    load.goes_on(150).await;
    redis.pause();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    redis.resume();
    load.goes_on(150).await;
    stand.gateways[2].restart();
    redis.restart_empty();
    load.goes_on(150).await;
    assert!(load.accepted() <= LIMIT);

    let Stand { control, account, upstream, .. } = &stand;
    eventually("the day to be used up", async || {
        let counted = counted(control, account).await;
        assert!(counted <= LIMIT, "{counted} of {LIMIT}");
        (counted == LIMIT).then_some(())
    })
    .await;
    let answers = load.end().await;
    println!("{answers:?}");
    only_known(&answers);
    assert!(upstream.seen() <= LIMIT, "{} reached the upstream", upstream.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_what_was_granted_is_spent_and_then_refused_and_afterwards_all_goes_on() {
    let mut redis = Redis::start();
    let stand = Stand::start(&redis, "shared", 2).await;
    let load = Load::start(&stand.gateways, &stand.secret);
    load.goes_on(100).await;
    redis.stop();
    let refused = |answers: &Answers| answers.get(&(503, "quota_store_unavailable".to_owned())).copied().unwrap_or(0);
    eventually("grants to be spent", async || (refused(&load.so_far()) > 20).then_some(())).await;
    let metrics = crate::client().get(format!("{}/metrics", stand.gateways[0].metrics)).send().await.expect("metrics");
    let metrics = metrics.text().await.expect("metrics are text");
    assert!(metrics.contains("clearway_quota_store_up 0") && metrics.contains("clearway_quota_excess_max 0"));
    let accepted = load.accepted();
    redis.restart();
    let began = Instant::now();
    eventually("requests to be accepted again", async || (load.accepted() > accepted + 20).then_some(())).await;
    println!("accepted again after {:?}", began.elapsed());
    only_known(&load.end().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_share_a_second() {
    let redis = Redis::start();
    let stand = Stand::start(&redis, "brisk", 3).await;
    let began = Instant::now();
    let load = Load::start(&stand.gateways, &stand.secret);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let answers = load.end().await;
    let seconds = began.elapsed().as_secs() + 2;
    let accepted = answers.get(&(200, String::new())).copied().unwrap_or(0);
    println!("{accepted} in {:?}: {answers:?}", began.elapsed());
    only_known(&answers);
    // It begins and ends within a second.
    assert!(accepted <= 40 * seconds, "{accepted} in {seconds} seconds of 40 each");
    assert!(accepted >= 40 * 3, "{accepted} in six seconds of 40 each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_opens_no_budget_again() {
    const LIMIT: u64 = 2_000;
    let mut redis = RedisSentinel::start();
    let servers = format!("sentinels = [\"{}\"]\nmaster = \"{}\"", redis.url(), RedisSentinel::MASTER);
    let stand = Stand::start_by(&servers, "shared", 2).await;
    let load = Load::start(&stand.gateways, &stand.secret);
    load.goes_on(300).await;
    tokio::task::block_in_place(|| redis.fail_over());
    let began = Instant::now();
    eventually("the day to be used up", async || {
        let counted = counted(&stand.control, &stand.account).await;
        assert!(counted <= LIMIT, "{counted} of {LIMIT}");
        (counted == LIMIT).then_some(())
    })
    .await;
    println!("used up {:?} after the replica took over", began.elapsed());
    only_known(&load.end().await);
    assert!(stand.upstream.seen() <= LIMIT, "{} reached the upstream", stand.upstream.seen());
}
