//! Throw-away Redis servers: one, a cluster of three, or a master with a replica and a sentinel.
//!
//! Each is the child of a small shell that waits for its standard input to end, as the PostgreSQL of this crate is, and
//! goes with this process however that ends. A server is reached over TCP at a free port, and by the testkit itself over
//! a Unix socket in the server's directory, whatever password or TLS it wants of others.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::clock::Clock;

/// How long anything may take here.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often another port is tried where one was taken meanwhile.
const PORT_TRIES: usize = 5;

/// Keeps the directory when told to; else removes it.
const GUARD: &str = r#"
dir=$1
shift
"$@" >>"$dir/log" 2>&1 </dev/null &
server=$!
echo $server
read -r word
kill -KILL $server
wait $server
[ "$word" = keep ] || rm -rf "$dir"
"#;

/// A running server, or one that is stopped and can start again at the same port.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    more: Vec<String>,
    /// Of the server's process.
    env: Vec<(&'static str, String)>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    guard: Child,
    server: u32,
    /// Closing it ends the server.
    lifeline: ChildStdin,
}

impl Redis {
    /// An empty server that keeps what it is given over [`Redis::restart`]. Panics with one line when it cannot be had.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// [`Redis::start`] with more of redis-server's own arguments. `{port}` in one is the server's port, `{dir}` its directory.
    pub fn start_with(more: &[&str]) -> Self {
        Self::start_by(more, "", &[])
    }

    /// [`Redis::start`] with the server's process by this time of day.
    pub fn start_by_clock(clock: &Clock) -> Self {
        Self::start_by(&[], "", &clock.env())
    }

    /// With `settings` in the file `{dir}/settings`.
    fn start_by(more: &[&str], settings: &str, env: &[(&'static str, String)]) -> Self {
        let program = find_or_install().unwrap_or_else(|why| panic!("no Redis for the tests: {why}"));
        let mut tries = 0;
        loop {
            let dir = tempfile::Builder::new().prefix("clearway-redis-").tempdir().expect("a temporary directory").keep();
            let port = free_port();
            let more = more.iter().map(|arg| fill(arg, port, &dir)).collect();
            fs::write(dir.join("settings"), fill(settings, port, &dir)).expect("a file in a directory of one's own");
            let mut redis = Self { program: program.clone(), dir, port, more, env: env.to_vec(), running: None };
            match redis.run() {
                Ok(()) => return redis,
                Err(why) => {
                    tries += 1;
                    assert!(tries < PORT_TRIES, "Redis does not start: {why}");
                }
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Without TLS and password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills the server; what it has acknowledged stays.
    pub fn stop(&mut self) {
        if let Some(Running { mut guard, mut lifeline, .. }) = self.running.take() {
            lifeline.write_all(b"keep\n").expect("the guard listens");
            guard.wait().expect("the guard ends");
        }
    }

    /// Starts again what was stopped, or kills it first: with the data it had.
    pub fn restart(&mut self) {
        self.stop();
        self.run().unwrap_or_else(|why| panic!("Redis does not start again: {why}"));
    }

    /// The same, with no data.
    pub fn restart_empty(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(self.dir.join("appendonlydir"));
        self.restart();
    }

    /// Stands still: connections are kept and made, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Goes on after [`Redis::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").server
    }

    /// Carries one command out; the answer as the server wrote it.
    pub fn command(&self, words: &[&str]) -> String {
        self.try_command(words).unwrap_or_else(|why| panic!("{words:?}: {why}"))
    }

    fn try_command(&self, words: &[&str]) -> Result<String, String> {
        let mut socket = UnixStream::connect(self.dir.join("socket")).map_err(|e| e.to_string())?;
        socket.set_read_timeout(Some(TIMEOUT)).map_err(|e| e.to_string())?;
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        socket.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
        // It answers what it has read, and then sees the end. A sentinel knows no QUIT.
        socket.shutdown(Shutdown::Write).map_err(|e| e.to_string())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map_err(|e| e.to_string())?;
        Ok(answer)
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("/bin/sh").args(["-c", "kill -$1 $2", "sh", signal, &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot signal the server");
    }

    fn run(&mut self) -> Result<(), String> {
        let text = |part: &str| self.dir.join(part).display().to_string();
        let mut guard = Command::new("/bin/sh");
        guard.args(["-c", GUARD, "clearway-testkit"]).arg(&self.dir).arg(&self.program);
        guard.envs(self.env.iter().map(|(name, value)| (name, value)));
        if !self.more.iter().any(|arg| arg == "--sentinel") {
            guard.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "no"]);
            guard.args(["--dir", &text(""), "--unixsocket", &text("socket")]);
            if !self.more.iter().any(|arg| arg == "--port") {
                guard.args(["--port", &self.port.to_string()]);
            }
        }
        guard.args(&self.more);
        // A group of its own: an interrupt from the keyboard must not end the guard before the server.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = guard.spawn().map_err(|e| format!("cannot start the guard: {e}"))?;
        let lifeline = guard.stdin.take().ok_or("standard input is piped")?;
        let mut server = String::new();
        let stdout = guard.stdout.take().ok_or("standard output is piped")?;
        BufReader::new(stdout).read_line(&mut server).map_err(|e| e.to_string())?;
        let server = server.trim().parse().map_err(|_| "the guard does not say whom it guards")?;
        self.running = Some(Running { guard, server, lifeline });
        let began = Instant::now();
        loop {
            // One that wants a password is there too.
            match self.try_command(&["PING"]) {
                Ok(answer) if answer.starts_with("+PONG") || answer.starts_with("-NOAUTH") => return Ok(()),
                _ if began.elapsed() > TIMEOUT || !Path::new(&format!("/proc/{server}")).exists() => break,
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        self.running = None;
        Err(log.lines().rev().take(3).collect::<Vec<_>>().join(" | "))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The guard of one that runs removes it.
        if self.running.is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A cluster of three masters, each with a third of the slots.
#[derive(Debug)]
pub struct RedisCluster {
    pub servers: Vec<Redis>,
}

impl RedisCluster {
    pub fn start() -> Self {
        let servers: Vec<Redis> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"])
            })
            .collect();
        for (server, [first, last]) in servers.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            expect_ok(&server.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]));
        }
        for server in &servers[1..] {
            let bus = server.more[3].clone();
            expect_ok(&servers[0].command(&["CLUSTER", "MEET", "127.0.0.1", &server.port.to_string(), &bus]));
        }
        let knows_all = |server: &Redis| {
            let info = server.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384") && info.contains("cluster_known_nodes:3")
        };
        wait_until("the cluster has come together", || servers.iter().all(knows_all));
        Self { servers }
    }

    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Redis::url).collect()
    }
}

/// A master, its replica, and a sentinel that makes the replica the master soon after the master is gone.
#[derive(Debug)]
pub struct RedisSentinel {
    pub master: Redis,
    pub replica: Redis,
    sentinel: Redis,
}

impl RedisSentinel {
    /// What the sentinel calls the master.
    pub const MASTER: &str = "clearway";

    pub fn start() -> Self {
        let master = Redis::start();
        let replica =
            Redis::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string(), "--repl-diskless-sync-delay", "0"]);
        wait_until("the replica follows", || replica.command(&["INFO", "replication"]).contains("master_link_status:up"));
        let settings = format!(
            "bind 127.0.0.1\nport {{port}}\nunixsocket {{dir}}/socket\ndir {{dir}}\nsentinel monitor {0} 127.0.0.1 {1} 1\n\
             sentinel down-after-milliseconds {0} 500\nsentinel failover-timeout {0} 3000\n",
            Self::MASTER,
            master.port
        );
        let sentinel = Redis::start_by(&["{dir}/settings", "--sentinel"], &settings, &[]);
        let this = Self { master, replica, sentinel };
        wait_until("the sentinel knows the replica", || {
            this.sentinel.command(&["SENTINEL", "REPLICAS", Self::MASTER]).contains(&this.replica.port.to_string())
        });
        this
    }

    pub fn url(&self) -> String {
        self.sentinel.url()
    }

    /// Kills the master, and waits until the sentinel names the replica instead.
    pub fn fail_over(&mut self) {
        self.master.stop();
        let port = format!("\r\n{}\r\n", self.replica.port);
        wait_until("the sentinel has named another master", || {
            self.sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER]).contains(&port)
                && self.replica.command(&["INFO", "replication"]).contains("role:master")
        });
    }
}

fn expect_ok(answer: &str) {
    assert!(answer.starts_with("+OK"), "Redis says {answer}");
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < TIMEOUT, "it took too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn fill(arg: &str, port: u16, dir: &Path) -> String {
    arg.replace("{port}", &port.to_string()).replace("{dir}", &dir.display().to_string())
}

/// `redis-server` in `PATH`; installs Debian's package where there is none.
fn find_or_install() -> Result<PathBuf, String> {
    let find = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join("redis-server")).find(|program| program.is_file())
    };
    if let Some(program) = find() {
        return Ok(program);
    }
    let how = "install Redis 7 or later (Debian: apt-get install redis-server) and put redis-server in PATH";
    if !super::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(how.into());
    }
    eprintln!("testkit: no redis-server found: running apt-get install -y redis-server");
    let mut apt = Command::new("/usr/bin/apt-get");
    apt.args(["install", "-y", "--no-install-recommends", "redis-server"]).env("DEBIAN_FRONTEND", "noninteractive");
    super::succeed(apt.output(), "apt-get install -y redis-server").map_err(|why| format!("{why}; {how}"))?;
    find().ok_or_else(|| how.into())
}
