//! From one machine to a fleet: what was made before is there afterwards, and goes on; and what was counted counts.

use std::{path::Path, process::Command};

use clearway_filters::webhook::HmacSecret;
use clearway_testkit::{Cluster, redis::Redis};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    deliveries::rust_receiver,
    eventually,
    fleet::{Control, Fleet, Proxy, binary, word},
    quotas::counted,
    up::{Up, demo},
    upstream::Upstream,
};

const SETTINGS: &str = "[egress]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n";
const KIND: &str = "order.shipped";

/// A call of the API that has to succeed; its `data`.
async fn call(up: &Up, key: &str, method: Method, path: &str, body: Option<Value>) -> Value {
    let mut request = crate::client().request(method, format!("{}{path}", word(&up.ready, "control"))).bearer_auth(key);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("control answers");
    let status = answer.status();
    let mut answer: Value = answer.json().await.expect("JSON");
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer["data"].take()
}

/// Statuses that the webhook's receiver has answered.
async fn answers(up: &Up, key: &str, webhook: &str) -> Vec<u64> {
    let log = call(up, key, Method::GET, &format!("/api/v1/webhooks/{webhook}/logs?limit=100"), None).await;
    log["logs"].as_array().expect("a log").iter().filter_map(|line| line["status_code"].as_u64()).collect()
}

async fn revision(up: &Up) -> u64 {
    let url = format!("{}/metrics", word(&up.ready, "control_metrics"));
    let text = crate::client().get(url).send().await.expect("metrics").text().await.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("clearway_control_sync_revision "));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no revision in {text}"))
}

fn migrate(from: &Path, to: &str) -> Result<String, String> {
    clearway_migrate(&["--from", &format!("sqlite://{}", from.display()), "--to", to])
}

fn clearway_migrate(args: &[&str]) -> Result<String, String> {
    let output = Command::new(binary("clearway"))
        .arg("migrate")
        .args(args)
        .env_remove("CLEARWAY_DATABASE_URL")
        .output()
        .expect("clearway runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_webhooks_counts_and_revisions_go_on_in_postgresql() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (data, config) = (dir.path().join("data"), dir.path().join("clearway.toml"));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("config");
    for file in ["gateway.toml", "plans.toml"] {
        std::fs::copy(shipped.join(file), dir.path().join(file)).expect("writable");
    }
    std::fs::write(&config, SETTINGS).expect("writable");
    let database = Cluster::shared().create("moved_up");

    let before = Up::start_over(&data, &config, None);
    let admin = word(&before.ready, "admin_key");
    let secret = HmacSecret::new(&[7; 32]).expect("32 bytes").reveal();
    let kind = json!({"name": KIND, "description": "An order has left.", "schema": {"type": "object"}});
    call(&before, &admin, Method::POST, "/api/v1/events/types", Some(kind)).await;
    let hook = json!({"url": format!("{}/hook", rust_receiver(&secret).await), "events": ["order.*"], "secret": secret});
    let webhook = word(&call(&before, &admin, Method::POST, "/api/v1/webhooks", Some(hook)).await, "id");
    let event = || Some(json!({"type": KIND, "data": {"order": 1}}));
    call(&before, &admin, Method::POST, "/api/v1/events", event()).await;
    eventually("the first event to be taken", async || (answers(&before, &admin, &webhook).await == [204]).then_some(())).await;
    let revoked = call(&before, &admin, Method::POST, "/api/v1/keys", Some(json!({"name": "gone", "scopes": []}))).await;
    call(&before, &admin, Method::DELETE, &format!("/api/v1/keys/{}", word(&revoked, "id")), None).await;
    for _ in 0..3 {
        assert_eq!(demo(&before.ready, "pro").await, 200);
    }
    let audit = call(&before, &admin, Method::GET, "/api/v1/audit?limit=100", None).await;
    let source = data.join("control/control.db");
    let busy = migrate(&source, &database).expect_err("control runs on it");
    assert!(busy.contains("data directory in use by another process"), "{busy}");
    let reached = revision(&before).await;
    let keys = before.ready["demo_keys"].clone();
    before.stop().await;

    let said = migrate(&source, &database).unwrap_or_else(|why| panic!("{why}"));
    assert!(said.contains("counts and sums are the same"), "{said}");
    let again = migrate(&source, &database).expect_err("there is something in it now");
    assert!(again.contains("the target is not empty"), "{again}");

    let after = Up::start_over(&data, &config, Some(&database));
    assert!(after.ready["admin_password"].is_null(), "there is an admin already");
    for plan in ["starter", "pro", "enterprise"] {
        assert_eq!(demo(&json!({"gateway": after.ready["gateway"], "demo_keys": keys}), plan).await, 200, "{plan}");
    }
    let gone = json!({"gateway": after.ready["gateway"], "demo_keys": {"gone": revoked["secret"]}});
    assert_eq!(demo(&gone, "gone").await, 401, "what was revoked stays revoked");
    assert!(revision(&after).await >= reached);
    call(&after, &admin, Method::POST, "/api/v1/keys", Some(json!({"name": "new", "scopes": []}))).await;
    eventually("revisions to go on", async || (revision(&after).await > reached).then_some(())).await;

    // Signed by the secret that was sealed before, and numbered behind what was sent before.
    call(&after, &admin, Method::POST, "/api/v1/events", event()).await;
    eventually("the second event to be taken", async || (answers(&after, &admin, &webhook).await == [204, 204]).then_some(()))
        .await;
    let kept = call(&after, &admin, Method::GET, "/api/v1/audit?limit=100", None).await;
    let ids = |log: &Value| log["items"].as_array().expect("a list").iter().map(|line| word(line, "id")).collect::<Vec<_>>();
    let (old, new) = (ids(&audit), ids(&kept));
    assert!(!old.is_empty() && old.iter().all(|id| new.contains(id)), "{old:?} {new:?}");
    after.stop().await;
}

/// Of the plan `moving`, a day.
const LIMIT: u64 = 100;
const COUNTED: u64 = 60;

/// One machine that has counted, and has stopped; and what it is to go on in.
struct Moved {
    fleet: Fleet,
    control: Control,
    upstream: Upstream,
    _redis: Redis,
    settings: String,
    account: String,
    secret: String,
}

impl Moved {
    /// SQLite and one gateway without Redis, of whose account's day [`COUNTED`] are gone; then its database is moved.
    async fn up(database: &str) -> Self {
        let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
        let (upstream, mut control) = (Upstream::start().await, fleet.control());
        let mut alone = fleet.proxy("gateway-0", &upstream.routes(), &control, &control.sync);
        control.attached(1).await;
        let account = control.account("moving", "moving").await;
        let (_, secret) = control.key(&account, json!({"limits": {"per_day": LIMIT}})).await;
        for _ in 0..COUNTED {
            assert_eq!(ask(&alone, &secret).await, 200);
        }
        eventually("the usage to be told", async || (counted(&control, &account).await == COUNTED).then_some(())).await;
        for process in [&mut alone.process, &mut control.process] {
            process.signal("TERM");
            assert_eq!(process.ended().await, Some(0));
        }

        let (redis, database) = (Redis::start(), Cluster::shared().create(database));
        migrate(&control.dir.join("control/control.db"), &database).unwrap_or_else(|why| panic!("{why}"));
        let settings = format!(
            "[control]\ndatabase_url = \"{database}\"\n[sync]\nmode = \"available\"\n[redis]\nurl = \"{}\"\n",
            redis.url()
        );
        let fleet = fleet.resettled(&settings);
        let control = fleet.control_again(&control.admin_key);
        Self { fleet, control, upstream, _redis: redis, settings, account, secret }
    }

    fn gateway(&self, name: &str) -> Proxy {
        self.fleet.proxy(name, &self.upstream.routes(), &self.control, &self.control.sync)
    }

    /// Asks until all of the day is gone; it goes no further.
    async fn goes_on_exactly(&self, gateways: &[Proxy]) {
        self.control.attached(gateways.len()).await;
        let mut accepted = 0;
        eventually("the rest of the day to be used up", async || {
            for gateway in gateways {
                let status = ask(gateway, &self.secret).await;
                assert!([200, 429].contains(&status), "{status}");
                accepted += u64::from(status == 200);
            }
            (accepted >= LIMIT - COUNTED).then_some(())
        })
        .await;
        for _ in 0..20 {
            for gateway in gateways {
                assert_eq!(ask(gateway, &self.secret).await, 429);
            }
        }
        assert_eq!((accepted, self.upstream.seen()), (LIMIT - COUNTED, LIMIT));
        eventually("control to be told", async || (counted(&self.control, &self.account).await == LIMIT).then_some(())).await;
    }
}

async fn ask(gateway: &Proxy, secret: &str) -> u16 {
    let answer = crate::client().get(format!("{}/svc/x", gateway.url)).bearer_auth(secret).send().await;
    answer.expect("the gateway answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_goes_on_in_a_fleet_that_has_the_gateway_that_counted_it() {
    let moved = Moved::up("moved_with_gateway").await;
    // The one with the counts first; the others when it has asked about each of the 256 buckets, and told what it holds.
    let first = moved.gateway("gateway-0");
    eventually("the counts to be told", async || {
        let metrics = crate::client().get(format!("{}/metrics", first.metrics)).send().await.expect("metrics");
        let metrics = metrics.text().await.expect("text");
        let calls = metrics
            .lines()
            .find_map(|line| line.strip_prefix("clearway_quota_calls_total{call=\"restore\",result=\"given\"} "))?;
        (calls.parse::<u64>().expect("a count") >= 512).then_some(())
    })
    .await;
    let gateways = [first, moved.gateway("gateway-1"), moved.gateway("gateway-2")];
    moved.goes_on_exactly(&gateways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_goes_on_in_a_fleet_that_is_told_what_was_counted_before() {
    let moved = Moved::up("moved_without_gateway").await;
    let (ledger, config) = (moved.fleet.dir.path().join("gateway-0"), moved.fleet.dir.path().join("fleet.toml"));
    std::fs::write(&config, &moved.settings).expect("writable");
    let told = |ledger: &Path| clearway_migrate(&["--ledger", &ledger.to_string_lossy(), "--config", &config.to_string_lossy()]);
    let nothing = told(&moved.fleet.dir.path().join("nowhere")).expect_err("there is no ledger");
    assert!(nothing.contains("holds no ledger"), "{nothing}");
    for _ in 0..2 {
        let said = told(&ledger).unwrap_or_else(|why| panic!("{why}"));
        assert!(said.starts_with("60 requests of this day and 0 of this month, by 1 accounts and 1 keys"), "{said}");
        assert!(said.contains("counts and sums are the same on both sides"), "{said}");
    }
    let gateways = ["gateway-1", "gateway-2", "gateway-3"].map(|name| moved.gateway(name));
    moved.goes_on_exactly(&gateways).await;
}
