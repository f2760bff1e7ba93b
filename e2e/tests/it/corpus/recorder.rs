//! An upstream that takes nothing for granted: it reads what arrives byte by byte as RFC 9112 has it,
//! forgives nothing, and keeps everything.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Targets below this are switched to another protocol when they ask for it.
const TUNNELS: &str = "/svc/ws";

#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

/// One request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    /// Head, body and framing.
    pub(crate) raw: Vec<u8>,
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Its end has come.
    pub(crate) whole: bool,
    /// What came after it, once it had been switched to another protocol.
    pub(crate) tunnelled: Vec<u8>,
    /// Why a strict server could not read it.
    pub(crate) fault: Option<String>,
}

impl Received {
    /// Every value of a header, by its exact name in lower case.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn shown(&self) -> String {
        let shown = self.raw.escape_ascii().to_string();
        shown.get(..1_500).map_or(shown.clone(), |cut| format!("{cut}…"))
    }

    fn wants_tunnel(&self) -> bool {
        self.target.starts_with(TUNNELS) && !self.header("upgrade").is_empty()
    }
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let recorder = Self { url, received: Arc::default() };
        let serving = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        recorder
    }

    /// Everything so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("nobody panics while holding it").clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut reader = Reader { stream: &mut stream, buffer: Vec::new() };
        loop {
            let Some(at) = self.head(&mut reader).await else { return };
            let read = self.body(&mut reader, at).await;
            if let Err(fault) = read {
                self.note(at, |request| request.fault = fault);
                return;
            }
            self.note(at, |request| request.whole = true);
            let request = self.received()[at].clone();
            let answer: &[u8] = match request.method.as_str() {
                _ if request.wants_tunnel() => {
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                }
                "HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            if reader.stream.write_all(answer).await.is_err() {
                return;
            }
            if request.wants_tunnel() {
                while reader.more().await {
                    let bytes = std::mem::take(&mut reader.buffer);
                    self.note(at, |request| request.tunnelled.extend_from_slice(&bytes));
                }
                return;
            }
        }
    }

    fn note(&self, at: usize, note: impl FnOnce(&mut Received)) {
        note(&mut self.received.lock().expect("nobody panics while holding it")[at]);
    }

    fn keep(&self, request: Received) -> usize {
        let mut received = self.received.lock().expect("nobody panics while holding it");
        received.push(request);
        received.len() - 1
    }

    /// Reads a head; where it is kept. `None` where there is none.
    async fn head(&self, reader: &mut Reader<'_>) -> Option<usize> {
        let end = loop {
            if let Some(end) = reader.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !reader.more().await {
                if !reader.buffer.is_empty() {
                    self.keep(Received {
                        raw: std::mem::take(&mut reader.buffer),
                        fault: Some("a head without an end".into()),
                        ..Received::default()
                    });
                }
                return None;
            }
        };
        let raw: Vec<u8> = reader.buffer.drain(..end).collect();
        let parsed = parse_head(&raw);
        let faulty = parsed.is_err();
        let request = parsed.unwrap_or_else(|fault| Received { raw, fault: Some(fault), ..Received::default() });
        let expects = request.header("expect") == ["100-continue"];
        let at = self.keep(request);
        if faulty || (expects && reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err()) {
            return None;
        }
        Some(at)
    }

    /// Reads the body of the request at `at`. `Err(None)`: it broke off.
    async fn body(&self, reader: &mut Reader<'_>, at: usize) -> Result<(), Option<String>> {
        let request = self.received()[at].clone();
        match (&request.header("content-length")[..], &request.header("transfer-encoding")[..]) {
            ([], []) => Ok(()),
            ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse().map_err(|e| Some(format!("Content-Length {length}: {e}")))?;
                let bytes = reader.exactly(length).await.ok_or(None)?;
                self.note(at, |request| {
                    request.raw.extend_from_slice(&bytes);
                    request.body = bytes;
                });
                Ok(())
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => self.chunks(reader, at).await,
            (lengths, codings) => Err(Some(format!("lengths {lengths:?} and codings {codings:?}"))),
        }
    }

    async fn chunks(&self, reader: &mut Reader<'_>, at: usize) -> Result<(), Option<String>> {
        loop {
            let line = reader.line().await.ok_or(None)?;
            self.note(at, |request| request.raw.extend_from_slice(&line));
            let digits = line.strip_suffix(b"\r\n").unwrap_or_default();
            let sound = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
            let size =
                std::str::from_utf8(digits).ok().filter(|_| sound).and_then(|digits| usize::from_str_radix(digits, 16).ok());
            let Some(size) = size else { return Err(Some(format!("a chunk of size {}", line.escape_ascii()))) };
            if size == 0 {
                break;
            }
            let chunk = reader.exactly(size + 2).await.ok_or(None)?;
            self.note(at, |request| {
                request.raw.extend_from_slice(&chunk);
                request.body.extend_from_slice(&chunk[..size]);
            });
            if !chunk.ends_with(b"\r\n") {
                return Err(Some("a chunk without its end".into()));
            }
        }
        loop {
            let line = reader.line().await.ok_or(None)?;
            self.note(at, |request| request.raw.extend_from_slice(&line));
            if line == b"\r\n" {
                return Ok(());
            }
            let trailer = parse_header(line.strip_suffix(b"\r\n").unwrap_or(&line)).map_err(Some)?;
            self.note(at, |request| request.trailers.push(trailer));
        }
    }
}

struct Reader<'s> {
    stream: &'s mut TcpStream,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.more().await {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    /// A line with its end.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                return Some(self.buffer.drain(..=end).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }
}

fn parse_head(raw: &[u8]) -> Result<Received, String> {
    let head = raw.strip_suffix(b"\r\n\r\n").ok_or("a head without an end")?;
    let mut lines = head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // The last line has lost its end above.
    let ends = head.iter().filter(|&&byte| byte == b'\n').count();
    if head.windows(2).filter(|window| window == b"\r\n").count() != ends {
        return Err("a line that ends without a carriage return".into());
    }
    let line = lines.next().unwrap_or_default();
    let words: Vec<_> = line.split(|&byte| byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = words[..] else { return Err(format!("the request line {}", line.escape_ascii())) };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(format!("the request line {}", line.escape_ascii()));
    }
    let headers = lines.map(parse_header).collect::<Result<_, _>>()?;
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    Ok(Received {
        raw: raw.to_vec(),
        method: text(method),
        target: text(target).replace("\\'", "'"),
        headers,
        ..Received::default()
    })
}

fn parse_header(line: &[u8]) -> Result<(String, String), String> {
    let fault = || format!("the header line {}", line.escape_ascii());
    let colon = line.iter().position(|&byte| byte == b':').ok_or_else(fault)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if !is_token(name) || value.iter().any(|&byte| byte == 0x7f || (byte < b' ' && byte != b'\t')) {
        return Err(fault());
    }
    Ok((String::from_utf8_lossy(name).to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned()))
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}
