//! Where a body ends (RFC 9112, 6 and 7): followed byte by byte, without holding any of it.
//!
//! Nothing is decoded. Chunks are passed on as they came; their framing is checked strictly, because
//! whoever reads them next must see the same end. Trailers are dropped.

/// Bytes of a chunk's size line at most, extensions included.
const SIZE_LINE_MAX: usize = 256;
/// Digits of a chunk's size at most: 60 bits.
const SIZE_DIGITS_MAX: usize = 15;
/// Bytes of all trailers at most.
const TRAILERS_MAX: usize = 16 * 1024;

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunks),
    /// To the end of the connection.
    UntilClose,
}

/// Where in its chunks a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of this line, or of all trailers, so far.
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size {
        digits: usize,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// Behind the last chunk, before the first byte of a trailer.
    LastLine,
    LastLf,
    Trailer,
    TrailerLf,
    TrailerStart,
    TrailersLf,
    Over,
}

/// How far some bytes reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Advance {
    /// So many of the bytes are the body's, framing included; what is left over is not.
    pub(super) taken: usize,
    /// So many of those, from the first on, are to be passed on.
    pub(super) passed: usize,
    /// Bytes without framing.
    pub(super) payload: u64,
    /// To be written behind them, in place of what was dropped.
    pub(super) tail: &'static [u8],
}

/// What some bytes begin with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Piece {
    /// So many bytes of framing,
    pub(super) framing: usize,
    /// and so many of the body itself behind them.
    pub(super) payload: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunks that are not framed as HTTP frames them")]
pub(super) struct Malformed;

impl Body {
    pub(super) const NONE: Self = Self::Length(0);

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks { at: At::Size { digits: 0, size: 0 }, line: 0 })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunks { at: At::Over, .. }))
    }

    /// Takes what `bytes` has of this body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Malformed> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(Advance { taken, passed: taken, payload: taken as u64, tail: b"" })
            }
            Self::Chunked(chunks) => chunks.advance(bytes),
            Self::UntilClose => Ok(Advance { taken: bytes.len(), passed: bytes.len(), payload: bytes.len() as u64, tail: b"" }),
        }
    }

    /// Takes the first piece of this body off `bytes`, for whoever frames it differently. Nothing is one only where
    /// there are no bytes, or they are another's.
    pub(super) fn piece(&mut self, bytes: &[u8]) -> Result<Piece, Malformed> {
        match self {
            Self::Length(_) | Self::UntilClose => Ok(Piece { framing: 0, payload: self.advance(bytes)?.taken }),
            Self::Chunked(chunks) => chunks.piece(bytes),
        }
    }
}

impl Chunks {
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Malformed> {
        let mut advance = Advance::default();
        while self.at != At::Over && advance.taken < bytes.len() {
            if let At::Data { left } = self.at {
                let n = self.data(left, bytes.len() - advance.taken);
                advance.taken += n;
                advance.passed = advance.taken;
                advance.payload += n as u64;
                continue;
            }
            let was = self.at;
            self.step(bytes[advance.taken])?;
            advance.taken += 1;
            if was == At::TrailersLf {
                advance.tail = b"\r\n";
            } else if !self.at.is_dropped() {
                advance.passed = advance.taken;
            }
        }
        Ok(advance)
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<Piece, Malformed> {
        let mut framing = 0;
        while self.at != At::Over && framing < bytes.len() {
            if let At::Data { left } = self.at {
                return Ok(Piece { framing, payload: self.data(left, bytes.len() - framing) });
            }
            self.step(bytes[framing])?;
            framing += 1;
        }
        Ok(Piece { framing, payload: 0 })
    }

    /// Takes as much of a chunk's data, of which `left` bytes are still to come, as is `here`.
    fn data(&mut self, left: u64, here: usize) -> usize {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(here);
        let left = left - n as u64;
        self.at = if left == 0 { At::DataCr } else { At::Data { left } };
        n
    }

    /// Takes a byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.at = self.at.after(byte)?;
        self.line = if self.at.begins() { 0 } else { self.line + 1 };
        if self.line > if self.at.is_dropped() { TRAILERS_MAX } else { SIZE_LINE_MAX } { Err(Malformed) } else { Ok(()) }
    }
}

impl At {
    /// Whether a new line, or data, begins with the next byte.
    fn begins(self) -> bool {
        matches!(self, At::Size { digits: 0, .. } | At::Data { .. } | At::LastLine)
    }

    /// Whether the byte that led here belongs to a trailer.
    fn is_dropped(self) -> bool {
        matches!(self, At::Trailer | At::TrailerLf | At::TrailerStart | At::TrailersLf)
    }

    /// The state behind one byte of framing.
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        let next = match (self, byte) {
            (At::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                let digit = u64::from((byte as char).to_digit(16).ok_or(Malformed)?);
                if digits == SIZE_DIGITS_MAX {
                    return Err(Malformed);
                }
                At::Size { digits: digits + 1, size: size << 4 | digit }
            }
            (At::Size { digits: 1.., size }, b'\r') | (At::Extension { size }, b'\r') => At::SizeEnd { size },
            (At::Size { digits: 1.., size }, b';' | b' ' | b'\t') => At::Extension { size },
            (At::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => At::Extension { size },
            (At::SizeEnd { size: 0 }, b'\n') => At::LastLine,
            (At::SizeEnd { size }, b'\n') => At::Data { left: size },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { digits: 0, size: 0 },
            (At::LastLine, b'\r') => At::LastLf,
            (At::TrailerStart, b'\r') => At::TrailersLf,
            (At::LastLf | At::TrailersLf, b'\n') => At::Over,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::LastLine | At::Trailer | At::TrailerStart, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer,
            _ => return Err(Malformed),
        };
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed on of `bytes`, and what is left over, read `step` bytes at a time.
    fn relayed(mut body: Body, bytes: &[u8], step: usize) -> Result<(Vec<u8>, u64, usize), Malformed> {
        let (mut passed, mut payload, mut at) = (Vec::new(), 0, 0);
        while at < bytes.len() && !body.is_over() {
            let piece = &bytes[at..(at + step).min(bytes.len())];
            let advance = body.advance(piece)?;
            passed.extend_from_slice(&piece[..advance.passed]);
            passed.extend_from_slice(advance.tail);
            (payload, at) = (payload + advance.payload, at + advance.taken);
        }
        assert!(body.is_over(), "{body:?}");
        Ok((passed, payload, bytes.len() - at))
    }

    #[test]
    fn chunks_end_where_they_end_however_they_arrive() {
        let sent = b"3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\nGET";
        for step in 1..sent.len() {
            let (passed, payload, left) = relayed(Body::chunked(), sent, step).unwrap();
            assert_eq!((passed.as_slice(), payload, left), (&sent[..sent.len() - 3], 13, 3), "{step}");
        }
    }

    #[test]
    fn trailers_are_dropped() {
        let sent = b"1\r\na\r\n0\r\nX-Request-Id: forged\r\nA: b\r\n\r\nGET";
        for step in 1..sent.len() {
            let (passed, _, left) = relayed(Body::chunked(), sent, step).unwrap();
            assert_eq!((passed.as_slice(), left), (&b"1\r\na\r\n0\r\n\r\n"[..], 3), "{step}");
        }
    }

    #[test]
    fn the_pieces_of_a_body_are_all_of_it_and_nothing_else() {
        let sent = b"3\r\nabc\r\n00A;x\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET";
        for step in 1..sent.len() {
            let (mut body, mut payload, mut at) = (Body::chunked(), Vec::new(), 0);
            while !body.is_over() {
                let here = &sent[at..(at + step).min(sent.len())];
                let piece = body.piece(here).unwrap();
                payload.extend_from_slice(&here[piece.framing..piece.framing + piece.payload]);
                at += piece.framing + piece.payload;
            }
            assert_eq!((payload.as_slice(), &sent[at..]), (&b"abc0123456789"[..], &b"GET"[..]), "{step}");
        }
        assert_eq!(Body::Length(2).piece(b"abc"), Ok(Piece { framing: 0, payload: 2 }));
        assert_eq!(Body::UntilClose.piece(b"abc"), Ok(Piece { framing: 0, payload: 3 }));
    }

    #[test]
    fn what_another_reader_could_take_for_another_end_is_refused() {
        let long = format!("1;{}\r\n", "x".repeat(SIZE_LINE_MAX));
        let trailers = format!("0\r\n{}", "A: b\r\n".repeat(TRAILERS_MAX / 6 + 1));
        for sent in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x1\r\n",
            "+1\r\n",
            "1\n",
            "1\ra",
            "1;\n",
            "1;\0\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\r0",
            "1234567890123456\r\n",
            "0\r\n\n",
            "0\r\nA\n",
            "0\r\nA\rb",
            &long,
            &trailers,
        ] {
            for step in [1, 3, sent.len()] {
                let mut body = Body::chunked();
                let refused = sent.as_bytes().chunks(step).any(|piece| body.advance(piece).is_err());
                assert!(refused, "{sent:?}");
            }
        }
    }

    #[test]
    fn a_length_takes_so_many_bytes_and_no_more() {
        assert!(Body::NONE.is_over());
        let mut body = Body::Length(5);
        assert_eq!(body.advance(b"abc").unwrap().taken, 3);
        assert_eq!((body.advance(b"defg").unwrap().taken, body.is_over()), (2, true));
        assert!(!Body::UntilClose.is_over());
    }
}
