//! How long `DELETE /api/v1/keys/{id}` takes: commit, delta to every gateway, disk, acknowledgement; also where gateways are
//! attached to another control process over the same PostgreSQL.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clearway_testkit::Cluster;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::beside;

/// One process of the fleet; dropping it ends it.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
pub(crate) async fn run(controls: usize, proxies: usize, revokes: usize) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let database = if controls > 1 { Some(Cluster::durable()?) } else { None };
    let at_database = database.as_ref().map(|cluster| ("CLEARWAY_DATABASE_URL", cluster.create("clearway")));
    let ports = ["--control-addr", "127.0.0.1:0", "--sync-addr", "127.0.0.1:0"];
    let (_control, ready) = start("clearway-control", dir.path(), &ports, at_database.clone())?;
    let url = word(&ready, "control")?;
    let admin = word(&ready, "admin_key")?;
    let mut syncs = vec![word(&ready, "sync")?];
    let mut others = Vec::new();
    for n in 1..controls {
        let own = dir.path().join(format!("control-{n}"));
        std::fs::create_dir_all(own.join("control")).map_err(|e| e.to_string())?;
        for shared in ["sync.token", "control/master.key"] {
            std::fs::copy(dir.path().join(shared), own.join(shared)).map_err(|e| e.to_string())?;
        }
        let (other, ready) = start("clearway-control", &own, &ports, at_database.clone())?;
        syncs.push(word(&ready, "sync")?);
        others.push(other);
    }
    let routes = dir.path().join("routes.toml");
    std::fs::write(&routes, "").map_err(|e| e.to_string())?;
    let mut fleet = Vec::new();
    for n in 0..proxies {
        let own = dir.path().join(format!("gateway-{n}"));
        std::fs::create_dir(&own).map_err(|e| e.to_string())?;
        std::fs::copy(dir.path().join("sync.token"), own.join("sync.token")).map_err(|e| e.to_string())?;
        let routes = routes.to_string_lossy().into_owned();
        let free = "127.0.0.1:0";
        let sync = &syncs[n % syncs.len()];
        let args =
            ["--gateway-addr", free, "--egress-addr", free, "--sync-connect", sync, "--control-url", &url, "--routes", &routes];
        fleet.push(start("clearway-proxy", &own, &args, None)?.0);
    }
    let client = Client::builder().timeout(Duration::from_secs(60)).build().map_err(|e| e.to_string())?;
    let call = async |method: Method, path: String, body: Option<Value>| -> Result<Value, String> {
        let mut request = client.request(method, format!("{url}{path}")).bearer_auth(&admin);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer: Value = request.send().await.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer["error"].to_string()) }
    };
    let mut took = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while took.len() < revokes {
        let made = call(Method::POST, "/api/v1/keys".into(), Some(json!({"name": "bench", "scopes": []}))).await?;
        let began = Instant::now();
        let gone = call(Method::DELETE, format!("/api/v1/keys/{}", word(&made, "id")?), None).await?;
        let elapsed = began.elapsed();
        let counted = |name: &str| gone["propagation"][name].as_u64().unwrap_or(0) as usize;
        if counted("proxies") < proxies && Instant::now() < deadline {
            continue; // gateways are still attaching
        }
        if counted("acknowledged") != proxies {
            return Err(format!("a revoke was acknowledged by {} of {proxies} gateways", counted("acknowledged")));
        }
        took.push(elapsed);
    }
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "revoke acknowledged by {proxies} gateway(s) of {controls} control process(es)  p50 {:.1} ms  p99 {:.1} ms  ({} revokes)",
        at(0.5),
        at(0.99),
        took.len()
    );
    Ok(())
}

fn start(binary: &str, dir: &Path, args: &[&str], variable: Option<(&str, String)>) -> Result<(Process, Value), String> {
    let mut child = Command::new(beside(binary)?)
        .args(["--json", "--metrics-addr", "127.0.0.1:0", "--data-dir"])
        .arg(dir)
        .args(args)
        .env("RUST_LOG", "error")
        .envs(variable)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{binary}: {e}"))?;
    let output = child.stdout.take().ok_or("a child without standard output")?;
    let process = Process(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).map_err(|e| e.to_string())?;
    let ready = serde_json::from_str(&line).map_err(|_| format!("{binary} did not start"))?;
    Ok((process, ready))
}

fn word(object: &Value, name: &str) -> Result<String, String> {
    object[name].as_str().map(str::to_owned).ok_or_else(|| format!("`{name}` is missing in {object}"))
}
