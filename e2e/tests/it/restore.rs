//! The database is lost and comes back from a backup: gateways that know more than it go by it, and by nothing else.

use clearway_testkit::Cluster;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    eventually,
    fleet::{Control, Fleet, Proxy},
    quotas::counted,
    upstream::Upstream,
};

async fn ask(gateway: &Proxy, secret: &str) -> u16 {
    let answer = crate::client().get(format!("{}/svc/x", gateway.url)).bearer_auth(secret).send().await;
    answer.expect("the gateway answers").status().as_u16()
}

async fn answers(gateways: &[Proxy], secret: &str, status: u16) {
    for gateway in gateways {
        eventually("a gateway to go by what control has", async || (ask(gateway, secret).await == status).then_some(())).await;
    }
}

/// The line of `docs/operations/fleet.md` that calls `program`.
fn line(program: &str) -> &'static str {
    let page = include_str!("../../../docs/operations/fleet.md");
    page.lines().map(str::trim).find(|line| line.starts_with(program)).unwrap_or_else(|| panic!("no {program} in the page"))
}

fn settings(database: &str) -> String {
    format!("[control]\ndatabase_url = \"{database}\"\n[sync]\nmode = \"available\"\n")
}

/// Revokes a key, which both gateways must have heard of when it is answered.
async fn revoke(control: &Control, id: &str, gateways: u64) {
    let gone = control.admin(Method::DELETE, &format!("/api/v1/keys/{id}"), None).await;
    assert_eq!(gone["propagation"]["acknowledged"], gateways, "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_are_ahead_of_a_restored_database_go_by_it() {
    let (first, second) = (Cluster::start().expect("a server"), Cluster::start().expect("another server"));
    let database = first.create("clearway");
    let fleet = Fleet::new(&settings(&database));
    let (upstream, mut control) = (Upstream::start().await, fleet.control());
    let gateways = ["gateway-1", "gateway-2"].map(|name| fleet.proxy(name, &upstream.routes(), &control, &control.sync));
    control.attached(2).await;
    let account = control.account("restored", "enterprise").await;
    let (_, kept) = control.key(&account, json!({})).await;
    let (reviving, revived) = control.key(&account, json!({})).await;
    let (doomed, lost) = control.key(&account, json!({})).await;
    answers(&gateways, &kept, 200).await;
    let used = async |control: &Control| counted(control, &account).await;
    eventually("the first usage", async || (used(&control).await >= 2).then_some(())).await;

    first.shell(line("pg_dump "), &[("CLEARWAY_DATABASE_URL", &database)]);

    // What the backup does not know.
    revoke(&control, &reviving, 2).await;
    let (_, made) = control.key(&account, json!({})).await;
    answers(&gateways, &made, 200).await;
    answers(&gateways, &revived, 401).await;
    let before = upstream.seen();
    eventually("usage to be told", async || (used(&control).await == before).then_some(())).await;

    // The server is gone. Control starts over what was restored, while one gateway stands still.
    let [running, stalled] = gateways;
    stalled.process.signal("STOP");
    control.process.kill();
    std::fs::copy(first.dir().join("clearway.dump"), second.dir().join("clearway.dump")).expect("it was written");
    second.sql("CREATE ROLE clearway LOGIN");
    second.shell(line("createdb "), &[]);
    let url = second.url("clearway");
    second.shell(line("pg_restore "), &[("CLEARWAY_DATABASE_URL", &url)]);
    std::fs::write(control.dir.join("clearway.toml"), settings(&url)).expect("writable");
    control.restart();
    control.attached(1).await;
    let gateways = [running];
    answers(&gateways, &made, 401).await;
    answers(&gateways, &kept, 200).await;
    // Revoked after the backup: it is live again, until it is revoked again.
    answers(&gateways, &revived, 200).await;

    // Its revisions become as many as the one that stood still has heard of, and more: other changes by the same numbers.
    revoke(&control, &doomed, 1).await;
    for _ in 0..40 {
        control.key(&account, json!({})).await;
    }
    stalled.process.signal("CONT");
    let [running] = gateways;
    let mut gateways = [running, stalled];
    control.attached(2).await;
    for (secret, status) in [(&kept, 200), (&revived, 200), (&made, 401), (&lost, 401)] {
        answers(&gateways, secret, status).await;
    }
    revoke(&control, &reviving, 2).await;
    assert_eq!((ask(&gateways[0], &revived).await, ask(&gateways[1], &revived).await), (401, 401));

    // What the day has counted is in the gateways' files, and is told by each start.
    for gateway in &mut gateways {
        gateway.restart();
    }
    let seen = upstream.seen();
    eventually("usage to be told again", async || (used(&control).await == seen).then_some(())).await;

    // Into the same database, in the place of what is there: it is another history all the same.
    control.process.kill();
    let over = line("pg_restore ").replace("pg_restore ", "pg_restore --clean --if-exists ");
    second.shell(&over, &[("CLEARWAY_DATABASE_URL", &url)]);
    control.restart();
    control.attached(2).await;
    answers(&gateways, &revived, 200).await;
    answers(&gateways, &lost, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_sqlite_that_is_put_back_is_noticed_by_what_gateways_know() {
    let fleet = Fleet::new("[sync]\nmode = \"available\"\n");
    let (upstream, mut control) = (Upstream::start().await, fleet.control());
    let gateways = ["gateway-1"].map(|name| fleet.proxy(name, &upstream.routes(), &control, &control.sync));
    control.attached(1).await;
    let account = control.account("restored", "enterprise").await;
    let (id, revived) = control.key(&account, json!({})).await;
    let data = control.dir.join("control");
    control.process.signal("TERM");
    assert_eq!(control.process.ended().await, Some(0));
    std::fs::copy(data.join("control.db"), data.join("backup")).expect("it is closed");
    control.restart();
    control.attached(1).await;
    revoke(&control, &id, 1).await;
    answers(&gateways, &revived, 401).await;

    control.process.signal("TERM");
    assert_eq!(control.process.ended().await, Some(0));
    for leftover in ["control.db-wal", "control.db-shm"] {
        let _ = std::fs::remove_file(data.join(leftover));
    }
    std::fs::rename(data.join("backup"), data.join("control.db")).expect("one folder");
    control.restart();
    answers(&gateways, &revived, 200).await;
    control.attached(1).await;
    let listed: Value = control.admin(Method::GET, "/api/v1/admin/proxies", None).await;
    assert!(listed["items"].as_array().is_some_and(|proxies| !proxies.is_empty()), "{listed}");
}
