//! What Pingora's parser has smoothed over by the time a phase sees the request: read off the head as
//! it came.

/// The request target of a head; empty where there is none.
pub(super) fn target(head: &[u8]) -> &[u8] {
    let start = head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(head.len());
    let line = &head[start..];
    let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
    line.split(|&b| b == b' ').nth(1).unwrap_or_default()
}

/// Whether a head with Transfer-Encoding carries Content-Length too: the parser drops the latter and
/// says nothing, while a server in front of us may have believed it.
pub(super) fn has_content_length(head: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    head.split(|&b| b == b'\n').skip(1).any(|line| {
        let name = &line[..line.iter().position(|&b| b == b':').unwrap_or(0)];
        name.trim_ascii().eq_ignore_ascii_case(NAME)
    })
}

/// Whether a header is continued on the next line, or a line ends without a carriage return: other
/// servers see other headers there.
pub(super) fn has_odd_lines(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|end| {
        let (line, rest) = head.split_at(end);
        line.last() != Some(&b'\r') || matches!(rest.get(1), Some(b' ' | b'\t'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_what_stands_between_method_and_version() {
        assert_eq!(target(b"GET /a?b#c HTTP/1.1\r\nHost: x\r\n\r\n"), b"/a?b#c");
        assert_eq!(target(b"\r\nGET http://x/ HTTP/1.1\r\n\r\n"), b"http://x/");
        assert_eq!(target(b""), b"");
        assert_eq!(target(b"GET\r\n"), b"");
    }

    #[test]
    fn a_content_length_is_found_in_any_case_and_not_inside_a_value() {
        assert!(has_content_length(b"POST / HTTP/1.1\r\nhost: x\r\nCONTENT-Length : 4\r\n\r\n"));
        assert!(!has_content_length(b"POST / HTTP/1.1\r\nx: content-length: 4\r\n\r\n"));
    }

    #[test]
    fn continued_lines_and_bare_line_feeds_are_noticed() {
        assert!(!has_odd_lines(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n"));
        assert!(has_odd_lines(b"GET / HTTP/1.1\r\nHost: x\r\n continued\r\n\r\n"));
        assert!(has_odd_lines(b"GET / HTTP/1.1\nHost: x\r\n\r\n"));
        assert!(has_odd_lines(b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n"));
        assert!(has_odd_lines(b"GET / HTTP/1.1\r\nHost: x\r\n\n"), "the last line too");
    }
}
