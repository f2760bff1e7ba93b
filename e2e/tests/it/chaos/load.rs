//! Clients that keep to a pace, whatever they are answered, and note it all.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::windows::{Answer, Seen};

/// An answer comes in this time, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(15);

/// Clients of one gateway that use one key.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) gateway: usize,
    pub(crate) address: String,
    pub(crate) subjects: [Option<usize>; 2],
    pub(crate) secret: String,
    pub(crate) clients: usize,
    /// Each of them asks so often.
    pub(crate) every: Duration,
    /// And is answered after so long.
    pub(crate) held_ms: u64,
}

/// What clients were answered: how often which status and code. Without an answer: 0 and what happened.
pub(crate) type Answers = BTreeMap<(u16, String), u64>;

#[derive(Debug, Default)]
struct Noted {
    history: Vec<Seen>,
    answers: Answers,
}

#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    noted: Arc<Mutex<Noted>>,
    clients: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(streams: &[Stream]) -> Self {
        let mut load = Self { stop: Arc::default(), noted: Arc::default(), clients: JoinSet::new() };
        for stream in streams {
            for n in 0..stream.clients {
                let (stop, noted, stream) = (load.stop.clone(), load.noted.clone(), stream.clone());
                load.clients.spawn(async move {
                    // Not all at the same moment.
                    sleep(stream.every * u32::try_from(n).expect("few clients") / u32::try_from(stream.clients).expect("few"))
                        .await;
                    stream.send(&stop, &noted).await;
                });
            }
        }
        load
    }

    pub(crate) fn answers(&self) -> Answers {
        self.noted.lock().expect("clients do not panic").answers.clone()
    }

    /// What was seen of one subject's requests so far: how many were admitted, and how many were not.
    pub(crate) fn of(&self, subject: usize) -> (u64, u64) {
        let noted = self.noted.lock().expect("clients do not panic");
        let of = noted.history.iter().filter(|seen| seen.subjects.contains(&Some(subject)));
        let (admitted, not): (Vec<_>, Vec<_>) = of.partition(|seen| seen.answer == Answer::Admitted);
        (admitted.len() as u64, not.len() as u64)
    }

    pub(crate) async fn end(mut self) -> (Vec<Seen>, Answers) {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("clients do not panic");
        }
        let mut noted = self.noted.lock().expect("clients do not panic");
        (std::mem::take(&mut noted.history), std::mem::take(&mut noted.answers))
    }
}

impl Stream {
    async fn send(&self, stop: &AtomicBool, noted: &Mutex<Noted>) {
        let mut pace = interval(self.every);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let path = if self.held_ms > 0 { format!("/svc/hold/{}", self.held_ms) } else { "/svc/x".to_owned() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {}\r\n\r\n", self.secret);
        let mut connection = None;
        while !stop.load(Ordering::SeqCst) {
            pace.tick().await;
            let stream = match connection.take() {
                Some(stream) => stream,
                None => match TcpStream::connect(&self.address).await {
                    Ok(stream) => stream,
                    Err(e) => {
                        note(noted, None, (0, format!("gateway {}: connect: {}", self.gateway, e.kind())));
                        continue;
                    }
                },
            };
            let began_us = now_us();
            let asked = timeout(PATIENCE, ask(stream, &request)).await;
            let ended_us = now_us();
            let (answer, said) = match asked {
                Ok(Ok((status, code, kept))) => {
                    connection = kept;
                    let answer = match status {
                        200 => Answer::Admitted,
                        429 => Answer::Refused,
                        _ => Answer::Unavailable,
                    };
                    (answer, (status, code))
                }
                Ok(Err(e)) => (Answer::None, (0, format!("gateway {}: lost: {}", self.gateway, e.kind()))),
                Err(_) => (Answer::None, (0, "timed out".to_owned())),
            };
            let seen = Seen {
                gateway: self.gateway,
                subjects: self.subjects,
                began_us,
                ended_us,
                held_us: self.held_ms * 1_000,
                answer,
            };
            note(noted, Some(seen), said);
        }
    }
}

fn note(noted: &Mutex<Noted>, seen: Option<Seen>, said: (u16, String)) {
    let mut noted = noted.lock().expect("clients do not panic");
    noted.history.extend(seen);
    *noted.answers.entry(said).or_default() += 1;
}

/// Microseconds since 1970, by the machine's clock when this was first asked and by its steady one from then on: what was
/// at the same time must not depend on somebody setting a clock.
pub(crate) fn now_us() -> u64 {
    static BEGAN: LazyLock<(SystemTime, Instant)> = LazyLock::new(|| (SystemTime::now(), Instant::now()));
    let (at, since) = *BEGAN;
    let now = at.duration_since(UNIX_EPOCH).expect("a clock after 1970") + since.elapsed();
    u64::try_from(now.as_micros()).expect("before the year 584 thousand")
}

/// One request and its whole answer: status, error code, and the connection if it is kept.
async fn ask(mut stream: TcpStream, request: &str) -> io::Result<(u16, String, Option<TcpStream>)> {
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let body = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let body = body.ok_or(io::ErrorKind::InvalidData)?;
            if read.len() >= end + 4 + body {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
                let said: serde_json::Value = serde_json::from_slice(&read[end + 4..]).unwrap_or_default();
                let code = said["error"]["type"].as_str().unwrap_or_default().to_owned();
                let kept = (!head.contains("connection: close")).then_some(stream);
                return Ok((status, code, kept));
            }
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
