//! A gateway besieged: a process of its own, whose memory and descriptors are looked at from outside.

mod descriptors;
mod floods;
mod heads;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::{Answer, Client},
    rig::{eventually, get},
    upstream::{DEADLINE, Upstream},
};

const MIB: u64 = 1024;

/// Routes that need no key: `/open`, to an upstream that remembers.
pub(crate) struct Siege {
    process: Child,
    pub(crate) gateway: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) upstream: Upstream,
    _dir: TempDir,
}

impl Siege {
    /// `limits`: lines of `[gateway.limits]`. `descriptors`: how many the process may have.
    pub(crate) fn begin(limits: &str, descriptors: Option<u32>) -> Self {
        let (dir, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
        let file = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let settings = file(
            "clearway.toml",
            format!("[gateway]\nthreads = 2\n[gateway.limits]\n{limits}\n[sync]\nconnect = \"http://127.0.0.1:1\"\n"),
        );
        let up = format!("[[upstreams]]\nname = \"up\"\naddresses = [\"http://{}\"]\nread_timeout = \"20s\"\n", upstream.address);
        let routes = file(
            "routes.toml",
            format!("{up}[[routes]]\nname = \"open\"\npath = \"/open\"\nupstream = \"up\"\nauth = \"open\"\n"),
        );
        file("sync.token", "0".repeat(64));
        let shell = match descriptors {
            Some(n) => format!("ulimit -n {n}; exec \"$@\""),
            None => "exec \"$@\"".to_owned(),
        };
        let mut process = Command::new("sh")
            .args(["-c", &shell, "sh", env!("CARGO_BIN_EXE_clearway-proxy"), "--json"])
            .args(["--gateway-addr", "127.0.0.1:0", "--egress-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"])
            .args(["--config".as_ref(), settings.as_os_str(), "--routes".as_ref(), routes.as_os_str()])
            .args(["--data-dir".as_ref(), dir.path().as_os_str()])
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let address = |name: &str| ready[name].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        Self { process, gateway: address("gateway"), metrics: address("metrics"), upstream, _dir: dir }
    }

    /// Connected, and patient for as long as a test may take.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.gateway).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// An ordinary client, on a connection of its own.
    pub(crate) fn ask(&self, path: &str) -> Option<Answer> {
        let mut client = Client::connect(self.gateway);
        client.try_send(get(path, &[]).as_bytes());
        client.try_read()
    }

    #[track_caller]
    pub(crate) fn serves(&self) {
        assert_eq!(self.ask("/open/fine").map(|answer| answer.status), Some(200));
    }

    /// What the operator's listener answers.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        let mut client = Client::connect(self.metrics);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        client.read()
    }

    pub(crate) fn metric(&self, line_start: &str) -> f64 {
        let text = String::from_utf8(self.admin("/metrics").body).unwrap();
        let line = text.lines().find(|line| line.starts_with(line_start));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    pub(crate) fn wait_for_connections(&self, at_most: f64) {
        eventually("connections to end", || (self.metric("clearway_connections ") <= at_most).then_some(()));
    }

    /// The most memory that the process has had so far, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `attack` may cost so much memory, and afterwards clients are served.
    #[track_caller]
    pub(crate) fn bounded<T>(&self, mib: u64, attack: impl FnOnce() -> T) -> T {
        self.serves();
        let before = self.peak_kib();
        let come_of_it = attack();
        let grown = (self.peak_kib() - before) / MIB;
        assert!(grown <= mib, "grown by {grown} MiB, and {mib} were allowed");
        self.serves();
        come_of_it
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.upstream.release();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a connection ends without another byte, or is reset; what still comes is read and thrown away.
pub(crate) fn ends(stream: &mut TcpStream) -> bool {
    let mut chunk = [0; 64 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Writes `piece` so many times, or until the other side will not have more. Says how often it went.
pub(crate) fn pour(stream: &mut TcpStream, piece: &[u8], times: usize) -> usize {
    (0..times).take_while(|_| stream.write_all(piece).is_ok()).count()
}
