//! A request's path in its one spelling.
//!
//! What two readers could take for different paths is refused: dot segments, empty segments, encoded
//! separators and controls, an escape of an escape of those. What is left is written one way:
//! unreserved characters plain, everything else as an upper-case escape. So the path that was
//! matched, charged and logged is the path that the upstream reads.

use std::borrow::Cow;

/// What a raw byte of a path may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Itself, in one spelling only.
    Plain,
    Slash,
    Dot,
    /// Begins the parameters of a segment.
    Semicolon,
    Percent,
    /// Not of RFC 3986, but sent by clients: taken as its escape.
    Escaped,
    Refused,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Refused; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'~' => Class::Plain,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => Class::Plain,
            b'/' => Class::Slash,
            b'.' => Class::Dot,
            b';' => Class::Semicolon,
            b'%' => Class::Percent,
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Escaped,
            _ => Class::Refused,
        };
        byte += 1;
    }
    classes
};

/// The path in its one spelling, or what is ambiguous about it. Borrows where it is spelled that way already.
pub(crate) fn normalise(raw: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    if raw.first() != Some(&b'/') {
        return Err("the target is not a path");
    }
    let mut before = b' ';
    for (at, &byte) in raw.iter().enumerate() {
        match CLASSES[usize::from(byte)] {
            Class::Plain => {}
            Class::Slash if before == b'/' => return Err("empty path segment"),
            Class::Slash => {}
            Class::Dot if before == b'/' => refuse_dots(&raw[at..])?,
            Class::Dot => {}
            Class::Semicolon if before == b'/' => refuse_nameless(&raw[at..])?,
            Class::Semicolon => {}
            Class::Percent | Class::Escaped => return respell(raw).map(Cow::Owned),
            Class::Refused => return Err("raw byte that a path may not hold"),
        }
        before = byte;
    }
    // Every byte was one of the ASCII classes.
    std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| "raw byte that a path may not hold")
}

/// A segment's bytes as an upstream would read them: escapes decoded, parameters (`;v=1`) cut off.
pub(crate) fn segment_as_read(segment: &str) -> Cow<'_, [u8]> {
    let mut read: Cow<'_, [u8]> =
        if segment.contains('%') { decode(segment.as_bytes()).into() } else { segment.as_bytes().into() };
    if let Some(at) = read.iter().position(|&byte| byte == b';') {
        match &mut read {
            Cow::Borrowed(bytes) => *bytes = &bytes[..at],
            Cow::Owned(bytes) => bytes.truncate(at),
        }
    }
    read
}

fn respell(raw: &[u8]) -> Result<String, &'static str> {
    let mut path = String::with_capacity(raw.len() + 16);
    let mut rest = raw.iter();
    let mut beyond_ascii = false;
    while let Some(&byte) = rest.next() {
        match CLASSES[usize::from(byte)] {
            Class::Plain | Class::Slash | Class::Dot | Class::Semicolon => path.push(char::from(byte)),
            Class::Escaped => push_escape(&mut path, byte),
            Class::Refused => return Err("raw byte that a path may not hold"),
            Class::Percent => {
                let (high, low) = (rest.next().and_then(hex_value), rest.next().and_then(hex_value));
                let (Some(high), Some(low)) = (high, low) else { return Err("broken percent escape") };
                match high << 4 | low {
                    0..=0x1f | 0x7f => return Err("encoded control character"),
                    b'/' | b'\\' => return Err("encoded path separator"),
                    plain @ (b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~') => path.push(char::from(plain)),
                    other => {
                        beyond_ascii |= !other.is_ascii();
                        push_escape(&mut path, other);
                    }
                }
            }
        }
    }
    // On the result, since an escape may stand for a part of what is looked for here.
    refuse_double_escapes(path.as_bytes())?;
    for (at, _) in path.match_indices('/') {
        refuse_dots(&path.as_bytes()[at + 1..])?;
        refuse_nameless(&path.as_bytes()[at + 1..])?;
    }
    if path.contains("//") {
        return Err("empty path segment");
    }
    // Overlong forms such as %C0%AF are how a slash hides from whoever does not decode them.
    if beyond_ascii && std::str::from_utf8(&decode(path.as_bytes())).is_err() {
        return Err("escapes that are not UTF-8");
    }
    Ok(path)
}

/// `.` and `..`, also with parameters behind: some servers cut `..;x` down to `..`.
fn refuse_dots(from_segment: &[u8]) -> Result<(), &'static str> {
    let dots = from_segment.iter().take_while(|&&byte| byte == b'.').count();
    let behind = &from_segment[dots..];
    let ends = matches!(behind, [] | [b'/' | b';', ..] | [b'%', b'3', b'B' | b'b', ..]);
    if (1..=2).contains(&dots) && ends { Err("dot segment") } else { Ok(()) }
}

/// Parameters of no name, with more of the path behind: `/;x/admin` is `//admin` to who cuts them off.
fn refuse_nameless(from_segment: &[u8]) -> Result<(), &'static str> {
    let nameless = matches!(from_segment, [b';', ..] | [b'%', b'3', b'B' | b'b', ..]);
    if nameless && from_segment.contains(&b'/') { Err("empty path segment") } else { Ok(()) }
}

/// An escape of an escape of what a path is made of, or of a control: one path once decoded, another twice
/// decoded. What would have to stay escaped, such as a space, may be escaped again.
fn refuse_double_escapes(path: &[u8]) -> Result<(), &'static str> {
    for at in memchr_all(b'%', path) {
        let Some(mut behind) = path[at..].strip_prefix(b"%25") else { continue };
        while let Some(deeper) = behind.strip_prefix(b"25") {
            behind = deeper;
        }
        if let [high, low, ..] = behind
            && let (Some(high), Some(low)) = (hex_value(high), hex_value(low))
            && is_structure(high << 4 | low)
        {
            return Err("escape of an escape");
        }
    }
    Ok(())
}

/// Unreserved characters, separators and controls.
fn is_structure(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte.is_ascii_control() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\' | b';')
}

fn memchr_all(wanted: u8, bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.iter().enumerate().filter(move |&(_, &byte)| byte == wanted).map(|(at, _)| at)
}

/// Bytes behind the escapes of a path that [`normalise`] has passed.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, behind)) = rest.split_first() {
        match (first, behind) {
            (b'%', [high, low, after @ ..]) => {
                bytes.push(hex_value(high).unwrap_or(0) << 4 | hex_value(low).unwrap_or(0));
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    bytes
}

fn hex_value(digit: &u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn push_escape(path: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    path.push('%');
    path.push(char::from(DIGITS[usize::from(byte >> 4)]));
    path.push(char::from(DIGITS[usize::from(byte & 15)]));
}
