//! `clearway up`: both planes as child processes over one data directory.
//!
//! Control starts first, since the proxy needs its addresses. At the end the proxy stops first, so
//! that the API calls it still serves find control alive. A plane that dies is started again: the
//! other one keeps running meanwhile. On SIGUSR2 the gateway's program is started anew, as it then lies beside this
//! one, and takes over from the running gateway: no request fails by it.

mod banner;
mod child;
mod demo;
mod echo;

use std::{net::SocketAddr, path::PathBuf};

use clearway_config::settings::Settings;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use self::child::beside;
use self::child::{Plane, Supervised};
use crate::Fatal;

/// The gateway's port where nothing else is said, and the one that goes with it.
const PLAIN_PORT: u16 = 8080;
const TLS_PORT: u16 = 8443;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Database, ledger, keys' disk snapshot and access log.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings; without it the defaults, and routes and plans from ./config where it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also start an echo service behind /demo, with an account and a key for each plan, and let anyone register.
    #[arg(long)]
    demo: bool,
    /// Print one line of JSON once everything is ready, in place of the text.
    #[arg(long)]
    json: bool,
    /// Where clients connect. Port 0 picks a free one, here and below.
    #[arg(long, value_name = "ADDR")]
    gateway_addr: Option<SocketAddr>,
    /// Where clients connect encrypted: by a certificate of the settings, or one made for localhost.
    #[arg(long, value_name = "ADDR")]
    gateway_tls_addr: Option<SocketAddr>,
    /// Where the control API listens.
    #[arg(long, value_name = "ADDR")]
    control_addr: Option<SocketAddr>,
    /// Where control accepts proxies.
    #[arg(long, value_name = "ADDR")]
    sync_addr: Option<SocketAddr>,
    /// Where one's own senders post webhooks to be signed and passed on.
    #[arg(long, value_name = "ADDR")]
    egress_addr: Option<SocketAddr>,
    /// Prometheus and health of the gateway; the control plane's are on the next port.
    #[arg(long, value_name = "ADDR")]
    metrics_addr: Option<SocketAddr>,
}

pub(crate) async fn run(args: Args) -> Result<(), Fatal> {
    let mut stop = Stop::listen()?;
    let config = args.config.clone().or_else(|| Some(PathBuf::from("config/clearway.toml")).filter(|file| file.exists()));
    let settings = Settings::load(config.as_deref()).map_err(|e| Fatal::new(e.to_string()))?;
    let data_dir = args.data_dir.clone().unwrap_or_else(|| settings.data_dir.clone());

    let mut common = vec!["--json".to_owned(), "--exit-with-stdin".to_owned(), "--data-dir".to_owned(), text(&data_dir)];
    if let Some(file) = &config {
        common.extend(["--config".to_owned(), text(file)]);
    }
    let gateway_addr = args.gateway_addr.unwrap_or(settings.gateway.addr);
    let (proxy_metrics, control_metrics) = metrics_addrs(args.metrics_addr, &settings);

    let mut control = common.clone();
    control.extend(flag("--control-addr", args.control_addr.unwrap_or(settings.control.addr)));
    control.extend(flag("--sync-addr", args.sync_addr.unwrap_or(settings.sync.addr)));
    control.extend(flag("--metrics-addr", control_metrics));
    if args.demo {
        // What a demo is for can be tried by anyone who reaches it, and its mails are read by `clearway mail`.
        control.extend(["--registration".to_owned(), "open".to_owned()]);
    }
    // A demo shows the admin's key at every start, so every start makes one more secret of it.
    let control = Supervised::start(Plane::Control, control, args.demo.then_some("--rotate-admin-key"), &mut stop).await?;

    let echo = if args.demo { Some(echo::start().await?) } else { None };
    let mut proxy = common;
    proxy.extend(flag("--gateway-addr", gateway_addr));
    proxy.extend(flag("--gateway-tls-addr", gateway_tls_addr(&args, &settings, gateway_addr)));
    proxy.push("--self-signed".to_owned());
    proxy.extend(flag("--egress-addr", args.egress_addr.unwrap_or(settings.egress.addr)));
    proxy.extend(flag("--metrics-addr", proxy_metrics));
    proxy.extend(["--control-url".to_owned(), word(&control.ready, "control")?]);
    proxy.extend(["--sync-connect".to_owned(), word(&control.ready, "sync")?]);
    proxy.extend(["--routes".to_owned(), text(&settings.gateway.routes_file)]);
    if let Some(address) = echo {
        proxy.extend(["--routes".to_owned(), text(&demo::write_routes(&data_dir, address)?)]);
    }
    let proxy = match Supervised::start(Plane::Proxy, proxy, None, &mut stop).await {
        Ok(proxy) => proxy,
        Err(why) => {
            control.stop().await;
            return Err(why);
        }
    };

    let announced = announce(&args, &control.ready, &proxy.ready).await;
    if announced.is_ok() {
        stop.wait().await;
    }
    proxy.stop().await;
    control.stop().await;
    announced
}

/// Says where everything is and with which keys, once all of it answers.
async fn announce(args: &Args, control: &Value, proxy: &Value) -> Result<(), Fatal> {
    let demo_keys = if args.demo {
        let revoked = || Fatal::new("the first admin's key has been revoked or has expired: start without --demo");
        let admin_key = control["admin_key"].as_str().ok_or_else(revoked)?;
        demo::provision(&word(control, "control")?, admin_key).await?
    } else {
        Value::Null
    };
    let ready = json!({
        "gateway": proxy["gateway"],
        "gateway_tls": proxy["gateway_tls"],
        "control": control["control"],
        "egress": proxy["egress"],
        "metrics": proxy["metrics"],
        "control_metrics": control["metrics"],
        "admin_email": control["admin_email"],
        "admin_password": control["admin_password"],
        "admin_key": control["admin_key"],
        "demo_keys": demo_keys,
    });
    banner::print(&ready, args.json);
    Ok(())
}

/// Beside the plain listener: at the port that goes with its own, or at a free one.
fn gateway_tls_addr(args: &Args, settings: &Settings, gateway: SocketAddr) -> SocketAddr {
    let beside = || SocketAddr::new(gateway.ip(), if gateway.port() == PLAIN_PORT { TLS_PORT } else { 0 });
    args.gateway_tls_addr.or(settings.gateway.tls_addr).unwrap_or_else(beside)
}

/// One flag for both planes: the control plane's metrics are on the port after the gateway's, or on a free one.
fn metrics_addrs(asked: Option<SocketAddr>, settings: &Settings) -> (SocketAddr, SocketAddr) {
    match asked {
        None => (settings.metrics.proxy_addr, settings.metrics.control_addr),
        Some(addr) => {
            let next = if addr.port() == 0 { 0 } else { addr.port().checked_add(1).unwrap_or(0) };
            (addr, SocketAddr::new(addr.ip(), next))
        }
    }
}

fn flag(name: &str, value: SocketAddr) -> [String; 2] {
    [name.to_owned(), value.to_string()]
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn word(ready: &Value, name: &str) -> Result<String, Fatal> {
    ready[name].as_str().map(str::to_owned).ok_or_else(|| Fatal::new(format!("a plane's ready line lacks `{name}`")))
}

/// SIGINT and SIGTERM, from before the first child is started.
#[derive(Debug)]
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self, Fatal> {
        let listen = |kind| signal(kind).map_err(|e| Fatal::new(format!("cannot listen for signals: {e}")));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
