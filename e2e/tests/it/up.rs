//! `clearway up --demo` as a new user runs it, and `clearway keys` beside it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    eventually,
    fleet::{binary, word},
};

pub(crate) struct Up {
    child: Child,
    pub(crate) ready: Value,
}

impl Up {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_over(data, &root().join("config/clearway.toml"), None)
    }

    /// Over a database, where it is not the one in the data directory.
    pub(crate) fn start_over(data: &Path, config: &Path, database_url: Option<&str>) -> Self {
        Self::start_with(data, config, database_url, &[])
    }

    /// With more flags.
    pub(crate) fn start_with(data: &Path, config: &Path, database_url: Option<&str>, more: &[&str]) -> Self {
        let mut child = Command::new(binary("clearway"))
            .env("CLEARWAY_DATABASE_URL", database_url.unwrap_or_default())
            .args(["up", "--demo", "--json", "--config"])
            .arg(config)
            .arg("--data-dir")
            .arg(data)
            .args(["--gateway-addr", "127.0.0.1:0", "--control-addr", "127.0.0.1:0", "--sync-addr", "127.0.0.1:0"])
            .args(["--egress-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"])
            .args(more)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("clearway starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a readable pipe");
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("the ready line is JSON: {e}: {line:?}"));
        Self { child, ready }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()));
    }

    pub(crate) async fn stop(mut self) {
        self.signal("TERM");
        let status = eventually("clearway to stop", async || self.child.try_wait().expect("our child")).await;
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Its children end with the pipe that it holds.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e stands in the workspace")
}

pub(crate) async fn demo(ready: &Value, plan: &str) -> u16 {
    let url = format!("{}/demo/hello", word(ready, "gateway"));
    crate::client()
        .get(url)
        .bearer_auth(word(&ready["demo_keys"], plan))
        .send()
        .await
        .expect("the gateway answers")
        .status()
        .as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_directory_becomes_a_gateway_with_keys_that_work_and_a_second_start_keeps_them() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let up = Up::start(&data.path().join("data"));
    for name in ["gateway", "gateway_tls", "control", "egress", "metrics", "admin_email", "admin_password", "admin_key"] {
        word(&up.ready, name);
    }
    for plan in ["starter", "pro", "enterprise"] {
        assert_eq!(demo(&up.ready, plan).await, 200, "{plan}");
    }
    let encrypted = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--cacert"])
        .arg(data.path().join("data/proxy/tls/localhost.pem"))
        .args(["-H", &format!("Authorization: Bearer {}", word(&up.ready["demo_keys"], "pro"))])
        .arg(format!("{}/demo/hello", word(&up.ready, "gateway_tls")))
        .output()
        .expect("curl runs");
    assert_eq!(String::from_utf8_lossy(&encrypted.stdout), "200 2", "{}", String::from_utf8_lossy(&encrypted.stderr));
    let first = up.ready.clone();

    up.signal("USR2");
    eventually("a new gateway to take over", async || {
        let metrics = crate::client().get(format!("{}/metrics", word(&up.ready, "metrics"))).send().await.ok()?;
        metrics.text().await.ok()?.contains("clearway_upgrades_total{result=\"taken_over\"} 1").then_some(())
    })
    .await;
    assert_eq!(demo(&up.ready, "pro").await, 200, "the new one serves where the old one did");

    let keys = |ready: &Value, args: &[&str]| {
        let output = Command::new(binary("clearway"))
            .arg("keys")
            .args(args)
            .args(["--json", "--url", &word(ready, "gateway")])
            .env("CLEARWAY_API_KEY", word(ready, "admin_key"))
            .output()
            .expect("clearway runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("--json prints JSON")
    };
    let made = keys(&up.ready, &["create", "--name", "cli", "--scope", "read:apps"]);
    let id = word(&made, "id");
    assert!(keys(&up.ready, &["list"])["items"].as_array().expect("a list").iter().any(|k| k["id"] == id.as_str()));
    assert_ne!(word(&keys(&up.ready, &["rotate", &id]), "secret"), word(&made, "secret"));
    assert_eq!(keys(&up.ready, &["revoke", &id])["propagation"]["acknowledged"], 1);
    up.stop().await;

    let again = Up::start(&data.path().join("data"));
    assert!(again.ready["admin_password"].is_null(), "the password is shown once");
    assert_eq!(demo(&again.ready, "pro").await, 200);
    let old = crate::client()
        .get(format!("{}/demo/hello", word(&again.ready, "gateway")))
        .bearer_auth(word(&first["demo_keys"], "pro"));
    assert_eq!(old.send().await.expect("an answer").status(), 200, "the first start's key still works for a while");
    again.stop().await;
}

#[test]
fn completions_are_printed_for_every_common_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(binary("clearway")).args(["completions", shell]).output().expect("clearway runs");
        assert!(String::from_utf8_lossy(&output.stdout).contains("revoke"), "{shell}");
    }
}
