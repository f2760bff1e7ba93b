//! The frames of an HTTP/2 connection, looked at as they are read: whether they ask for something, or only make work.
//!
//! The `h2` crate bounds what floods cost in memory, and answers each of their frames. What is missing there is an
//! end: a client that sends SETTINGS, PING or empty DATA by the million (CVE-2019-9512, -9515, -9518) is served for as
//! long as it likes. So such frames are weighed against what is being done on the connection.

use std::time::Instant;

const HEAD_BYTES: usize = 9;
const PREFACE_BYTES: u32 = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// So many frames that ask for nothing are never too many.
const FREE: u64 = 8192;
/// And so many more for each second, each request, and each of so many bytes of answers.
const FREE_PER_SECOND: u64 = 100;
const FREE_PER_REQUEST: u64 = 64;
const BYTES_PER_FREE: u64 = 512;

#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Of the frame's payload, or of the preface.
    left: u32,
    idle: u64,
    requests: u64,
    answered_bytes: u64,
    began: Instant,
}

impl Frames {
    /// Of a connection before its preface.
    pub(super) fn new() -> Self {
        let head = [0; HEAD_BYTES];
        Self { head, head_bytes: 0, left: PREFACE_BYTES, idle: 0, requests: 0, answered_bytes: 0, began: Instant::now() }
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let n = bytes.len().min(self.left as usize);
                self.left -= u32::try_from(n).unwrap_or(self.left);
                bytes = &bytes[n..];
                continue;
            }
            let n = bytes.len().min(HEAD_BYTES - self.head_bytes);
            self.head[self.head_bytes..self.head_bytes + n].copy_from_slice(&bytes[..n]);
            self.head_bytes += n;
            bytes = &bytes[n..];
            if self.head_bytes == HEAD_BYTES {
                self.head_bytes = 0;
                self.begins();
            }
        }
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        self.answered_bytes += bytes as u64;
    }

    pub(super) fn is_flood(&self) -> bool {
        let earned = FREE + self.requests * FREE_PER_REQUEST + self.answered_bytes / BYTES_PER_FREE;
        // The clock is read only where it matters.
        self.idle > earned && self.idle > earned + self.began.elapsed().as_secs() * FREE_PER_SECOND
    }

    /// A frame's head has come.
    fn begins(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = u32::from_be_bytes([0, a, b, c]);
        match kind {
            HEADERS => self.requests += 1,
            DATA if self.left > 0 || flags & END_STREAM != 0 => {}
            _ => self.idle += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use clearway_testkit::h2::{self, END_HEADERS, PING, PREFACE, SETTINGS, frame};

    use super::*;

    fn read(frames: &[Vec<u8>], step: usize) -> Frames {
        let mut read = Frames::new();
        let bytes = [PREFACE.to_vec(), frames.concat()].concat();
        bytes.chunks(step).for_each(|piece| read.read(piece));
        read
    }

    #[test]
    fn frames_are_told_apart_however_they_arrive() {
        let sent = [
            frame(SETTINGS, 0, 0, &[0; 6]),
            frame(h2::HEADERS, END_HEADERS, 1, &[0x82; 300]),
            frame(h2::DATA, 0, 1, b"body"),
            frame(h2::DATA, 0, 1, b""),
            frame(h2::DATA, h2::END_STREAM, 1, b""),
            frame(PING, 0, 0, &[0; 8]),
        ];
        for step in [1, 7, 9, 1000] {
            let read = read(&sent, step);
            assert_eq!((read.requests, read.idle, read.is_flood()), (1, 3, false), "{step}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_a_flood_unless_something_is_done_beside_it() {
        let pings = [frame(PING, 0, 0, &[0; 8]).repeat(9000)];
        let mut idle = read(&pings, 4096);
        assert!(idle.is_flood());
        idle.wrote(1024 * 1024);
        assert!(!idle.is_flood(), "a client acknowledges what it downloads");
    }
}
