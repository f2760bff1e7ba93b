//! An upstream that keeps every byte it was sent, and answers by the path it was asked for.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

/// How long anything is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The values of a header, by its exact name in any case.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1);
        let fields = lines.filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).collect()
    }

    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Seen {
    received: Vec<Received>,
    /// Bytes after a 101, and those that came between a head and its answer.
    tunnelled: Vec<u8>,
    connections: usize,
    closed: usize,
    released: bool,
    /// What `/scripted` is answered with, and whether the connection is closed behind it.
    script: (Vec<u8>, bool),
}

#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let served = upstream.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                served.note(|seen| seen.connections += 1);
                let served = served.clone();
                thread::spawn(move || {
                    served.serve(stream);
                    served.note(|seen| seen.closed += 1);
                });
            }
        });
        upstream
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    pub(crate) fn last(&self) -> Received {
        self.lock().received.last().expect("a request has arrived").clone()
    }

    pub(crate) fn tunnelled(&self) -> Vec<u8> {
        self.lock().tunnelled.clone()
    }

    /// Lets `/slow` answer.
    pub(crate) fn release(&self) {
        self.note(|seen| seen.released = true);
    }

    /// Has `/scripted` answer exactly this, and then close if `close`.
    pub(crate) fn script(&self, answer: impl Into<Vec<u8>>, close: bool) {
        self.note(|seen| seen.script = (answer.into(), close));
    }

    /// Connections that were ever made.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    pub(crate) fn wait_for_requests(&self, n: usize) {
        self.wait(|seen| seen.received.len() >= n, "requests at the upstream");
    }

    pub(crate) fn wait_for_tunnelled(&self, bytes: &[u8]) {
        self.wait(|seen| seen.tunnelled == bytes, "bytes in the tunnel");
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.0.lock().unwrap()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.seen.1.notify_all();
    }

    fn wait(&self, until: impl Fn(&Seen) -> bool, what: &str) {
        let deadline = Instant::now() + DEADLINE;
        let mut seen = self.lock();
        while !until(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}: {seen:?}");
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut buffer = Vec::new();
        while let Some(request) = read_message(&mut stream, &mut buffer) {
            let path = request.target().split('?').next().unwrap_or_default().to_owned();
            let close = request.header("x-test-close").len() == 1;
            self.note(|seen| seen.received.push(request.clone()));
            let mut answer: Vec<u8> = match path.rsplit('/').next().unwrap_or_default() {
                "slow" => {
                    self.wait(|seen| seen.released, "the test's release");
                    ok("slow")
                }
                "missing" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_vec(),
                "hangup" => return,
                "never" => {
                    self.wait(|seen| seen.released, "the test's release");
                    return;
                }
                "scripted" => {
                    let (answer, close) = self.lock().script.clone();
                    if stream.write_all(&answer).is_err() || close {
                        return;
                    }
                    continue;
                }
                "early" => b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly".to_vec(),
                "chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec(),
                "hops" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
                    Keep-Alive: timeout=5\r\nX-Request-Id: forged\r\nX-RateLimit-Limit: 1\r\nX-Kept: 1\r\n\r\nok"
                    .to_vec(),
                "half" => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                    return;
                }
                "ws" => return self.tunnel(stream, &buffer),
                _ => ok("hello"),
            };
            if request.head.starts_with("HEAD ") {
                let head = answer.windows(4).position(|w| w == b"\r\n\r\n");
                answer.truncate(head.map_or(answer.len(), |at| at + 4));
            }
            if stream.write_all(&answer).is_err() || close {
                return;
            }
        }
    }

    /// Agrees to an upgrade and sends back what comes through it.
    fn tunnel(&self, mut stream: TcpStream, early: &[u8]) {
        self.note(|seen| seen.tunnelled.extend_from_slice(early));
        self.wait(|seen| seen.released, "the test's release");
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        if stream.write_all(head).is_err() {
            return;
        }
        let mut chunk = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut chunk) {
            self.note(|seen| seen.tunnelled.extend_from_slice(&chunk[..n]));
            if stream.write_all(&chunk[..n]).is_err() {
                return;
            }
        }
    }
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// One request off the stream; what came after it stays in `buffer`.
pub(crate) fn read_message(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Option<Received> {
    let end = fill_until(stream, buffer, |b| b.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4))?;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut message = Received { head, body: Vec::new() };
    if message.target().ends_with("/early") {
        return Some(message);
    }
    if message.header("transfer-encoding").iter().any(|v| v.eq_ignore_ascii_case("chunked")) {
        let end = fill_until(stream, buffer, |b| b.windows(5).position(|w| w == b"0\r\n\r\n").map(|at| at + 5))?;
        message.body = buffer.drain(..end).collect();
    } else if let Some(length) = message.header("content-length").first().and_then(|v| v.parse::<usize>().ok()) {
        let end = fill_until(stream, buffer, |b| (b.len() >= length).then_some(length))?;
        message.body = buffer.drain(..end).collect();
    }
    Some(message)
}

fn fill_until(stream: &mut impl Read, buffer: &mut Vec<u8>, end: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = end(buffer) {
            return Some(end);
        }
        match stream.read(&mut chunk) {
            Ok(n @ 1..) => buffer.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
}
