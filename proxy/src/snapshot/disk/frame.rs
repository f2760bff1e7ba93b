//! Frames: length and CRC-32 in front of each message, and a header that names the file.

use std::io::{self, Read, Write};

use clearway_config::sync::v1::{self, from_control::Message};
use prost::Message as _;

/// Greater than any message that control sends.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) const BASE_MAGIC: &[u8; 8] = b"CLWBASE1";
pub(super) const LOG_MAGIC: &[u8; 8] = b"CLWLOGS1";

/// What stands first in both files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Ties a log to its base.
    pub(super) base_id: Vec<u8>,
    /// Who wrote it: another version may have left out what it did not understand.
    pub(super) version: String,
}

impl Header {
    pub(super) fn new() -> Self {
        let id: [u8; 16] = rand::random();
        Self { base_id: id.to_vec(), version: env!("CARGO_PKG_VERSION").into() }
    }

    pub(super) fn write(&self, magic: &[u8; 8], to: &mut impl Write) -> io::Result<()> {
        to.write_all(magic)?;
        let header = v1::Hello { nonce: self.base_id.clone(), version: self.version.clone(), ..Default::default() };
        write(&header.encode_to_vec(), to)
    }

    /// The header and the bytes it takes.
    pub(super) fn read(magic: &[u8; 8], from: &mut impl Read) -> Result<(Self, u64), Damage> {
        let mut found = [0; 8];
        from.read_exact(&mut found).map_err(|_| Damage::Torn)?;
        if found != *magic {
            return Err(Damage::Format);
        }
        let payload = read(from)?.ok_or(Damage::Torn)?;
        let bytes = (8 + 8 + payload.len()) as u64;
        let hello = v1::Hello::decode(&*payload).map_err(|_| Damage::Format)?;
        Ok((Self { base_id: hello.nonce, version: hello.version }, bytes))
    }
}

/// Why the rest of a file cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it ends in the middle")]
    Torn,
    #[error("a checksum does not match")]
    Checksum,
    #[error("its content is not understood")]
    Format,
}

pub(super) fn write_message(message: Message, to: &mut impl Write) -> io::Result<u64> {
    let payload = v1::FromControl { message: Some(message) }.encode_to_vec();
    write(&payload, to)?;
    Ok(8 + payload.len() as u64)
}

/// The next message and the bytes it takes; `None` at the file's end.
pub(super) fn read_message(from: &mut impl Read) -> Result<Option<(Message, u64)>, Damage> {
    let Some(payload) = read(from)? else { return Ok(None) };
    let message = v1::FromControl::decode(&*payload).ok().and_then(|m| m.message).ok_or(Damage::Format)?;
    Ok(Some((message, 8 + payload.len() as u64)))
}

fn write(payload: &[u8], to: &mut impl Write) -> io::Result<()> {
    let length = u32::try_from(payload.len()).ok().filter(|&n| n as usize <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "message too large for a frame"))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&crc32fast::hash(payload).to_le_bytes())?;
    to.write_all(payload)
}

fn read(from: &mut impl Read) -> Result<Option<Vec<u8>>, Damage> {
    let mut head = [0; 8];
    match fill(from, &mut head)? {
        0 => return Ok(None),
        8 => {}
        _ => return Err(Damage::Torn),
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Damage::Format);
    }
    let mut payload = vec![0; length];
    if fill(from, &mut payload)? < length {
        return Err(Damage::Torn);
    }
    // Zeroes are what a file has where a crash came between its growing and its writing; their
    // checksum is zero too.
    if length == 0 || crc32fast::hash(&payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Damage::Checksum);
    }
    Ok(Some(payload))
}

/// Reads as much as there is. An error counts as the end: what cannot be read is as good as lost.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Damage> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Damage::Torn),
        }
    }
    Ok(filled)
}
