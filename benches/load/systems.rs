//! The systems under test, each a process on the gateway's core: started, proven, timed, ended.

use std::{
    fmt,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    GATEWAY_CORE, beside,
    control::Control,
    cpu,
    fixture::Keys,
    http2,
    traffic::{self, BODY_BYTES, Connection, Run, Upstream},
};

/// What the clients of a system speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// In clear, so many streams a connection.
    Http2 {
        streams: usize,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1 => Ok(()),
            Self::Http2 { streams } => write!(f, " of HTTP/2 with {streams} streams each"),
        }
    }
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    child: Child,
    keys: Arc<[String]>,
    /// From spawning the process to its first 200.
    pub(crate) started_in: Duration,
    pub(crate) cpu: Duration,
    pub(crate) run: Run,
    pub(crate) slices_us: Vec<f64>,
    protocol: Protocol,
    _dir: TempDir,
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

    /// The same system, timed by clients that speak another protocol than HTTP/1.1.
    pub(crate) fn spoken_to(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The gateway as it ships: key, second, day, month and concurrency, access log, metrics.
    /// `more` is TOML that is added to its settings.
    pub(crate) async fn clearway(name: &str, more: &str, upstream: &Upstream, keys: &Keys) -> Result<Self, String> {
        let dir = scratch()?;
        keys.write_snapshot(&dir.path().join("proxy")).await?;
        Self::clearway_over(name, &beside("clearway-proxy")?, more, upstream, keys, dir, None).await
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
        Self::clearway_over(name, binary, more, upstream, keys, dir, None).await
    }

    /// The gateway, told of changes by `control`.
    pub(crate) async fn clearway_under(control: &Control, upstream: &Upstream, keys: &Keys) -> Result<Self, String> {
        let dir = scratch()?;
        keys.write_snapshot(&dir.path().join("proxy")).await?;
        control.write_token(dir.path())?;
        Self::clearway_over("clearway", &beside("clearway-proxy")?, "", upstream, keys, dir, Some(control)).await
    }

    async fn clearway_over(
        name: &str,
        binary: &Path,
        more: &str,
        upstream: &Upstream,
        keys: &Keys,
        dir: TempDir,
        control: Option<&Control>,
    ) -> Result<Self, String> {
        let settings = dir.path().join("clearway.toml");
        write(&settings, &format!("[gateway]\nthreads = 1\n[sync]\nmode = \"available\"\n{more}\n"))?;
        let routes = dir.path().join("routes.toml");
        write(
            &routes,
            &format!(
                "[[upstreams]]\nname = \"bench\"\naddresses = [\"http://{}\"]\n\n\
                 [[routes]]\nname = \"bench\"\npath = \"/bench\"\nupstream = \"bench\"\nauth = \"key\"\n",
                upstream.addr
            ),
        )?;
        // Where it does not answer, the gateway starts from its disk snapshot and keeps serving by it.
        let control = control.map_or_else(|| free_port().map(|nowhere| format!("http://{nowhere}")), |it| Ok(it.url.clone()))?;
        let mut command = on_gateway_core(binary);
        command.arg("--json").arg("--config").arg(&settings).arg("--data-dir").arg(dir.path()).arg("--routes").arg(&routes);
        command.args(["--gateway-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]);
        command.arg("--sync-connect").arg(control).env("RUST_LOG", "error").stdout(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().map_err(|e| format!("clearway-proxy: {e}"))?;
        let output = child.stdout.take().ok_or("a child without standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(|e| e.to_string())?;
        let ready: serde_json::Value = serde_json::from_str(&line).map_err(|_| "clearway-proxy did not start".to_owned())?;
        let addr =
            ready["gateway"].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok()).ok_or("no gateway address")?;
        Self::ready(name, child, addr, keys, dir, began, Protocol::Http1).await
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

    /// Waits for the first 200; from here on, dropping the system ends its process.
    async fn ready(
        name: &str,
        child: Child,
        addr: SocketAddr,
        keys: &Keys,
        dir: TempDir,
        began: Instant,
        protocol: Protocol,
    ) -> Result<Self, String> {
        let mut system = Self {
            name: name.to_owned(),
            addr,
            child,
            keys: keys.secrets.clone(),
            started_in: Duration::ZERO,
            cpu: Duration::ZERO,
            run: Run::default(),
            slices_us: Vec::new(),
            protocol,
            _dir: dir,
        };
        loop {
            match first_answer(addr, protocol, keys).await {
                Ok(()) => break,
                Err(why) if began.elapsed() > Duration::from_secs(60) => {
                    return Err(format!("{name}: no 200 within a minute: {why}"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        system.started_in = began.elapsed();
        Ok(system)
    }

    /// A gateway is timed only after it has shown what it does: sampled keys pass with the whole body
    /// and one upstream request each, near misses are 401 with none, and an exhausted quota is 429.
    pub(crate) async fn prove_gateway(&self, upstream: &Upstream, keys: &Keys) -> Result<(), String> {
        let mut connection = Connection::open(self.addr).await?;
        let step = (keys.secrets.len() / 10).max(1);
        for key in keys.secrets.iter().step_by(step) {
            let before = upstream.seen();
            let answer = connection.get(key).await?;
            expect(&self.name, "a right key", answer, (200, Some(BODY_BYTES)))?;
            expect_count(&self.name, "a right key", upstream.seen() - before, 1)?;
        }
        let before = upstream.seen();
        for wrong in keys.near_misses() {
            let answer = Connection::open(self.addr).await?.get(&wrong).await?;
            expect(&self.name, "a wrong key", answer, (401, None))?;
        }
        expect_count(&self.name, "wrong keys", upstream.seen() - before, 0)?;
        for _ in 0..keys.exhaustible_day {
            let answer = connection.get(&keys.exhaustible).await?;
            expect(&self.name, "a key within its day", answer, (200, Some(BODY_BYTES)))?;
        }
        let answer = connection.get(&keys.exhaustible).await?;
        expect(&self.name, "a key past its day", answer, (429, None))
    }

    /// One slice: traffic for `slice`, and the processor time it took.
    pub(crate) async fn slice(&mut self, connections: usize, slice: Duration) -> Result<(), String> {
        let before = cpu::time_of(self.child.id());
        let run = match self.protocol {
            Protocol::Http1 => traffic::drive(self.addr, &self.keys, connections, slice).await,
            Protocol::Http2 { streams } => http2::drive(self.addr, &self.keys, connections, streams, slice).await,
        };
        let run = run.map_err(|why| format!("{}: {why}", self.name))?;
        let spent = cpu::time_of(self.child.id()).saturating_sub(before);
        self.slices_us.push(spent.as_secs_f64() * 1e6 / run.requests as f64);
        self.cpu += spent;
        self.run.add(run);
        Ok(())
    }

    /// Traffic at a steady rate for `slice`, and the processor time it took.
    pub(crate) async fn paced(
        &mut self,
        connections: usize,
        per_second: u32,
        slice: Duration,
    ) -> Result<(Run, Duration), String> {
        let before = cpu::time_of(self.child.id());
        let run = traffic::drive_at(self.addr, &self.keys, connections, per_second, slice).await;
        let spent = cpu::time_of(self.child.id()).saturating_sub(before);
        Ok((run.map_err(|why| format!("{}: {why}", self.name))?, spent))
    }

    /// The median slice's processor microseconds a request.
    pub(crate) fn cpu_us(&self) -> f64 {
        let mut slices = self.slices_us.clone();
        slices.sort_by(f64::total_cmp);
        slices.get(slices.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // SIGTERM lets nginx end its worker.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks once.
async fn first_answer(addr: SocketAddr, protocol: Protocol, keys: &Keys) -> Result<(), String> {
    match protocol {
        Protocol::Http1 => match Connection::open(addr).await?.get(&keys.secrets[0]).await? {
            (200, _) => Ok(()),
            (status, _) => Err(format!("answered {status}")),
        },
        Protocol::Http2 { .. } => http2::drive(addr, &keys.secrets, 1, 1, Duration::from_nanos(1)).await.map(|_| ()),
    }
}

fn expect(system: &str, what: &str, got: (u16, usize), wanted: (u16, Option<usize>)) -> Result<(), String> {
    if got.0 == wanted.0 && wanted.1.is_none_or(|body| body == got.1) {
        return Ok(());
    }
    Err(format!("{system}: {what} was answered {} with {} bytes, not {}", got.0, got.1, wanted.0))
}

fn expect_count(system: &str, what: &str, got: u64, wanted: u64) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("{system}: {what} made {got} upstream requests, not {wanted}")) }
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
