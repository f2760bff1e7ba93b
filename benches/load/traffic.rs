//! Both ends of the traffic: an upstream that answers 1 KiB of JSON, and clients that keep connections busy.
//!
//! They share one thread, away from the gateway's core, and speak plain HTTP/1.1 in bytes: what is
//! measured is the gateway.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(crate) const BODY_BYTES: usize = 1024;
/// Of a token and what follows it.
const CREDENTIAL_BYTES: usize = 1_024;
/// Of an answer that ends a run, so much is shown.
const ERROR_CHARS_MAX: usize = 400;

/// The upstream's address and how many requests have reached it.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<AtomicU64>,
}

impl Upstream {
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let upstream = Self { addr: listener.local_addr()?, requests: Arc::default() };
        let requests = upstream.requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, requests.clone()));
            }
        });
        Ok(upstream)
    }

    pub(crate) fn seen(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(mut stream: TcpStream, requests: Arc<AtomicU64>) {
    let _ = stream.set_nodelay(true);
    let mut reply =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
    let (before, behind) = (b"{\"a\":\"", b"\"}");
    reply.extend_from_slice(before);
    reply.resize(reply.len() + BODY_BYTES - before.len() - behind.len(), b'x');
    reply.extend_from_slice(behind);
    let mut buffer = Vec::with_capacity(4096);
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Some(end) = head_end(&buffer) {
            buffer.drain(..end);
            requests.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(&reply).await.is_err() {
                return;
            }
        }
    }
}

/// What one run of the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) requests: u64,
    pub(crate) wall: Duration,
    latencies_us: Vec<u32>,
}

impl Run {
    pub(crate) fn add(&mut self, other: Run) {
        self.requests += other.requests;
        self.wall += other.wall;
        self.latencies_us.extend(other.latencies_us);
    }

    /// Adds what others saw at the same time.
    pub(crate) fn beside(&mut self, other: Run) {
        let wall = self.wall.max(other.wall);
        self.add(other);
        self.wall = wall;
    }

    /// Adds a client's requests, each by how many microseconds it took.
    pub(crate) fn answered(&mut self, latencies_us: Vec<u32>) {
        self.requests += latencies_us.len() as u64;
        self.latencies_us.extend(latencies_us);
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// The latency that `part` (0 to 1) of the requests stayed under, in microseconds.
    pub(crate) fn percentile_us(&mut self, part: f64) -> u32 {
        self.latencies_us.sort_unstable();
        let at = ((self.latencies_us.len() as f64 - 1.0) * part) as usize;
        self.latencies_us.get(at).copied().unwrap_or(0)
    }
}

/// Keeps `connections` busy for `duration`, with a random one of `keys` a request. Anything but a
/// 200 with the whole body ends the run with an error: a gateway that fails fast must not look fast.
pub(crate) async fn drive(
    target: SocketAddr,
    keys: &Arc<[String]>,
    connections: usize,
    duration: Duration,
) -> Result<Run, String> {
    let began = Instant::now();
    let clients: Vec<_> =
        (0..connections).map(|n| tokio::spawn(client(target, keys.clone(), n as u64 + 1, began + duration))).collect();
    let mut run = Run::default();
    for client in clients {
        run.answered(client.await.map_err(|e| e.to_string())??);
    }
    run.wall = began.elapsed();
    Ok(run)
}

/// [`drive`], but no faster than `per_second` requests in all; each connection asks when its turn comes.
pub(crate) async fn drive_at(
    target: SocketAddr,
    keys: &Arc<[String]>,
    connections: usize,
    per_second: u32,
    duration: Duration,
) -> Result<Run, String> {
    let began = Instant::now();
    let every = Duration::from_secs(1) * u32::try_from(connections).unwrap_or(u32::MAX) / per_second;
    let clients: Vec<_> = (0..connections)
        .map(|n| {
            let first = began + every * u32::try_from(n).unwrap_or(0) / u32::try_from(connections).unwrap_or(1);
            tokio::spawn(paced_client(target, keys.clone(), n as u64 + 1, (first, every), began + duration))
        })
        .collect();
    let mut run = Run::default();
    for client in clients {
        run.answered(client.await.map_err(|e| e.to_string())??);
    }
    run.wall = began.elapsed();
    Ok(run)
}

async fn paced_client(
    target: SocketAddr,
    keys: Arc<[String]>,
    seed: u64,
    (first, every): (Instant, Duration),
    until: Instant,
) -> Result<Vec<u32>, String> {
    let mut connection = Connection::open(target).await?;
    let (mut random, mut latencies) = (Random::new(seed), Vec::with_capacity(1_024));
    let mut turns = tokio::time::interval_at(first.into(), every);
    loop {
        let due = turns.tick().await;
        if due.into_std() >= until {
            return Ok(latencies);
        }
        latencies.push(connection.timed(random.pick(&keys)).await?);
    }
}

async fn client(target: SocketAddr, keys: Arc<[String]>, seed: u64, until: Instant) -> Result<Vec<u32>, String> {
    let mut connection = Connection::open(target).await?;
    let mut random = Random::new(seed);
    let mut latencies = Vec::with_capacity(65_536);
    while Instant::now() < until {
        latencies.push(connection.timed(random.pick(&keys)).await?);
    }
    Ok(latencies)
}

/// Which key comes next (xorshift): as good as a client needs, and next to nothing of its time.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn pick<'k>(&mut self, keys: &'k [String]) -> &'k str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        &keys[self.0 as usize % keys.len()]
    }
}

/// One keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    key_at: usize,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(target: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(target).await.map_err(|e| format!("{target}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let head = "GET /bench/item?n=1 HTTP/1.1\r\nHost: bench.local\r\nAccept: */*\r\nAuthorization: Bearer ";
        let mut request = head.as_bytes().to_vec();
        let key_at = request.len();
        // Room for what the longest of them needs is made once.
        request.reserve(CREDENTIAL_BYTES);
        Ok(Self { stream, request, key_at, buffer: Vec::with_capacity(8192) })
    }

    /// [`Connection::get`], which has to be answered as it should; how many microseconds that took.
    async fn timed(&mut self, key: &str) -> Result<u32, String> {
        let began = Instant::now();
        let (status, body) = self.get(key).await?;
        if status != 200 || body != BODY_BYTES {
            let said = String::from_utf8_lossy(&self.buffer[self.buffer.len() - body..]);
            let said: String = said.chars().take(ERROR_CHARS_MAX).collect();
            return Err(format!("a request was answered {status} with {body} bytes in the middle of a run: {said}"));
        }
        Ok(began.elapsed().as_micros() as u32)
    }

    /// Sends one request with a key or a token and reads its answer: status and body length.
    pub(crate) async fn get(&mut self, credential: &str) -> Result<(u16, usize), String> {
        self.request.truncate(self.key_at);
        self.request.extend_from_slice(credential.as_bytes());
        self.request.extend_from_slice(b"\r\n\r\n");
        self.stream.write_all(&self.request).await.map_err(|e| e.to_string())?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = head_end(&self.buffer) {
                break end;
            }
            self.read().await?;
        };
        let (status, length) = parse(&self.buffer[..head])?;
        while self.buffer.len() < head + length {
            self.read().await?;
        }
        Ok((status, self.buffer.len() - head))
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the gateway closed a connection".to_owned()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        }
    }
}

pub(crate) fn parse(head: &[u8]) -> Result<(u16, usize), String> {
    let text = std::str::from_utf8(head).map_err(|_| "a head that is not text")?;
    let status = text.get(9..12).and_then(|s| s.parse().ok()).ok_or("a head without a status")?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or("an answer without a length")?;
    Ok((status, length))
}

pub(crate) fn head_end(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}
