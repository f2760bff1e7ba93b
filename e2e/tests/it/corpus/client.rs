//! A client that sends bytes, not requests, and reads what comes back until the connection ends.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// Far more than any answer takes; who is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(8);

/// What came back on one connection.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Final answers, in order.
    pub(crate) answers: Vec<Answer>,
    /// What was neither an answer nor the end.
    pub(crate) fault: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The gateway says that it will close.
    pub(crate) closes: bool,
    pub(crate) body: Vec<u8>,
    /// Of a stream, whose connection goes on.
    pub(crate) is_h2: bool,
}

impl Answer {
    pub(crate) fn by_h2(status: u16) -> Self {
        Self { status, closes: false, body: Vec::new(), is_h2: true }
    }
}

/// Sends `bytes` to `address` and reads until the end: of its own accord where `ends`, otherwise once
/// `wanted` answers have come.
pub(crate) async fn talk(address: &str, bytes: Vec<u8>, wanted: usize, ends: bool) -> Heard {
    let mut heard = Heard::default();
    let (reading, mut writing) = match TcpStream::connect(address).await {
        Ok(stream) => stream.into_split(),
        Err(e) => {
            heard.fault = Some(format!("cannot connect: {e}"));
            return heard;
        }
    };
    let bodiless = bytes.starts_with(b"HEAD ");
    // Beside the reading: an answer may come before all has been sent.
    let sending = tokio::spawn(async move {
        // A gateway may hang up in the middle, and is right to.
        let _ = writing.write_all(&bytes).await;
        if ends {
            let _ = writing.shutdown().await;
        }
        writing
    });
    let mut listener = Listener { reading, buffer: Vec::new() };
    let listening = listener.listen(&mut heard, bodiless, wanted, Some(sending));
    if timeout(PATIENCE, listening).await.is_err() {
        heard.fault = Some(format!("no end within {PATIENCE:?}"));
    }
    heard
}

/// Requests one after another, over one connection for as long as the gateway keeps it, then over the next.
#[derive(Debug)]
pub(crate) struct Conversation {
    address: String,
    open: Option<(OwnedWriteHalf, Listener)>,
}

impl Conversation {
    pub(crate) fn with(address: &str) -> Self {
        Self { address: address.to_owned(), open: None }
    }

    /// The final answer to `request`, which is not a HEAD; or what came instead of one.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Answer, String> {
        timeout(PATIENCE, self.exchange(request)).await.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer, String> {
        // Put back only when the answer leaves the connection open.
        let (mut writing, mut listener) = match self.open.take() {
            Some(open) => open,
            None => {
                let stream = TcpStream::connect(&self.address).await.map_err(|e| format!("cannot connect: {e}"))?;
                let (reading, writing) = stream.into_split();
                (writing, Listener { reading, buffer: Vec::new() })
            }
        };
        // Side by side: an answer may come, and the gateway hang up, before all has been sent.
        let (_, answer) = tokio::join!(writing.write_all(request), listener.answer(false));
        let answer = answer?.ok_or("the connection ends without an answer")?;
        if !answer.closes {
            self.open = Some((writing, listener));
        }
        Ok(answer)
    }
}

#[derive(Debug)]
struct Listener {
    reading: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Listener {
    async fn listen(
        &mut self,
        heard: &mut Heard,
        bodiless: bool,
        wanted: usize,
        mut sending: Option<tokio::task::JoinHandle<OwnedWriteHalf>>,
    ) {
        loop {
            // Upgraded connections are at an end here too: nothing after the 101 is an answer.
            let switched = heard.answers.last().is_some_and(|answer| answer.status == 101);
            if (heard.answers.len() >= wanted || switched)
                && let Some(sent) = sending.take()
                && let Ok(mut writing) = sent.await
            {
                let _ = writing.shutdown().await;
            }
            if switched {
                while self.more().await {}
                return;
            }
            match self.answer(bodiless).await {
                Ok(Some(answer)) if answer.status >= 200 || answer.status == 101 => heard.answers.push(answer),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(fault) => {
                    heard.fault = Some(fault);
                    return;
                }
            }
        }
    }

    /// Whether there was more. A reset is an end like another.
    async fn more(&mut self) -> bool {
        matches!(self.reading.read_buf(&mut self.buffer).await, Ok(1..))
    }

    async fn answer(&mut self, bodiless: bool) -> Result<Option<Answer>, String> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more().await {
                let broken_off = !self.buffer.is_empty();
                return if broken_off { Err(format!("half an answer: {}", self.buffer.escape_ascii())) } else { Ok(None) };
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.buffer.drain(..end);
        let status = head.strip_prefix("http/1.").and_then(|rest| rest.get(2..5)).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("not an answer: {head}"))?;
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        let length: usize = value("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let length = if bodiless || status < 200 { 0 } else { length };
        let closes = value("connection") == Some("close");
        while self.buffer.len() < length {
            if !self.more().await {
                return Err(format!("an answer whose body ends early: {head}"));
            }
        }
        Ok(Some(Answer { status, closes, body: self.buffer.drain(..length).collect(), is_h2: false }))
    }
}
