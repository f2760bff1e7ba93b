//! An upstream's answer: its head read, the end of its body known, and what the client is sent begun.

use std::mem::MaybeUninit;

use http::Method;
use httparse::Status;

use super::{
    super::{body::Body, exchange::Exchange},
    head::{has_token, number},
    write::{self, Changes},
};

/// Bytes of an upstream's head, its empty line included, at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Header lines of it at most.
const LINES_MAX: usize = 128;

/// The answer cannot be understood, or can be in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer that is not HTTP/1.1")]
pub(super) struct Malformed;

/// A head that has been passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// Bytes of it.
    pub(super) head_bytes: usize,
    pub(super) status: u16,
    /// What follows it.
    pub(super) body: Body,
    /// Whether the body, which ends with its connection, is put into chunks for the client.
    pub(super) chunked: bool,
    /// Whether the upstream keeps its connection.
    pub(super) keeps: bool,
}

impl Begun {
    /// Whether another head follows.
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }
}

/// A head that has been read.
#[derive(Debug)]
pub(super) struct Read<'a, 'h, 'b> {
    pub(super) answer: &'a httparse::Response<'h, 'b>,
    /// Its Connection headers, by which it may take back others.
    pub(super) connection: &'a [&'b [u8]],
    /// Whether it ends with the connection.
    pub(super) until_close: bool,
}

/// Reads a head off `bytes` and appends to `to` what the client is sent in its place. `None` while it is
/// not complete. `keep`: whether the client's connection is kept.
pub(super) fn begin(
    bytes: &[u8],
    to: &mut Vec<u8>,
    exchange: &Exchange,
    method: &Method,
    keep: bool,
) -> Result<Option<Begun>, Malformed> {
    read(bytes, method, |read| {
        let changes = Changes { connection: read.connection, keep, chunked: read.until_close };
        match read.answer.code {
            Some(..200) => write::interim(to, read.answer, &changes),
            _ => write::answer(to, read.answer, &changes, exchange),
        }
    })
}

/// Reads a head off `bytes`, and hands it to `pass` if it is complete.
pub(super) fn read(bytes: &[u8], method: &Method, pass: impl FnOnce(&Read<'_, '_, '_>)) -> Result<Option<Begun>, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; LINES_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let head_bytes = match parser.parse_response_with_uninit_headers(&mut answer, bytes, &mut headers) {
        Ok(Status::Complete(n)) => n,
        Ok(Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        _ => return Err(Malformed),
    };
    let (mut lengths, mut codings) = (Single::None, Single::None);
    let mut connection: [&[u8]; 4] = [b""; 4];
    let mut connections = 0;
    for line in &*answer.headers {
        match line.name.len() {
            10 if line.name.eq_ignore_ascii_case("connection") => {
                *connection.get_mut(connections).ok_or(Malformed)? = line.value;
                connections += 1;
            }
            14 if line.name.eq_ignore_ascii_case("content-length") => lengths = lengths.and(line.value),
            17 if line.name.eq_ignore_ascii_case("transfer-encoding") => codings = codings.and(line.value),
            _ => {}
        }
    }
    let connection = &connection[..connections];
    let is_1_1 = answer.version == Some(1);
    let status = answer.code.filter(|status| (100..1000).contains(status)).ok_or(Malformed)?;
    let framed = match (codings, lengths) {
        (Single::None, Single::None) => Body::UntilClose,
        (Single::None, Single::One(digits)) => Body::Length(number(digits).ok_or(Malformed)?),
        (Single::One(coding), Single::None) if is_1_1 && coding.eq_ignore_ascii_case(b"chunked") => Body::chunked(),
        _ => return Err(Malformed),
    };
    // Nobody has asked for another protocol.
    if status < 200 && (status == 101 || !is_1_1) {
        return Err(Malformed);
    }
    let bodiless = *method == Method::HEAD || status < 200 || matches!(status, 204 | 304);
    let body = if bodiless { Body::NONE } else { framed };
    let says = |token: &[u8]| connection.iter().any(|value| has_token(value, token));
    let until_close = body == Body::UntilClose;
    let keeps = status < 200 || !until_close && if is_1_1 { !says(b"close") } else { says(b"keep-alive") };
    pass(&Read { answer: &answer, connection, until_close });
    Ok(Some(Begun { head_bytes, status, body, chunked: until_close, keeps }))
}

/// A header that may stand in an answer once.
#[derive(Debug, Clone, Copy)]
enum Single<'v> {
    None,
    One(&'v [u8]),
    Several,
}

impl<'v> Single<'v> {
    fn and(self, value: &'v [u8]) -> Self {
        match self {
            Single::None => Single::One(value),
            Single::One(_) | Single::Several => Single::Several,
        }
    }
}
