//! Who receives the webhooks: on a thread of its own, answering at once, or never.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Messages to this path are never answered.
pub(super) const HANGING: &str = "/hang";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// In front of the microseconds since [`Receiver::began`] at which an event was posted.
pub(super) const SENT: &str = "\"sent_us\":";

#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) addr: SocketAddr,
    pub(super) began: Instant,
    seen: Arc<Seen>,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Default)]
struct Seen {
    answered: AtomicU64,
    /// Of answered ones: microseconds from posting the event to its arrival here.
    took_us: Mutex<Vec<u32>>,
    last: Mutex<Option<Message>>,
}

impl Receiver {
    pub(super) fn start() -> Result<Self, String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        listener.set_nonblocking(true).map_err(|e| e.to_string())?;
        let addr = listener.local_addr().map_err(|e| e.to_string())?;
        let (began, seen) = (Instant::now(), Arc::<Seen>::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let theirs = seen.clone();
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener that does not block");
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(receive(stream, began, theirs.clone()));
                }
            });
        });
        Ok(Self { addr, began, seen })
    }

    pub(super) fn answered(&self) -> u64 {
        self.seen.answered.load(Ordering::Relaxed)
    }

    /// Waits for as many answers in all.
    pub(super) async fn wait_for(&self, answered: u64, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        while self.answered() < answered {
            if Instant::now() > deadline {
                return Err(format!("{} of {answered} messages came within {} s", self.answered(), within.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    pub(super) fn take_latencies(&self) -> Vec<u32> {
        std::mem::take(&mut *self.seen.took_us.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn last(&self) -> Option<Message> {
        self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn receive(mut stream: TcpStream, began: Instant, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let Some((end, length)) = message_end(&buffer) else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        if buffer.len() < end + length {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        }
        let now_us = began.elapsed().as_micros() as u64;
        if buffer.starts_with(format!("POST {HANGING}").as_bytes()) {
            std::future::pending::<()>().await;
        }
        let body = &buffer[end..end + length];
        if let Some(sent_us) = number_after(body, SENT) {
            seen.took_us.lock().unwrap_or_else(PoisonError::into_inner).push(now_us.saturating_sub(sent_us) as u32);
        }
        // Once is enough to prove that it was signed.
        if seen.answered.fetch_add(1, Ordering::Relaxed) == 0 {
            *seen.last.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Message { headers: headers(&buffer[..end]), body: body.to_vec() });
        }
        buffer.drain(..end + length);
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

/// Where a head ends, and how long its body is.
fn message_end(buffer: &[u8]) -> Option<(usize, usize)> {
    let end = buffer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..end]).ok()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Some((end, length.unwrap_or(0)))
}

fn headers(head: &[u8]) -> HeaderMap {
    let text = String::from_utf8_lossy(head);
    text.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value.trim()).ok()?)))
        .collect()
}

fn number_after(text: &[u8], mark: &str) -> Option<u64> {
    let at = text.windows(mark.len()).position(|w| w == mark.as_bytes())? + mark.len();
    let digits = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()
}
