//! `clearway proxies`: the fleet as the control plane sees it.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{
    Fatal,
    api::{Api, Target},
};

const PROXIES: &str = "/api/v1/admin/proxies";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Proxies {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a proxy off the list that is gone for good. Refused while it is connected or its auth lease may run.
    Forget {
        /// `prx_…`, as the list says it.
        id: String,
    },
}

pub(crate) async fn run(args: Proxies) -> Result<(), Fatal> {
    let api = Api::of(&args.target)?;
    match args.command {
        None => list(&api, args.target.json).await,
        Some(Command::Forget { id }) => {
            let forgotten = api.delete(&path(&id)?).await?;
            let name = forgotten["name"].as_str().unwrap_or_default();
            print(&if args.target.json { format!("{forgotten:#}") } else { format!("{id} {name} forgotten") });
            Ok(())
        }
    }
}

async fn list(api: &Api, json: bool) -> Result<(), Fatal> {
    let mut items = Vec::new();
    let mut page = api.get(&format!("{PROXIES}?limit=100")).await?;
    loop {
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next_cursor"].as_str() else { break };
        page = api.get(&format!("{PROXIES}?limit=100&cursor={next}")).await?;
    }
    print(&if json { format!("{:#}", Value::Array(items)) } else { table(&items) });
    Ok(())
}

/// An id goes into a path: nothing in it may end the segment.
fn path(id: &str) -> Result<String, Fatal> {
    let fits = id.starts_with("prx_") && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits { Ok(format!("{PROXIES}/{id}")) } else { Err(Fatal::new("a proxy's id is prx_ and letters and digits")) }
}

const HEAD: [&str; 11] =
    ["NAME", "ID", "VERSION", "CONTROL", "REVISION", "LAG", "AUTH LEASE", "QUOTAS", "REQUESTS/S", "IN FLIGHT", "REFUSES"];

fn table(proxies: &[Value]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(proxies.iter().map(row));
    let widths: Vec<usize> = (0..HEAD.len()).map(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; HEAD.len()]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(proxy: &Value) -> [String; HEAD.len()] {
    // A name is the proxy's own word: nothing of it may reach a terminal as more than letters.
    let word = |value: &Value| value.as_str().unwrap_or("-").chars().filter(|c| !c.is_control()).collect::<String>();
    let number = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |n| n.to_string());
    let control =
        if proxy["connected"] == true { word(&proxy["control"]) } else { format!("away since {}", word(&proxy["last_seen_at"])) };
    let lag = match (proxy["lag"].as_u64(), proxy["lag_ms"].as_u64()) {
        (Some(0), _) => "0".to_owned(),
        (Some(lag), Some(ms)) => format!("{lag} ({ms} ms)"),
        (lag, _) => lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
    };
    let lease = &proxy["auth_lease"];
    let left = lease["left_ms"].as_u64().unwrap_or(0) as f64 / 1_000.0;
    let lease = match (lease["strict"].as_bool(), lease["fenced"].as_bool()) {
        (None, _) => "-".to_owned(),
        (_, Some(true)) => "fenced".to_owned(),
        (Some(true), _) => format!("{left:.1} s"),
        (Some(false), _) => "available".to_owned(),
    };
    let store = &proxy["quota_store"];
    let quotas = match (store["reached"].as_bool(), store["excess_max"].as_u64().unwrap_or(0)) {
        (None, _) => "-".to_owned(),
        (Some(true), 0) => "shared".to_owned(),
        (Some(true), excess) => format!("shared, {excess} beyond"),
        (Some(false), excess) => format!("lost since {}, {excess} beyond", word(&store["lost_since"])),
    };
    let load = &proxy["load"];
    let per_second = load["requests_per_second"].as_f64().map_or_else(|| "-".to_owned(), |n| format!("{n:.1}"));
    [
        word(&proxy["name"]),
        word(&proxy["id"]),
        word(&proxy["version"]),
        control,
        proxy["revision"].as_i64().unwrap_or(0).to_string(),
        lag,
        lease,
        quotas,
        per_second,
        number(&load["in_flight"]),
        number(&proxy["refused_count"]),
    ]
}

#[expect(clippy::print_stdout, reason = "what a command answers goes to standard output")]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_of_a_proxy_what_an_operator_must_know() {
        let proxies = [
            json!({"name": "edge-1", "id": "prx_1", "version": "0.1.0", "connected": true, "control": "a:9001", "revision": 12,
                "lag": 0, "lag_ms": 0, "auth_lease": {"strict": true, "left_ms": 9400, "fenced": false},
                "quota_store": {"reached": true, "lost_since": null, "excess_max": 0},
                "load": {"requests_per_second": 104.25, "in_flight": 7, "cpus": 0.3}, "refused_count": 0}),
            json!({"name": "edge-2\u{1b}[2J", "id": "prx_2", "version": "0.1.0", "connected": false, "control": "b:9001",
                "revision": 9, "lag": 3, "lag_ms": 800, "auth_lease": {"strict": true, "left_ms": 0, "fenced": true},
                "quota_store": null, "load": null, "refused_count": 1, "last_seen_at": "2026-01-01T00:00:00.000Z"}),
        ];
        let table = table(&proxies);
        let words: Vec<Vec<&str>> =
            table.lines().map(|line| line.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect()).collect();
        assert_eq!(words[0], HEAD);
        assert_eq!(words[1], ["edge-1", "prx_1", "0.1.0", "a:9001", "12", "0", "9.4 s", "shared", "104.2", "7", "0"]);
        let away = "away since 2026-01-01T00:00:00.000Z";
        assert_eq!(words[2], ["edge-2[2J", "prx_2", "0.1.0", away, "9", "3 (800 ms)", "fenced", "-", "-", "-", "1"]);
    }

    #[test]
    fn an_id_that_would_end_its_segment_is_refused() {
        assert_eq!(path("prx_0a").ok().as_deref(), Some("/api/v1/admin/proxies/prx_0a"));
        assert!(["", "prx_/..", "acct_1", "prx_a?b"].iter().all(|id| path(id).is_err()));
    }
}
