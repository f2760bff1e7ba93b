//! How the systems are started, each in a directory of its own that goes with it.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use super::{Protocol, System};
use crate::{GATEWAY_CORE, beside, control::Control, fixture::Keys, traffic::Upstream};

/// What a gateway is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// TOML that is added to its settings.
    pub(crate) settings: &'a str,
    /// TOML that is added to its routes.
    pub(crate) document: &'a str,
    /// What stands in the one route that is asked for, beside its path and upstream.
    pub(crate) route: &'a str,
    /// Who tells it of changes.
    pub(crate) control: Option<&'a Control>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { settings: "", document: "", route: "auth = \"key\"", control: None }
    }
}

impl System {
    /// The bare pass-through of this folder.
    pub(crate) async fn pass_through(upstream: &Upstream, keys: &Keys, protocol: Protocol) -> Result<Self, String> {
        let dir = scratch()?;
        let addr = free_port()?;
        let mut command = on_gateway_core(&beside("passthrough")?);
        command.args([addr.to_string(), upstream.addr.to_string()]);
        if protocol != Protocol::Http1 {
            command.arg("--h2c");
        }
        Self::start("pass-through", command, addr, keys, dir, protocol).await
    }

    /// The pass-through that asks Redis about each request.
    pub(crate) async fn asking_redis(redis: &str, upstream: &Upstream, keys: &Keys) -> Result<Self, String> {
        let (dir, addr) = (scratch()?, free_port()?);
        let mut command = on_gateway_core(&beside("asking-redis")?);
        command.args([addr.to_string(), upstream.addr.to_string(), redis.to_owned()]);
        Self::start("asks Redis", command, addr, keys, dir, Protocol::Http1).await
    }

    /// The gateway as it ships: key, second, day, month and concurrency, access log, metrics.
    /// `more` is TOML that is added to its settings.
    pub(crate) async fn clearway(name: &str, more: &str, upstream: &Upstream, keys: &Keys) -> Result<Self, String> {
        let dir = scratch()?;
        keys.write_snapshot(&dir.path().join("proxy")).await?;
        let setup = Setup { settings: more, ..Setup::default() };
        Self::clearway_over(name, &beside("clearway-proxy")?, &setup, upstream, keys, dir).await
    }

    /// The gateway as it is asked for.
    pub(crate) async fn clearway_as(name: &str, setup: &Setup<'_>, upstream: &Upstream, keys: &Keys) -> Result<Self, String> {
        let dir = scratch()?;
        keys.write_snapshot(&dir.path().join("proxy")).await?;
        Self::clearway_over(name, &beside("clearway-proxy")?, setup, upstream, keys, dir).await
    }

    /// A gateway of the given build, whose keys have all been used before unless `first_use`.
    pub(crate) async fn clearway_used(
        name: &str,
        binary: &Path,
        more: &str,
        upstream: &Upstream,
        keys: &Keys,
        first_use: bool,
    ) -> Result<Self, String> {
        let dir = scratch()?;
        let data = dir.path().join("proxy");
        keys.write_snapshot(&data).await?;
        if !first_use {
            keys.write_ledger(&data)?;
        }
        let setup = Setup { settings: more, ..Setup::default() };
        Self::clearway_over(name, binary, &setup, upstream, keys, dir).await
    }

    /// The gateway, told of changes by `control`.
    pub(crate) async fn clearway_under(control: &Control, upstream: &Upstream, keys: &Keys) -> Result<Self, String> {
        let dir = scratch()?;
        keys.write_snapshot(&dir.path().join("proxy")).await?;
        control.write_token(dir.path())?;
        let setup = Setup { control: Some(control), ..Setup::default() };
        Self::clearway_over("clearway", &beside("clearway-proxy")?, &setup, upstream, keys, dir).await
    }

    async fn clearway_over(
        name: &str,
        binary: &Path,
        setup: &Setup<'_>,
        upstream: &Upstream,
        keys: &Keys,
        dir: TempDir,
    ) -> Result<Self, String> {
        let Setup { settings: more, document, route, control } = *setup;
        let settings = dir.path().join("clearway.toml");
        write(&settings, &format!("[gateway]\nthreads = 1\n[sync]\nmode = \"available\"\n{more}\n"))?;
        let routes = dir.path().join("routes.toml");
        write(
            &routes,
            &format!(
                "[[upstreams]]\nname = \"bench\"\naddresses = [\"http://{}\"]\n\n\
                 [[routes]]\nname = \"bench\"\npath = \"/bench\"\nupstream = \"bench\"\n{route}\n\n{document}\n",
                upstream.addr
            ),
        )?;
        // Where it does not answer, the gateway starts from its disk snapshot and keeps serving by it.
        let control = control.map_or_else(|| free_port().map(|nowhere| format!("http://{nowhere}")), |it| Ok(it.url.clone()))?;
        let mut command = on_gateway_core(binary);
        command.arg("--json").arg("--config").arg(&settings).arg("--data-dir").arg(dir.path()).arg("--routes").arg(&routes);
        command.args(["--gateway-addr", "127.0.0.1:0", "--egress-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]);
        command.arg("--sync-connect").arg(control).env("RUST_LOG", "error").stdout(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().map_err(|e| format!("clearway-proxy: {e}"))?;
        let output = child.stdout.take().ok_or("a child without standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(|e| e.to_string())?;
        let ready: serde_json::Value = serde_json::from_str(&line).map_err(|_| "clearway-proxy did not start".to_owned())?;
        let of = |what: &str| ready[what].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok());
        let (addr, egress, metrics) = (of("gateway").ok_or("no gateway address")?, of("egress"), of("metrics"));
        let mut system = Self::ready(name, child, addr, keys, dir, began, Protocol::Http1).await?;
        (system.egress, system.metrics) = (egress, metrics);
        Ok(system)
    }

    /// nginx's `proxy_pass` with keep-alive to the upstream; `None` where nginx is not installed.
    pub(crate) async fn nginx(upstream: &Upstream, keys: &Keys, protocol: Protocol) -> Result<Option<Self>, String> {
        let Some(nginx) = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"].iter().find(|p| Path::new(p).exists())
        else {
            return Ok(None);
        };
        let dir = scratch()?;
        let addr = free_port()?;
        let conf = dir.path().join("nginx.conf");
        let place = dir.path().display();
        let http2 = if protocol == Protocol::Http1 { "" } else { " http2" };
        write(
            &conf,
            &format!(
                "worker_processes 1;\ndaemon off;\nuser root;\npid {place}/pid;\nerror_log {place}/error.log;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{\n access_log off;\n client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n\
                 fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
                 keepalive_requests 100000000;\n\
                 upstream bench {{ server {}; keepalive 256; keepalive_requests 100000000; }}\n\
                 server {{ listen {addr}{http2}; location / {{ proxy_pass http://bench; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}\n}}\n",
                upstream.addr
            ),
        )?;
        let mut command = on_gateway_core(Path::new(nginx));
        command.arg("-c").arg(&conf).arg("-p").arg(dir.path());
        Self::start("nginx proxy_pass", command, addr, keys, dir, protocol).await.map(Some)
    }

    async fn start(
        name: &str,
        mut command: Command,
        addr: SocketAddr,
        keys: &Keys,
        dir: TempDir,
        protocol: Protocol,
    ) -> Result<Self, String> {
        let began = Instant::now();
        let child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
        Self::ready(name, child, addr, keys, dir, began, protocol).await
    }
}

fn on_gateway_core(binary: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", GATEWAY_CORE]).arg(binary).stdin(Stdio::null());
    command
}

fn free_port() -> Result<SocketAddr, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map_err(|e| e.to_string())
}

fn scratch() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|e| e.to_string())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}
