//! Retry-After (RFC 9110, 10.2.3): seconds, or a date.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header::RETRY_AFTER};

/// Longer waits are taken for this one.
const WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long from `now` the receiver asks to be left alone; `None` where it does not, or not in words that are known.
pub(in crate::egress) fn read(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than count are a very long time.
        text.parse().map_or(WAIT_MAX, Duration::from_secs)
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_receiver_says_how_long_in_seconds_or_until_when() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_717);
        for (text, wait_s) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:47:37 GMT", Some(0)),
            ("999999999999999999999999", Some(7 * 24 * 3600)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(7 * 24 * 3600)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(read(&headers, now), wait_s.map(Duration::from_secs), "{text}");
        }
        assert_eq!(read(&HeaderMap::new(), now), None);
    }
}
