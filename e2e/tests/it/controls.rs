//! Two control processes over one PostgreSQL and three gateways that may be attached to either: a revoke on one holds for
//! those of the other, gateways move when theirs dies, and the list of gateways is the same everywhere.

use std::time::{Duration, Instant};

use clearway_testkit::Cluster;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy, binary, word},
    history::{Clients, violations},
    link::Link,
    upstream::Upstream,
};

const STRICT: &str = "[sync]\nmode = \"strict\"\nauth_lease = \"2s\"\n";
const AVAILABLE: &str = "[sync]\nmode = \"available\"\nauth_lease = \"2s\"\n";
const GATEWAYS: usize = 3;

struct Scene {
    _fleet: Fleet,
    _upstream: Upstream,
    _database: Cluster,
    controls: [Control; 2],
    proxies: Vec<Proxy>,
    /// Of each gateway to each control process.
    links: Vec<[Link; 2]>,
}

impl Scene {
    async fn set(settings: &str) -> Self {
        let fleet = Fleet::new(settings);
        let upstream = Upstream::start().await;
        let database = Cluster::start().expect("a PostgreSQL");
        let url = database.create("clearway");
        let first = fleet.control_over("control-a", &url, None);
        let second = fleet.control_over("control-b", &url, Some(&first));
        let (mut proxies, mut links) = (Vec::new(), Vec::new());
        for n in 0..GATEWAYS {
            let wires = [Link::to(&first.sync).await, Link::to(&second.sync).await];
            let connect = format!("{},{}", wires[0].url, wires[1].url);
            proxies.push(fleet.proxy(&format!("gateway-{n}"), &upstream.routes(), &first, &connect));
            links.push(wires);
        }
        first.attached(GATEWAYS).await;
        Self { _fleet: fleet, _upstream: upstream, _database: database, controls: [first, second], proxies, links }
    }

    fn gateways(&self) -> Vec<(String, String)> {
        self.proxies.iter().map(|proxy| (proxy.name.clone(), proxy.url.clone())).collect()
    }

    /// A key that all gateways are seen to accept, and the clients that use it.
    async fn busy_key(&self, by: usize) -> (String, Clients) {
        let account = self.controls[by].account("history", "enterprise").await;
        let (id, secret) = self.controls[by].key(&account, json!({})).await;
        let clients = Clients::start(&self.gateways(), &secret);
        let since = Instant::now();
        eventually("every gateway to accept the key", async || {
            let seen = clients.so_far();
            let accepts = |name: &String| seen.iter().any(|s| s.gateway == *name && s.began > since && s.status == Some(200));
            self.gateways().iter().all(|(name, _)| accepts(name)).then_some(())
        })
        .await;
        (id, clients)
    }

    /// Until it is answered that it holds: one that was given up promises nothing, and is asked for again.
    async fn revoke(&self, by: usize, id: &str) -> (Value, Instant) {
        let control = &self.controls[by];
        let path = format!("/api/v1/keys/{id}");
        loop {
            let (status, answer) = control.call_as(&control.admin_key, Method::DELETE, &path, None).await;
            let given_up = status == 503 && answer["error"]["type"] == "timed_out";
            assert!(status.is_success() || given_up, "{path}: {status} {answer}");
            if !given_up {
                return (answer["data"]["propagation"].clone(), Instant::now());
            }
        }
    }

    /// What the list says of each gateway, by name.
    async fn listed(&self, by: usize) -> Vec<Value> {
        let list = self.controls[by].admin(Method::GET, "/api/v1/admin/proxies", None).await;
        let mut items = list["items"].as_array().cloned().unwrap_or_default();
        items.sort_by_key(|item| word(item, "name"));
        items
    }
}

/// Waits until each gateway has refused the key for a while after `since`.
async fn refused_by_all(clients: &Clients, since: Instant) {
    eventually("the gateways to refuse the key", async || {
        let seen = clients.so_far();
        let refusals = |n: usize| {
            let name = format!("gateway-{n}");
            seen.iter().filter(|s| s.gateway == name && s.began > since && s.status.is_some_and(|s| s >= 400)).count()
        };
        (0..GATEWAYS).all(|n| refusals(n) >= 20).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_on_one_control_process_holds_for_the_gateways_of_the_other() {
    let scene = Scene::set(STRICT).await;
    for n in 0..6 {
        let (id, clients) = scene.busy_key(n % 2).await;
        let (propagation, revoked) = scene.revoke((n + 1) % 2, &id).await;
        assert_eq!((&propagation["proxies"], &propagation["acknowledged"]), (&json!(3), &json!(3)), "{propagation}");
        refused_by_all(&clients, revoked).await;
        assert!(violations(&clients.stop().await, revoked).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_move_to_the_next_control_process_and_are_listed_wherever_they_are() {
    let mut scene = Scene::set(STRICT).await;
    let homes = |items: &[Value]| items.iter().map(|item| word(item, "control")).collect::<Vec<_>>();
    let before = homes(&scene.listed(0).await);
    assert_eq!(homes(&scene.listed(1).await), before, "both say the same");

    // One is stopped, not dead: its connections stay up.
    scene.controls[0].process.signal("STOP");
    eventually("all gateways to be attached to the other", async || {
        let items = scene.listed(1).await;
        items.iter().all(|item| item["connected"] == true && item["control"] == "control-b").then_some(())
    })
    .await;
    let items = eventually("gateways to say what they do", async || {
        let items = scene.listed(1).await;
        items.iter().all(|item| !item["load"].is_null()).then_some(items)
    })
    .await;
    for item in &items {
        assert_eq!((&item["auth_lease"]["strict"], &item["auth_lease"]["fenced"]), (&json!(true), &json!(false)), "{item}");
        assert_eq!((&item["quota_store"], &item["lag"]), (&Value::Null, &json!(0)), "{item}");
    }
    // They went on from what they held.
    for proxy in &scene.proxies {
        let log = std::fs::read_to_string(proxy.dir.join("clearway-proxy.log")).expect("a log");
        assert_eq!(log.matches("whole snapshot begins").count(), 1, "{log}");
    }

    scene.controls[0].process.signal("CONT");
    scene.controls[1].process.kill();
    eventually("all gateways to be back", async || {
        let items = scene.listed(0).await;
        items.iter().all(|item| item["connected"] == true && item["control"] == "control-a").then_some(())
    })
    .await;

    // One that is connected cannot be forgotten; the command says so, and shows the table.
    let id = word(&items[0], "id");
    let control = &scene.controls[0];
    let (status, refused) =
        control.call_as(&control.admin_key, Method::DELETE, &format!("/api/v1/admin/proxies/{id}"), None).await;
    assert_eq!((status, &refused["error"]["type"]), (StatusCode::CONFLICT, &json!("conflict")), "{refused}");
    let shown = std::process::Command::new(binary("clearway"))
        .args(["proxies", "--url", &control.url])
        .env("CLEARWAY_API_KEY", &control.admin_key)
        .output()
        .expect("the command runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.starts_with("NAME") && shown.contains("gateway-2") && shown.contains("control-a"), "{shown}");
}

/// What may befall the fleet while a key is revoked.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Nothing,
    StopGateway(usize),
    KillGateway(usize),
    /// Of a gateway to both control processes.
    Cut(usize),
    /// Of a gateway to one of them.
    CutOne(usize, usize),
    StopControl(usize),
    KillControl(usize),
}

impl Fault {
    fn any(random: &mut StdRng) -> Self {
        let (gateway, control) = (random.random_range(0..GATEWAYS), random.random_range(0..2));
        match random.random_range(0..10) {
            0 => Fault::Nothing,
            1 => Fault::StopGateway(gateway),
            2 => Fault::KillGateway(gateway),
            3 => Fault::Cut(gateway),
            4 | 5 => Fault::CutOne(gateway, control),
            6 | 7 => Fault::StopControl(control),
            _ => Fault::KillControl(control),
        }
    }

    fn strikes(self, scene: &mut Scene) {
        match self {
            Fault::Nothing => {}
            Fault::StopGateway(n) => scene.proxies[n].process.signal("STOP"),
            Fault::KillGateway(n) => scene.proxies[n].process.kill(),
            Fault::Cut(n) => scene.links[n].iter().for_each(Link::hold),
            Fault::CutOne(n, c) => scene.links[n][c].hold(),
            Fault::StopControl(c) => scene.controls[c].process.signal("STOP"),
            Fault::KillControl(c) => scene.controls[c].process.kill(),
        }
    }

    fn ends(self, scene: &mut Scene) {
        match self {
            Fault::Nothing => {}
            Fault::StopGateway(n) => scene.proxies[n].process.signal("CONT"),
            Fault::KillGateway(n) => scene.proxies[n].restart(),
            Fault::Cut(n) => scene.links[n].iter().for_each(Link::release),
            Fault::CutOne(n, c) => scene.links[n][c].release(),
            Fault::StopControl(c) => scene.controls[c].process.signal("CONT"),
            Fault::KillControl(c) => scene.controls[c].restart(),
        }
    }

    /// Who can be asked meanwhile.
    fn survivor(self, random: &mut StdRng) -> usize {
        match self {
            Fault::StopControl(c) | Fault::KillControl(c) => 1 - c,
            _ => random.random_range(0..2),
        }
    }
}

/// For how long faults strike, in seconds; a longer run is asked for by this variable.
const SECONDS: &str = "CLEARWAY_HISTORY_SECONDS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_starts_after_a_revoke_is_accepted_whatever_befalls_the_fleet() {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Scene::set(STRICT).await;
    let (began, mut rounds, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while rounds < 3 || began.elapsed() < Duration::from_secs(seconds) {
        let (id, clients) = scene.busy_key(random.random_range(0..2)).await;
        let fault = Fault::any(&mut random);
        fault.strikes(&mut scene);
        // Sometimes the fleet has noticed, sometimes not.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
        let asked = Instant::now();
        let (propagation, revoked) = scene.revoke(fault.survivor(&mut random), &id).await;
        slowest = slowest.max(asked.elapsed());
        fault.ends(&mut scene);
        refused_by_all(&clients, revoked).await;
        let history = clients.stop().await;
        let bad = violations(&history, revoked);
        assert!(bad.is_empty(), "{fault:?}, {propagation}: {} requests were accepted: {:?}", bad.len(), bad[0]);
        rounds += 1;
    }
    eprintln!("{rounds} revokes; the slowest took {slowest:?}");
}

/// The negative control: without the fence a gateway that is cut off from both must show up in the history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_fence_the_checker_sees_the_key_accepted_by_a_gateway_cut_off_from_both() {
    let scene = Scene::set(AVAILABLE).await;
    let (id, clients) = scene.busy_key(0).await;
    scene.links[2].iter().for_each(Link::hold);
    let (propagation, revoked) = scene.revoke(1, &id).await;
    assert_eq!(propagation["fenced"], json!(0), "{propagation}");
    let caught = eventually("the checker to see a violation", async || {
        violations(&clients.so_far(), revoked).first().map(|seen| seen.gateway.clone())
    })
    .await;
    assert_eq!(caught, "gateway-2");
}
