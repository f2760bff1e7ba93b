//! The programs as a deployment runs them: its settings, its secrets, its probes, its way of replacing a gateway.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use clearway_testkit::{Cluster, redis::Redis};
use serde_json::Value;

use super::{Shipped, said};
use crate::{
    eventually,
    fleet::{binary, word},
};

/// A program as a service manager starts it.
struct Service {
    child: Child,
    /// Where it was told to say how it is.
    manager: UnixDatagram,
    ready: Value,
}

impl Service {
    fn start(program: &str, args: &[String], dir: &Path) -> Self {
        let socket = dir.join(format!("notify-{}", args.len() + std::fs::read_dir(dir).map_or(0, Iterator::count)));
        let manager = UnixDatagram::bind(&socket).expect("a short path");
        manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let log = std::fs::File::create(socket.with_extension("log")).expect("writable");
        let mut child = Command::new(binary(program))
            .args(args)
            .arg("--json")
            .env("NOTIFY_SOCKET", &socket)
            .env_remove("CLEARWAY_DATABASE_URL")
            .env_remove("CLEARWAY_MASTER_KEY")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let output = child.stdout.take().expect("a pipe");
        let mut service = Self { child, manager, ready: Value::Null };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a readable pipe");
        let said = || std::fs::read_to_string(socket.with_extension("log")).unwrap_or_default();
        service.ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{program} {args:?}: {}", said()));
        assert_eq!(service.told(), "READY=1");
        service
    }

    /// The next that it tells its manager.
    fn told(&self) -> String {
        let mut packet = [0; 256];
        let length = self.manager.recv(&mut packet).expect("it tells something");
        String::from_utf8_lossy(&packet[..length]).trim().to_owned()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()));
    }

    async fn ended(&mut self) -> Option<i32> {
        eventually("a service to end", async || self.child.try_wait().expect("our child")).await.code()
    }

    /// `clearway ready`, as the image's health check asks.
    fn probed(&self) -> Result<String, String> {
        said(Command::new(binary("clearway")).args(["ready", &word(&self.ready, "metrics")]))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(settings: &Path, data: &Path, ports: &[&str]) -> Vec<String> {
    std::fs::create_dir_all(data).expect("writable");
    let mut args =
        vec!["--config".to_owned(), settings.display().to_string(), "--data-dir".to_owned(), data.display().to_string()];
    for flag in ports {
        args.extend([format!("--{flag}-addr"), "127.0.0.1:0".to_owned()]);
    }
    args
}

const CONTROL_PORTS: [&str; 3] = ["control", "sync", "metrics"];
const PROXY_PORTS: [&str; 4] = ["gateway", "gateway-tls", "egress", "metrics"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_runs_by_the_settings_and_secrets_that_ship() {
    let copy = Shipped::new();
    let database = Cluster::shared().create("deployed");
    std::fs::remove_file(copy.path("deploy/fleet/secrets/database-url")).expect("made");
    std::fs::write(copy.path("deploy/fleet/secrets/database-url"), format!("{database}\n")).expect("writable");
    let password = std::fs::read_to_string(copy.path("deploy/fleet/secrets/redis-password")).expect("made");
    let redis = Redis::start_with(&["--requirepass", &password, "--maxmemory-policy", "noeviction"]);
    copy.edit("deploy/fleet/clearway.toml", "redis://redis:6379/0", &format!("{}/0", redis.url()));
    // The name by which control is known is in its certificate; on this machine it has none.
    copy.edit("deploy/fleet/clearway.toml", "[sync.tls]", "[sync.tls]\nserver_name = \"control\"");
    let settings = copy.installed("deploy/fleet/clearway.toml", "control");
    let first = Service::start("clearway-control", &arguments(&settings, &copy.path("control-1"), &CONTROL_PORTS), copy.0.path());
    let mut second =
        Service::start("clearway-control", &arguments(&settings, &copy.path("control-2"), &CONTROL_PORTS), copy.0.path());
    let admin = word(&first.ready, "admin_key");
    assert!(second.ready["admin_key"].is_null(), "there is one database");

    let settings = copy.installed("deploy/fleet/clearway.toml", "proxy");
    let mut args = arguments(&settings, &copy.path("proxy-1"), &PROXY_PORTS);
    args.extend(["--sync-connect".to_owned(), word(&second.ready, "sync")]);
    args.extend(["--control-url".to_owned(), word(&first.ready, "control")]);
    let proxy = Service::start("clearway-proxy", &args, copy.0.path());
    eventually("the gateway to be ready", async || proxy.probed().ok()).await;
    let keys = crate::client().get(format!("{}/api/v1/keys", word(&proxy.ready, "gateway"))).bearer_auth(&admin);
    assert_eq!(keys.send().await.expect("an answer").status(), 200);
    assert_eq!(second.probed(), Ok(String::new()));

    second.signal("TERM");
    assert_eq!(second.told(), "STOPPING=1");
    assert_eq!(second.ended().await, Some(0));
    let gone = second.probed().expect_err("nobody is there");
    assert!(gone.starts_with("clearway: http://127.0.0.1:"), "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_not_ready_fails_its_probe_and_says_why() {
    let copy = Shipped::new();
    let settings = copy.installed("config/clearway.toml", "proxy");
    let mut args = arguments(&settings, &copy.path("data"), &["gateway", "egress", "metrics"]);
    std::fs::copy(copy.path("deploy/fleet/secrets/sync-token"), copy.path("data/sync.token")).expect("made");
    args.extend(["--sync-connect".to_owned(), "http://127.0.0.1:9".to_owned()]);
    let proxy = Service::start("clearway-proxy", &args, copy.0.path());
    let why = proxy.probed().expect_err("it has no keys");
    assert!(why.starts_with("clearway: not ready: "), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_unit_takes_over_from_the_first_and_the_first_after_it() {
    let copy = Shipped::new();
    let settings = copy.installed("deploy/systemd/clearway.toml", "control");
    let control = Service::start("clearway-control", &arguments(&settings, &copy.path("control"), &CONTROL_PORTS), copy.0.path());
    let settings = copy.installed("deploy/systemd/clearway.toml", "proxy");
    let mut args = arguments(&settings, &copy.path("proxy"), &["gateway", "egress", "metrics"]);
    args.extend(["--sync-connect".to_owned(), word(&control.ready, "sync")]);
    args.extend(["--control-url".to_owned(), word(&control.ready, "control")]);
    // The unit's command, which is the same each time.
    args.push("--upgrade=if-running".to_owned());
    let mut running = Service::start("clearway-proxy", &args, copy.0.path());
    let gateway = word(&running.ready, "gateway");
    for (flag, name) in [("--gateway-addr", "gateway"), ("--egress-addr", "egress"), ("--metrics-addr", "metrics")] {
        let at = args.iter().position(|word| word == flag).expect("it is given") + 1;
        args[at] = word(&running.ready, name).trim_start_matches("http://").to_owned();
    }
    for _ in ["b", "a"] {
        let mut next = Service::start("clearway-proxy", &args, copy.0.path());
        std::mem::swap(&mut running, &mut next);
        assert_eq!(next.ended().await, Some(0), "who has been taken over from is not started again");
        let answer = crate::client().get(format!("{gateway}/api/v1/openapi.json")).send().await.expect("it is served");
        assert_eq!(answer.status(), 200);
    }
    // After a crash there is nobody to take over from, and the socket is still there.
    running.child.kill().expect("our child");
    running.child.wait().expect("our child");
    let again = Service::start("clearway-proxy", &args, copy.0.path());
    assert_eq!(again.probed(), Ok(String::new()));
}
