//! A client that sends exact bytes and reads exact answers.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::upstream::DEADLINE;

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, v)| v.as_str());
        assert!(values.next().is_none(), "{name} is repeated in {:?}", self.headers);
        first
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The body without its chunks' framing.
    pub(crate) fn chunks(&self) -> Vec<u8> {
        let (mut rest, mut body) = (self.body.as_slice(), Vec::new());
        loop {
            let line = rest.windows(2).position(|w| w == b"\r\n").expect("a chunk's size");
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 2 + size + 2..];
        }
    }

    /// The envelope's error code, having checked the envelope.
    pub(crate) fn error(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"));
        assert_eq!((json["status"].as_str(), json["code"].as_u64()), (Some("error"), Some(u64::from(self.status))), "{json}");
        assert_eq!(json["id"].as_str(), self.header("x-request-id"), "{json}");
        assert_eq!(json["meta"]["trace_id"].as_str().map(str::len), Some(32), "{json}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        json["error"]["type"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends without minding that the other side may have closed.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn read(&mut self) -> Answer {
        self.read_answer_to("GET").expect("an answer")
    }

    pub(crate) fn read_head_only(&mut self) -> Answer {
        self.read_answer_to("HEAD").expect("an answer")
    }

    /// `None` where the connection ends without one.
    pub(crate) fn try_read(&mut self) -> Option<Answer> {
        self.read_answer_to("GET")
    }

    fn read_answer_to(&mut self, method: &str) -> Option<Answer> {
        let end = self.fill_until(|b| b.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4))?;
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<_> =
            lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return Some(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            let end = self.fill_until(|b| b.windows(5).position(|w| w == b"0\r\n\r\n").map(|at| at + 5))?;
            answer.body = self.buffer.drain(..end).collect();
        } else if let Some(length) = answer.header("content-length").map(|v| v.parse::<usize>().unwrap()) {
            self.fill_until(|b| (b.len() >= length).then_some(length));
            answer.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else {
            answer.body = self.read_to_end();
        }
        Some(answer)
    }

    /// Exactly so many bytes.
    pub(crate) fn read_bytes(&mut self, n: usize) -> Vec<u8> {
        self.fill_until(|b| (b.len() >= n).then_some(n)).expect("so many bytes");
        self.buffer.drain(..n).collect()
    }

    /// All until the connection ends.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffer);
        let _ = self.stream.read_to_end(&mut all);
        all
    }

    /// Waits for the end of the connection; false where it does not come.
    pub(crate) fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map_or_else(|e| e.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
    }

    /// Sends, and reads as many bytes; false where the connection has ended.
    pub(crate) fn echoes(&mut self, bytes: &[u8]) -> bool {
        self.try_send(bytes);
        let echoed = self.fill_until(|b| (b.len() >= bytes.len()).then_some(bytes.len()));
        echoed.is_some_and(|n| self.buffer.drain(..n).eq(bytes.iter().copied()))
    }

    /// Whether something has come, or the end; returns at once.
    pub(crate) fn peek(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        peeked.is_ok()
    }

    /// Closes both directions at once.
    pub(crate) fn leave(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn fill_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = end(&self.buffer) {
                return Some(end);
            }
            match self.stream.read(&mut chunk) {
                Ok(n @ 1..) => self.buffer.extend_from_slice(&chunk[..n]),
                _ => return None,
            }
        }
    }
}
