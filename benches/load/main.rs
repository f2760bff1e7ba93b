//! Whole-proxy and whole-system benches: `load proxy`, `load fleet`, `load api` and others; `load --help` lists them.
//!
//! Wall-clock figures on a shared machine move by a factor of three from minute to minute; processor
//! time per request does not. So every gateway is pinned to one core and its clients to another, the
//! systems take turns in short slices of the same run, and what counts is the ratio to the bare
//! pass-through. Before a system is timed it has to prove, on that very process, that it does its work.

mod api;
mod changes;
mod control;
mod cpu;
mod egress;
mod features;
mod fixture;
mod fleet;
mod http2;
mod proxy;
mod revoke;
mod scale;
mod systems;
mod tokens;
mod traffic;
mod webhooks;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use clap::{Parser, Subcommand};

use systems::Protocol;

/// Streams on each HTTP/2 connection.
const STREAMS: usize = 8;
const CLIENT_CORE: &str = "1";
const GATEWAY_CORE: &str = "0";
const PINNED: &str = "CLEARWAY_BENCH_PINNED";

#[derive(Debug, Parser)]
#[command(about = "Times the whole gateway beside a bare pass-through and nginx, on loopback")]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// Slices a system gets.
    #[arg(long, default_value_t = 12, global = true)]
    rounds: u32,
    /// Milliseconds a slice takes.
    #[arg(long, default_value_t = 700, global = true)]
    slice_ms: u64,
    /// Connections that the clients keep busy.
    #[arg(long, default_value_t = 64, global = true)]
    connections: usize,
    /// Keys in the large table.
    #[arg(long, default_value_t = 1_000_000, global = true)]
    keys: usize,
    /// Tables to add to the gateway's settings, as TOML, to see what a feature costs.
    #[arg(long, default_value = "", global = true, hide_default_value = true)]
    settings: String,
    /// Lets every request of a run be its key's first ever, where there are enough keys. Otherwise all have been used before.
    #[arg(long, global = true)]
    first_use: bool,
    /// Another build of `clearway-proxy` to time in turn with the one beside this program.
    #[arg(long, global = true, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Revokes that are timed.
    #[arg(long, default_value_t = 200, global = true)]
    revokes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum What {
    /// Processor time, throughput and latency of pass-through, gateway and nginx; 1,000 and many keys.
    Proxy,
    /// [`What::Proxy`] with clients that speak HTTP/2 in clear: an eighth of the connections, eight streams on each.
    Http2,
    /// Processor time of a webhook that is passed on signed, beside a bare pass-through of POSTs.
    Egress,
    /// Memory a key and the time from start to the first answer, with many keys.
    Scale,
    /// How long a revoke takes to be acknowledged, by 1 and by 8 gateways, and by 3 of two control processes.
    Revoke,
    /// Latency at a steady rate, while keys or routes change a thousand times a second and while they do not.
    Changes,
    /// Processor time of each feature switched on alone, and of 10 to 100,000 routes, beside forwarding alone.
    Features,
    /// Processor time of a request by a token, verified before or not, beside one by a key.
    Tokens,
    /// Events accepted and delivered, their processor time beside a bare client that signs and posts, and what one
    /// receiver that hangs does to 99 others. Uses every core.
    Webhooks {
        /// The database; both without it.
        #[arg(long, value_enum)]
        engine: Option<webhooks::Engine>,
        /// Seconds a run takes.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Each read of the control API, searching, signing in, tokens and installing, with 100,000 people and keys and 10,000 apps.
    /// Uses every core.
    Api {
        /// The database; both without it.
        #[arg(long, value_enum)]
        engine: Option<webhooks::Engine>,
        /// Calls of a kind.
        #[arg(long, default_value_t = 200)]
        calls: usize,
    },
    /// Gateways that share quotas by leases of a Redis of their own: what that costs beside counting in process and beside
    /// asking Redis each time, and whether limits are met exactly.
    Fleet {
        /// Only that.
        #[arg(long, value_enum)]
        part: Option<fleet::Part>,
        /// The largest day's limit that is tried.
        #[arg(long, default_value_t = 100_000)]
        limit_max: u64,
    },
    /// All of these but webhooks, the fleet and the control API.
    All,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if std::env::var_os(PINNED).is_none() && !matches!(cli.what, What::Revoke | What::Webhooks { .. } | What::Api { .. }) {
        return pinned();
    }
    // Reqwest comes with TLS in this workspace and leaves the provider to the program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = run(&cli).await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> Result<(), String> {
    let plan = |protocol, connections| proxy::Plan {
        rounds: cli.rounds,
        slice: Duration::from_millis(cli.slice_ms),
        connections,
        protocol,
        keys_many: cli.keys,
        settings: cli.settings.clone(),
        first_use: cli.first_use,
        against: cli.against.clone(),
    };
    if matches!(cli.what, What::Proxy | What::All) {
        proxy::run(&plan(Protocol::Http1, cli.connections)).await?;
    }
    if matches!(cli.what, What::Http2 | What::All) {
        let connections = cli.connections.div_ceil(STREAMS);
        proxy::run(&plan(Protocol::Http2 { streams: STREAMS }, connections)).await?;
    }
    if matches!(cli.what, What::Egress | What::All) {
        egress::run(&plan(Protocol::Http1, cli.connections)).await?;
    }
    if matches!(cli.what, What::Changes | What::All) {
        changes::run(cli.rounds, Duration::from_millis(cli.slice_ms), cli.connections).await?;
    }
    if matches!(cli.what, What::Features | What::All) {
        features::run(cli.rounds, Duration::from_millis(cli.slice_ms), cli.connections).await?;
    }
    if matches!(cli.what, What::Tokens | What::All) {
        tokens::run(cli.rounds, Duration::from_millis(cli.slice_ms), cli.connections).await?;
    }
    if matches!(cli.what, What::Scale | What::All) {
        scale::run(cli.keys, &cli.settings).await?;
    }
    if matches!(cli.what, What::Revoke | What::All) {
        for (controls, proxies) in [(1, 1), (1, 8), (2, 3)] {
            revoke::run(controls, proxies, cli.revokes).await?;
        }
    }
    if let What::Fleet { part, limit_max } = cli.what {
        let (rounds, slice, connections) = (cli.rounds, Duration::from_millis(cli.slice_ms), cli.connections);
        fleet::run(&fleet::Plan { rounds, slice, connections, part, limit_max }).await?;
    }
    let engines =
        |only: Option<webhooks::Engine>| only.map_or(vec![webhooks::Engine::Sqlite, webhooks::Engine::Postgres], |one| vec![one]);
    if let What::Api { engine, calls } = cli.what {
        api::run(&engines(engine), calls).await?;
    }
    if let What::Webhooks { engine, seconds } = cli.what {
        webhooks::run(&engines(engine), Duration::from_secs(seconds)).await?;
    }
    Ok(())
}

/// Runs this program again on the clients' core alone.
fn pinned() -> ExitCode {
    let again = Command::new("taskset")
        .args(["-c", CLIENT_CORE])
        .arg(own_binary())
        .args(std::env::args_os().skip(1))
        .env(PINNED, "1")
        .status();
    match again {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("load: taskset (Debian: util-linux): {e}");
            ExitCode::FAILURE
        }
    }
}

fn own_binary() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "load".into())
}

/// A binary that was built beside this one.
fn beside(name: &str) -> Result<PathBuf, String> {
    let file = own_binary().with_file_name(name);
    if file.exists() {
        Ok(file)
    } else {
        Err(format!("{} is missing: cargo build --profile dist --workspace --bins", file.display()))
    }
}
