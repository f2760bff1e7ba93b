//! What is timed: both planes as they ship, over a database of either kind.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::ValueEnum;
use clearway_testkit::Cluster;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{beside, cpu};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Running until it is dropped.
#[derive(Debug)]
pub(super) struct Stack {
    control: Child,
    proxy: Child,
    database: Option<Cluster>,
    client: Client,
    url: String,
    pub(super) api: SocketAddr,
    pub(super) admin_key: String,
    _dir: TempDir,
}

/// Processor time of each process. SQLite's is in control's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) control: Duration,
    pub(super) proxy: Duration,
    pub(super) database: Duration,
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            control: self.control.saturating_sub(before.control),
            proxy: self.proxy.saturating_sub(before.proxy),
            database: self.database.saturating_sub(before.database),
        }
    }

    pub(super) fn total(self) -> Duration {
        self.control + self.proxy + self.database
    }
}

const SETTINGS: &str = "
[egress]
addr = \"127.0.0.1:0\"
allow = [\"127.0.0.0/8\"]
allow_http = true
[access_log]
enabled = false
";

impl Stack {
    pub(super) async fn start(engine: Engine) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let settings = dir.path().join("clearway.toml");
        let plans = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/plans.toml");
        std::fs::copy(plans, dir.path().join("plans.toml")).map_err(|e| e.to_string())?;
        std::fs::write(&settings, SETTINGS).map_err(|e| e.to_string())?;
        std::fs::write(dir.path().join("gateway.toml"), "").map_err(|e| e.to_string())?;
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Cluster::durable()?),
        };
        let started = |name: &str, more: &[&str]| {
            let mut command = Command::new(beside(name)?);
            command.arg("--json").arg("--config").arg(&settings).arg("--data-dir").arg(dir.path());
            command.args(["--metrics-addr", "127.0.0.1:0"]).args(more);
            if let Some(cluster) = database.as_ref().filter(|_| name == "clearway-control") {
                command.env("CLEARWAY_DATABASE_URL", cluster.create("clearway"));
            }
            start(name, command)
        };
        let (control, ready) = started("clearway-control", &["--control-addr", "127.0.0.1:0", "--sync-addr", "127.0.0.1:0"])?;
        let word = |name: &str| ready[name].as_str().map(str::to_owned).ok_or(format!("control did not say its {name}"));
        let (url, sync, admin_key) = (word("control")?, word("sync")?, word("admin_key")?);
        let (proxy, _) =
            started("clearway-proxy", &["--gateway-addr", "127.0.0.1:0", "--sync-connect", &sync, "--control-url", &url])?;
        let api = url.trim_start_matches("http://").parse().map_err(|_| format!("not an address: {url}"))?;
        Ok(Self { control, proxy, database, client: Client::new(), url, api, admin_key, _dir: dir })
    }

    pub(super) fn spent(&self) -> Spent {
        Spent {
            control: cpu::time_of(self.control.id()),
            proxy: cpu::time_of(self.proxy.id()),
            database: self.database.as_ref().map(|cluster| cpu::time_of(cluster.pid())).unwrap_or_default(),
        }
    }

    /// A call by the admin; its `data`.
    pub(super) async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.admin_key).json(&body);
        let answer = request.send().await.map_err(|e| e.to_string())?;
        let status = answer.status();
        let mut body: Value = answer.json().await.map_err(|e| e.to_string())?;
        if status.is_success() { Ok(body["data"].take()) } else { Err(format!("{path}: {status} {body}")) }
    }

    /// A type of events that is this bench's.
    pub(super) async fn register(&self, kind: &str) -> Result<(), String> {
        let schema = json!({"type": "object", "required": ["sent_us", "text"], "properties": {
            "sent_us": {"type": "integer"}, "text": {"type": "string"}}});
        let body = json!({"name": kind, "description": "What the bench emits.", "schema": schema});
        self.call(Method::POST, "/api/v1/events/types", body).await.map(|_| ())
    }

    /// A webhook that receives it; its secret.
    pub(super) async fn subscribe(&self, url: &str, kind: &str, concurrency: u32) -> Result<String, String> {
        let body = json!({"url": url, "events": [kind], "concurrency": concurrency});
        let made = self.call(Method::POST, "/api/v1/webhooks", body).await?;
        made["secret"].as_str().map(str::to_owned).ok_or("a webhook without a secret".to_owned())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for child in [&mut self.proxy, &mut self.control] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(name: &str, mut command: Command) -> Result<(Child, Value), String> {
    command.env("RUST_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
    let output = child.stdout.take().ok_or("a child without standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).map_err(|e| e.to_string())?;
    let ready = serde_json::from_str(&line).map_err(|_| format!("{name} did not start"))?;
    Ok((child, ready))
}
