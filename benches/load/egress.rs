//! Processor time a message: a bare Pingora proxy that passes POSTs through, and the egress listener, which knows who
//! sends, signs and vets; in turns, to the same receiver.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clearway_filters::webhook::{HmacSecret, VerifyingSecret, verify};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    fixture::{HMAC_KEY, Keys, webhook_id},
    proxy::Plan,
    systems::{Protocol, Setup, System},
    traffic::{Random, Run, Upstream, head_end, parse},
};

/// Of a message.
const BODY_BYTES: usize = 1024;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
/// What the egress listener may cost of what the pass-through does.
const RATIO_MAX: f64 = 1.15;

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(crate) async fn run(plan: &Plan) -> Result<(), String> {
    let (receiver, mut last) = receiver().await.map_err(|e| e.to_string())?;
    let keys = Keys::mint(100).posting_to(format!("http://{}/hook", receiver.addr));
    let settings = "[egress]\nallow = [\"127.0.0.1/32\"]\nallow_http = true\n";
    let pass_through = System::pass_through(&receiver, &keys, Protocol::Http1).await?;
    let setup = Setup { settings, ..Setup::default() };
    let egress = System::clearway_as("clearway egress", &setup, &receiver, &keys).await?.at_egress()?;
    prove(&egress, &keys, &mut last).await?;
    let mut systems = [pass_through.spoken_to(Protocol::Messages), egress.spoken_to(Protocol::Messages)];
    // The first slice fills pools and caches and is not counted.
    for system in &mut systems {
        system.slice(plan.connections, plan.slice).await?;
        system.run = Run::default();
        system.slices_us.clear();
    }
    for _ in 0..plan.rounds {
        for system in &mut systems {
            system.slice(plan.connections, plan.slice).await?;
        }
    }
    println!(
        "\nmessages of {BODY_BYTES} bytes, {} connections, {} slices of {} ms each in turn, one core a system\n",
        plan.connections,
        plan.rounds,
        plan.slice.as_millis()
    );
    println!("{:<28} {:>10} {:>8} {:>10} {:>8} {:>8}", "", "CPU us/msg", "ratio", "msg/s", "p50 us", "p99 us");
    let floor = systems[0].cpu_us();
    for system in &mut systems {
        let (cpu, per_second) = (system.cpu_us(), system.run.per_second());
        let (p50, p99) = (system.run.percentile_us(0.5), system.run.percentile_us(0.99));
        println!("{:<28} {cpu:>10.2} {:>8.3} {per_second:>10.0} {p50:>8} {p99:>8}", system.name, cpu / floor);
    }
    println!("\negress / pass-through: {:.3} (at most {RATIO_MAX})", systems[1].cpu_us() / floor);
    Ok(())
}

/// The listener is timed only after it has shown what it does: messages arrive whole and signed, and nothing does
/// for a wrong key or another account's.
async fn prove(egress: &System, keys: &Keys, last: &mut watch::Receiver<Vec<u8>>) -> Result<(), String> {
    let mut sender = Sender::open(egress.addr).await?;
    sender.post(&keys.secrets[0]).await?;
    let message = last.borrow_and_update().clone();
    let at = head_end(&message).ok_or("no message has arrived")?;
    let head = std::str::from_utf8(&message[..at]).map_err(|_| "a head that is not text")?;
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let headers: HeaderMap =
        lines.filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))).collect();
    let secret = VerifyingSecret::Hmac(HmacSecret::new(&HMAC_KEY).map_err(|e| e.to_string())?);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?.as_secs();
    if message.len() != at + BODY_BYTES {
        return Err(format!("a message of {BODY_BYTES} bytes arrived as {}", message.len() - at));
    }
    verify(&headers, &message[at..], &[secret], now_s).map_err(|fault| format!("a message arrived wrong: {fault}"))?;
    for wrong in keys.near_misses() {
        match Sender::open(egress.addr).await?.try_post(&wrong).await? {
            401 => {}
            status => return Err(format!("a wrong key was answered {status}")),
        }
    }
    if last.has_changed().unwrap_or(true) { Err("a wrong key's message was posted".to_owned()) } else { Ok(()) }
}

/// Answers every message 200, and tells what the last one was.
async fn receiver() -> std::io::Result<(Upstream, watch::Receiver<Vec<u8>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let upstream = Upstream { addr: listener.local_addr()?, requests: Arc::default() };
    let (last, told) = watch::channel(Vec::new());
    let (requests, last) = (upstream.requests.clone(), Arc::new(last));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, requests.clone(), last.clone()));
        }
    });
    Ok((upstream, told))
}

async fn answer(mut stream: TcpStream, requests: Arc<AtomicU64>, last: Arc<watch::Sender<Vec<u8>>>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(8192);
    // A connection's first is told; the others are only counted.
    let mut is_first = true;
    loop {
        while let Some(end) = head_end(&buffer) {
            let end = end + content_length(&buffer[..end]);
            if buffer.len() < end {
                break;
            }
            if std::mem::take(&mut is_first) {
                last.send_replace(buffer[..end].to_vec());
            }
            buffer.drain(..end);
            requests.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\ncontent-length:";
    let at = head.windows(NAME.len()).position(|name| name.eq_ignore_ascii_case(NAME));
    let digits = at.map(|at| head[at + NAME.len()..].trim_ascii_start());
    digits.map_or(0, |digits| digits.iter().take_while(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + usize::from(b - b'0')))
}

/// Keeps `connections` busy with messages for `duration`; anything but a 200 ends the run with an error.
pub(crate) async fn drive(
    target: SocketAddr,
    keys: &Arc<[String]>,
    connections: usize,
    duration: Duration,
) -> Result<Run, String> {
    let began = Instant::now();
    let client = |n: usize| {
        let (keys, mut random) = (keys.clone(), Random::new(n as u64 + 1));
        async move {
            let (mut sender, mut latencies) = (Sender::open(target).await?, Vec::with_capacity(65_536));
            while began.elapsed() < duration {
                let asked = Instant::now();
                sender.post(random.pick(&keys)).await?;
                latencies.push(asked.elapsed().as_micros() as u32);
            }
            Ok::<_, String>(latencies)
        }
    };
    let clients: Vec<_> = (0..connections).map(|n| tokio::spawn(client(n))).collect();
    let mut run = Run::default();
    for client in clients {
        run.answered(client.await.map_err(|e| e.to_string())??);
    }
    run.wall = began.elapsed();
    Ok(run)
}

/// One keep-alive connection that posts.
struct Sender {
    stream: TcpStream,
    request: Vec<u8>,
    key_at: usize,
    buffer: Vec<u8>,
}

impl Sender {
    async fn open(target: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(target).await.map_err(|e| format!("{target}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let head = format!(
            "POST /webhooks/{} HTTP/1.1\r\nHost: bench.local\r\nContent-Type: application/json\r\n\
             Content-Length: {BODY_BYTES}\r\nAuthorization: Bearer ",
            webhook_id()
        );
        let mut request = head.into_bytes();
        let key_at = request.len();
        request.resize(key_at + clearway_config::key::KEY_CHARS, b'x');
        request.extend_from_slice(b"\r\n\r\n{\"a\":\"");
        let behind = b"\"}";
        let end = key_at + clearway_config::key::KEY_CHARS + 4 + BODY_BYTES;
        request.resize(end - behind.len(), b'x');
        request.extend_from_slice(behind);
        Ok(Self { stream, request, key_at, buffer: Vec::with_capacity(4096) })
    }

    async fn post(&mut self, key: &str) -> Result<(), String> {
        match self.try_post(key).await? {
            200 => Ok(()),
            status => Err(format!("a message was answered {status}: {}", String::from_utf8_lossy(&self.buffer))),
        }
    }

    async fn try_post(&mut self, key: &str) -> Result<u16, String> {
        self.request[self.key_at..self.key_at + key.len()].copy_from_slice(key.as_bytes());
        self.stream.write_all(&self.request).await.map_err(|e| e.to_string())?;
        self.buffer.clear();
        loop {
            if let Some(head) = head_end(&self.buffer) {
                let (status, length) = parse(&self.buffer[..head])?;
                if self.buffer.len() >= head + length {
                    return Ok(status);
                }
            }
            if self.stream.read_buf(&mut self.buffer).await.map_err(|e| e.to_string())? == 0 {
                return Err("a connection was closed".to_owned());
            }
        }
    }
}
