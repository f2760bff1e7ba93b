//! Starting, stopping and looking at the processes.

use std::{net::TcpListener, path::Path, process::Command};

use serde_json::json;

use crate::{
    eventually,
    fleet::{Fleet, binary},
    upstream::Upstream,
};

const SETTINGS: &str = "[sync]\nmode = \"available\"\n";

/// Where the settings files that ship are found without a flag.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e stands in the workspace")
}

/// What a plane says last on standard error when it does not start.
fn refusal(name: &str, args: &[&str]) -> String {
    let output = Command::new(binary(name))
        .args(args)
        .current_dir(workspace())
        .env("RUST_LOG", "error")
        .output()
        .expect("the binary runs");
    assert!(!output.status.success(), "{name} {args:?} was expected to fail");
    String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_start_that_cannot_work_says_why_in_one_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().to_string_lossy().into_owned();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("a bound port").to_string();

    let line = refusal(
        "clearway-control",
        &["--data-dir", &data, "--control-addr", &port, "--sync-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"],
    );
    assert!(line.contains(&port) && line.contains("in use"), "{line}");
    let line = refusal(
        "clearway-proxy",
        &["--data-dir", &data, "--gateway-addr", &port, "--egress-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"],
    );
    assert!(line.contains(&port) && line.contains("in use"), "{line}");

    let file = dir.path().join("a-file");
    std::fs::write(&file, "").expect("writable");
    let file = file.to_string_lossy().into_owned();
    for name in ["clearway-control", "clearway-proxy"] {
        let line = refusal(name, &["--data-dir", &format!("{file}/below")]);
        assert!(line.contains("a-file"), "{name}: {line}");
    }

    let settings = dir.path().join("clearway.toml");
    std::fs::write(&settings, "[sync]\nmode = \"lax\"\n").expect("writable");
    let settings = settings.to_string_lossy().into_owned();
    for name in ["clearway-control", "clearway-proxy"] {
        let line = refusal(name, &["--config", &settings, "--check"]);
        assert!(line.contains("clearway.toml:2: mode: unknown variant `lax`"), "{name}: {line}");
    }

    std::fs::copy(workspace().join("config/plans.toml"), dir.path().join("plans.toml")).expect("writable");
    std::fs::write(dir.path().join("clearway.toml"), "[control]\ndatabase_url = \"postgres://nobody@127.0.0.1:1/none\"\n")
        .expect("writable");
    let free = dir.path().join("fresh").to_string_lossy().into_owned();
    let line = refusal(
        "clearway-control",
        &[
            "--config",
            &settings,
            "--data-dir",
            &free,
            "--control-addr",
            "127.0.0.1:0",
            "--sync-addr",
            "127.0.0.1:0",
            "--metrics-addr",
            "127.0.0.1:0",
        ],
    );
    assert!(line.contains("database"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_serves_one_process_at_a_time() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    for (name, dir) in [("clearway-control", &control.dir), ("clearway-proxy", &proxy.dir)] {
        let config = dir.join("clearway.toml").to_string_lossy().into_owned();
        let args = ["--config", &config, "--data-dir", &dir.to_string_lossy(), "--metrics-addr", "127.0.0.1:0"];
        let more: &[&str] = if name == "clearway-proxy" {
            &["--gateway-addr", "127.0.0.1:0", "--egress-addr", "127.0.0.1:0"]
        } else {
            &["--control-addr", "127.0.0.1:0", "--sync-addr", "127.0.0.1:0"]
        };
        let line = refusal(name, &[&args[..], more].concat());
        assert!(line.contains("in use by another process"), "{name}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_requests_in_flight_finish_and_takes_no_new_ones() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let mut proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("drain", "enterprise").await;
    let (_, secret) = control.key(&account, json!({})).await;
    let slow: Vec<_> = (0..5)
        .map(|_| {
            let request = crate::client().get(format!("{}/svc/slow", proxy.url)).bearer_auth(&secret);
            tokio::spawn(async move { request.send().await.expect("an answer").status().as_u16() })
        })
        .collect();
    eventually("the slow requests to arrive", async || (upstream.seen() >= 5).then_some(())).await;
    proxy.process.signal("TERM");
    let mut before_it_closed = 0;
    eventually("new connections to be refused", async || {
        match crate::client().get(format!("{}/svc/x", proxy.url)).bearer_auth(&secret).send().await {
            Ok(answer) => {
                before_it_closed += usize::from(answer.status().is_success());
                None
            }
            Err(_) => Some(()),
        }
    })
    .await;
    upstream.release_slow();
    for request in slow {
        assert_eq!(request.await.expect("no panic"), 200);
    }
    assert_eq!(proxy.process.ended().await, Some(0));
    assert_eq!(proxy.admitted_in_access_log().len(), 5 + before_it_closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_planes_tell_their_health_and_their_metrics() {
    let fleet = Fleet::new(SETTINGS);
    let upstream = Upstream::start().await;
    let control = fleet.control();
    let proxy = fleet.proxy("gateway", &upstream.routes(), &control, &control.sync);
    control.attached(1).await;
    let account = control.account("metrics", "enterprise").await;
    let (_, secret) = control.key(&account, json!({})).await;
    let client = crate::client();
    for (key, status) in [(secret.as_str(), 200), ("clw_live_wrong", 401)] {
        assert_eq!(client.get(format!("{}/svc/x", proxy.url)).bearer_auth(key).send().await.expect("an answer").status(), status);
    }
    for url in [&control.metrics, &proxy.metrics] {
        for path in ["/health/live", "/health/ready"] {
            assert_eq!(client.get(format!("{url}{path}")).send().await.expect("an answer").status(), 200, "{url}{path}");
        }
    }
    let text =
        async |url: &str| client.get(format!("{url}/metrics")).send().await.expect("an answer").text().await.expect("text");
    let shown = text(&proxy.metrics).await;
    for wanted in [
        "clearway_requests_total{",
        "route=\"svc\"",
        "status=\"200\"",
        "key_malformed",
        "clearway_request_duration_seconds_bucket{",
    ] {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }
    assert!(!shown.contains(&secret[..14]) && !shown.contains("clw_live_wrong"), "no metric carries what a client sent");
    assert!(text(&control.metrics).await.contains("clearway_control_requests_total{"));
}
