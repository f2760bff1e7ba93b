//! The host a request is for: a name or an address, in lower case, and the port beside it.

use std::borrow::Cow;

/// Bytes of a host without its port at most (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// A host in its one spelling. IPv6 keeps its brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host<'r> {
    pub(super) name: Cow<'r, str>,
    port: Option<&'r [u8]>,
}

/// `name`, `name:port` or `[v6]:port`, as in a Host header or a target's authority.
pub(super) fn parse(raw: &[u8]) -> Result<Host<'_>, &'static str> {
    const REFUSED: &str = "Host that is not a name or address with a port";
    let (name, port) = match raw.strip_prefix(b"[") {
        Some(inside) => {
            let end = 2 + inside.iter().position(|&byte| byte == b']').ok_or(REFUSED)?;
            let address = &raw[1..end - 1];
            if !address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
                return Err(REFUSED);
            }
            (&raw[..end], &raw[end..])
        }
        None => {
            let end = raw.iter().position(|&byte| byte == b':').unwrap_or(raw.len());
            let name = &raw[..end];
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
                return Err(REFUSED);
            }
            // `example.com.` is the same name, written absolutely.
            (name.strip_suffix(b".").filter(|name| !name.is_empty()).unwrap_or(name), &raw[end..])
        }
    };
    let port = match port {
        [] => None,
        [b':', digits @ ..] if is_port(digits) => Some(digits),
        _ => return Err(REFUSED),
    };
    // Empty labels: one resolver drops them, another does not.
    let labels = name.is_empty() || name.split(|&byte| byte == b'.').all(|label| !label.is_empty());
    if name.len() > HOST_BYTES_MAX || !labels {
        return Err(REFUSED);
    }
    let name = std::str::from_utf8(name).map_err(|_| REFUSED)?;
    let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(Host { name: if lower { name.into() } else { name.to_ascii_lowercase().into() }, port })
}

fn is_port(digits: &[u8]) -> bool {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) && text.parse::<u16>().is_ok()
}
