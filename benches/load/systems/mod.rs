//! The systems under test, each a process on the gateway's core: started, proven, timed, ended.

mod start;

use std::{
    fmt,
    net::SocketAddr,
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    cpu, egress,
    fixture::Keys,
    http2,
    traffic::{self, BODY_BYTES, Connection, Run, Upstream},
};

pub(crate) use start::Setup;

/// What the clients of a system speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/1.1, and what is sent are messages of webhooks.
    Messages,
    /// In clear, so many streams a connection.
    Http2 {
        streams: usize,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1 | Self::Messages => Ok(()),
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
    /// Of a gateway, where it takes messages.
    pub(super) egress: Option<SocketAddr>,
    /// Of a gateway, where it tells its metrics.
    pub(crate) metrics: Option<SocketAddr>,
    _dir: TempDir,
}

impl System {
    /// The same system, asked where it takes messages.
    pub(crate) fn at_egress(mut self) -> Result<Self, String> {
        self.addr = self.egress.ok_or("it takes no messages")?;
        Ok(self)
    }

    /// The same system, timed by clients that speak another protocol than HTTP/1.1.
    pub(crate) fn spoken_to(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The same system, asked by these credentials from now on.
    pub(crate) fn asked_by(mut self, credentials: Arc<[String]>) -> Self {
        self.keys = credentials;
        self
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
            egress: None,
            metrics: None,
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
            Protocol::Messages => egress::drive(self.addr, &self.keys, connections, slice).await,
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
        Protocol::Http1 | Protocol::Messages => match Connection::open(addr).await?.get(&keys.secrets[0]).await? {
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
