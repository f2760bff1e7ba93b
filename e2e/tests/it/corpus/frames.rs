//! HTTP/2 for the corpus: a case's frames as they stand in its file, sent as they are written, and what comes back.

use std::time::Duration;

use clearway_testkit::h2::{self, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, beginning, field, frame, take};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::client::{Answer, Heard};

const PATIENCE: Duration = Duration::from_secs(8);

/// Bytes of the frames that `text` lists, once everything between braces has been put in. `unescape` reads a payload.
pub(crate) fn bytes(text: &str, unescape: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut all = beginning();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        let (kind, stream) = (words.next().unwrap_or_default(), words.next().and_then(|id| id.parse().ok()));
        let stream: u32 = stream.unwrap_or_else(|| panic!("a frame is `KIND STREAM FLAGS`: {line}"));
        let kind = kind_of(kind);
        let mut flags = if matches!(kind, HEADERS | h2::CONTINUATION | h2::PUSH_PROMISE) { END_HEADERS } else { 0 };
        for word in words {
            match word {
                "end" => flags |= END_STREAM,
                "more" => flags &= !END_HEADERS,
                _ => panic!("what is the flag {word}?"),
            }
        }
        let mut payload = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            let line = line.trim_start();
            match line.strip_prefix("@ ") {
                Some(asked) => payload.extend(asked_for(asked)),
                None if matches!(kind, HEADERS | h2::CONTINUATION) => payload.extend(field_of(line, &unescape)),
                None => payload.extend(unescape(line)),
            }
        }
        all.extend(frame(kind, flags, stream, &payload));
    }
    all
}

/// `METHOD PATH`, as an ordinary client asks for it.
fn asked_for(line: &str) -> Vec<u8> {
    let (method, path) = line.split_once(' ').unwrap_or_else(|| panic!("`@ METHOD PATH`: {line}"));
    h2::fields(&[(":method", method), (":scheme", "http"), (":authority", "gateway.test"), (":path", path)])
}

/// `name: value`; the colon that a pseudo-header begins with is of its name.
fn field_of(line: &str, unescape: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let at = 1 + line[1..].find(':').unwrap_or_else(|| panic!("a field is `name: value`: {line}"));
    let (name, value) = (&line[..at], &line[at + 1..]);
    field(&unescape(name), &unescape(value.strip_prefix(' ').unwrap_or(value)))
}

fn kind_of(word: &str) -> u8 {
    match word {
        "data" => DATA,
        "headers" => HEADERS,
        "priority" => h2::PRIORITY,
        "reset" => RST_STREAM,
        "settings" => h2::SETTINGS,
        "push" => h2::PUSH_PROMISE,
        "ping" => h2::PING,
        "window" => h2::WINDOW_UPDATE,
        "continuation" => h2::CONTINUATION,
        _ => word.parse().unwrap_or_else(|_| panic!("what is a frame of kind {word}?")),
    }
}

/// Sends the frames and reads until `wanted` streams have been answered or reset, or the connection ends.
pub(crate) async fn talk(address: &str, bytes: Vec<u8>, wanted: usize) -> Heard {
    let mut heard = Heard::default();
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(e) => {
            heard.fault = Some(format!("cannot connect: {e}"));
            return heard;
        }
    };
    let (mut reading, mut writing) = stream.split();
    let exchange = async {
        // A gateway may hang up in the middle, and is right to.
        let (_, ()) = tokio::join!(writing.write_all(&bytes), listen(&mut reading, &mut heard, wanted));
    };
    if timeout(PATIENCE, exchange).await.is_err() {
        heard.fault = Some(format!("no end within {PATIENCE:?}"));
    }
    heard
}

async fn listen(reading: &mut (impl AsyncReadExt + Unpin), heard: &mut Heard, wanted: usize) {
    let (mut buffer, mut open, mut over) = (Vec::new(), Vec::<(u32, Answer)>::new(), 0);
    while over < wanted {
        while let Some(frame) = take(&mut buffer) {
            let at = open.iter().position(|(id, _)| *id == frame.stream);
            match (frame.kind, at) {
                (HEADERS, None) => match frame.status() {
                    Some(status) if status >= 200 => open.push((frame.stream, Answer::by_h2(status))),
                    Some(_) => {}
                    None => heard.fault = Some(format!("an answer without a status: {frame:?}")),
                },
                (DATA, Some(at)) => open[at].1.body.extend_from_slice(&frame.payload),
                (RST_STREAM, None) => over += 1,
                (GOAWAY, _) if frame.code() != Some(0) => return,
                _ => {}
            }
            let at = open.iter().position(|(id, _)| *id == frame.stream);
            let ended = frame.kind == RST_STREAM || (matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0);
            if let Some(at) = at.filter(|_| ended) {
                heard.answers.push(open.remove(at).1);
                over += 1;
            }
        }
        if over < wanted && !matches!(reading.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}
