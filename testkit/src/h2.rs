//! HTTP/2 frame by frame (RFC 9113), written by hand so that they can be wrong: no state, no flow control, header
//! blocks of literals only. Read just well enough to see what a server has answered.

use std::io::{self, Read};

/// What a connection begins with, before its SETTINGS (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

/// GOAWAY's code for a client that asks too much (RFC 9113, 7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// Payload bytes that a server takes in one frame unless it says otherwise.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A frame's bytes.
///
/// # Panics
/// Where the payload does not fit into 24 bits of length.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).ok().filter(|&n| n < 1 << 24).expect("a length of 24 bits");
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend_from_slice(&length.to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// One setting, as SETTINGS lists it.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// The preface and SETTINGS by which a server indexes nothing in what it answers.
pub fn beginning() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &setting(1, 0))].concat()
}

/// A field as a literal that is not indexed, without Huffman's code (RFC 7541, 6.2.2).
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// Several of them.
pub fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    all.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

/// A string's length, as an integer with a prefix of seven bits, and its bytes (RFC 7541, 5).
pub fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 4);
    if text.len() < 0x7f {
        bytes.push(u8::try_from(text.len()).unwrap_or(0));
    } else {
        bytes.push(0x7f);
        let mut rest = text.len() - 0x7f;
        while rest >= 0x80 {
            bytes.push(u8::try_from(rest % 0x80).unwrap_or(0) | 0x80);
            rest /= 0x80;
        }
        bytes.push(u8::try_from(rest).unwrap_or(0));
    }
    bytes.extend_from_slice(text);
    bytes
}

/// Takes a whole frame off the front of what has been read.
pub fn take(buffer: &mut Vec<u8>) -> Option<Frame> {
    let head: [u8; 9] = buffer.get(..9)?.try_into().ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = buffer.get(9..9 + length)?.to_vec();
    buffer.drain(..9 + length);
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// Reads frames until there is one that `wanted` accepts; `None` where the connection ends before.
///
/// # Errors
/// What reading fails with, a timeout for one.
pub fn read_until(from: &mut impl Read, buffer: &mut Vec<u8>, wanted: impl Fn(&Frame) -> bool) -> io::Result<Option<Frame>> {
    let mut chunk = [0; 16 * 1024];
    loop {
        while let Some(frame) = take(buffer) {
            if wanted(&frame) {
                return Ok(Some(frame));
            }
        }
        match from.read(&mut chunk)? {
            0 => return Ok(None),
            n => buffer.extend_from_slice(&chunk[..n]),
        }
    }
}

impl Frame {
    /// What an answer's first header block says; it comes first there, and is never from a dynamic table where
    /// [`beginning`] was sent.
    pub fn status(&self) -> Option<u16> {
        let mut block = &self.payload[..];
        // Changes of a table's size.
        while let [0x20..=0x3f, rest @ ..] = block {
            block = rest;
        }
        match block {
            [indexed @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
            [0x08 | 0x18 | 0x48, length, rest @ ..] => {
                let text = rest.get(..usize::from(length & 0x7f))?;
                let digits = if length & 0x80 == 0 { String::from_utf8(text.to_vec()).ok()? } else { huffman_digits(text) };
                digits.parse().ok()
            }
            _ => None,
        }
    }

    /// What GOAWAY or RST_STREAM names as the reason.
    pub fn code(&self) -> Option<u32> {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }
}

/// Digits in Huffman's code of RFC 7541, appendix B: 0 to 2 have five bits, 3 to 9 have six.
fn huffman_digits(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).map(|byte| usize::from(byte >> (7 - at % 8) & 1));
    let number = |at: usize, n: usize| (at..at + n).try_fold(0, |number, at| bit(at).map(|bit| number << 1 | bit));
    let (mut at, mut digits) = (0, String::new());
    loop {
        let (digit, length) = match (number(at, 5), number(at, 6)) {
            (Some(n @ 0..=2), _) => (n, 5),
            (_, Some(n @ 25..=31)) => (n - 22, 6),
            _ => return digits,
        };
        digits.extend(char::from_digit(u32::try_from(digit).unwrap_or(0), 10));
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let mut bytes = [frame(PING, ACK, 0, &[7; 8]), vec![0, 0]].concat();
        let frame = take(&mut bytes);
        assert_eq!(frame, Some(Frame { kind: PING, flags: ACK, stream: 0, payload: vec![7; 8] }));
        assert_eq!((take(&mut bytes), bytes.len()), (None, 2));
    }

    #[test]
    fn a_status_is_read_however_it_is_coded() {
        let status = |payload: &[u8]| Frame { kind: HEADERS, flags: 0, stream: 1, payload: payload.to_vec() }.status();
        assert_eq!((status(&[0x20, 0x88]), status(&[0x8c]), status(b"\x08\x03429")), (Some(200), Some(400), Some(429)));
        // "302", the example of RFC 7541, C.6.1.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
    }

    #[test]
    fn a_long_string_has_a_long_length() {
        assert_eq!(string(&[b'a'; 0x7f])[..2], [0x7f, 0]);
        assert_eq!(string(&[b'a'; 0x7f + 300])[..3], [0x7f, 0xac, 2]);
    }
}
