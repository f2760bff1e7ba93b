//! Cache-Control (RFC 9111, 5.2), of requests and of answers. What cannot be read counts against keeping.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, PRAGMA},
};

/// Seconds beyond this are this (RFC 9111, 1.2.2).
pub(super) const SECONDS_MAX: u64 = 1 << 31;

/// What a Cache-Control says. Of a directive that is repeated the stricter counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    /// With names or without: what only some headers may not be used for is used for none.
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    /// Must-revalidate or proxy-revalidate.
    pub(super) must_revalidate: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

impl Directives {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            for directive in list(value.as_bytes()) {
                read.take(directive);
            }
        }
        // RFC 9111, 5.4: where there is nothing newer.
        if !headers.contains_key(CACHE_CONTROL) {
            let says = |value: &HeaderValue| list(value.as_bytes()).any(|word| word.eq_ignore_ascii_case(b"no-cache"));
            read.no_cache |= headers.get_all(PRAGMA).iter().any(says);
        }
        read
    }

    fn take(&mut self, directive: &[u8]) {
        let at = directive.iter().position(|&b| b == b'=');
        let (name, value) = at.map_or((directive, None), |at| (&directive[..at], Some(&directive[at + 1..])));
        let seconds = |held: Option<u64>| {
            let said = seconds(value.unwrap_or_default());
            Some(held.map_or(said, |held| held.min(said)))
        };
        match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"no-store" => self.no_store = true,
            b"no-cache" => self.no_cache = true,
            b"private" => self.private = true,
            b"public" => self.public = true,
            b"must-revalidate" | b"proxy-revalidate" => self.must_revalidate = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => self.max_age = seconds(self.max_age),
            b"s-maxage" => self.s_maxage = seconds(self.s_maxage),
            // The stricter is the longer.
            b"min-fresh" => self.min_fresh = Some(seconds(None).max(self.min_fresh).unwrap_or_default()),
            b"stale-while-revalidate" => self.stale_while_revalidate = seconds(self.stale_while_revalidate),
            b"stale-if-error" => self.stale_if_error = seconds(self.stale_if_error),
            _ => {}
        }
    }
}

/// Bounded; 0 where it is no number.
pub(super) fn seconds(text: &[u8]) -> u64 {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    text.iter().fold(0, |sum: u64, digit| (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX))
}

/// The one value of a header that may be there once.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
}

/// The parts of a list, which commas within quotes do not end.
fn list(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(move |&b| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match b {
            b'"' => quoted = !quoted,
            b'\\' => escaped = quoted,
            _ => {}
        }
        b == b',' && !quoted
    });
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Directives {
        Directives::read(&values.iter().map(|value| (CACHE_CONTROL, value.parse().unwrap())).collect())
    }

    #[test]
    fn directives_are_read_over_lines_cases_and_quotes() {
        let read = read(&["Public , MAX-AGE=\"60\"", "private=\"a, no-store\", s-maxage = 5,,"]);
        assert!(read.public && read.private && !read.no_store, "what stands within quotes is no directive");
        assert_eq!((read.max_age, read.s_maxage), (Some(60), Some(5)));
    }

    #[test]
    fn numbers_do_not_overflow_and_what_is_none_is_zero() {
        for (text, seconds) in
            [("99999999999999999999999999", SECONDS_MAX), ("-1", 0), ("1.5", 0), ("", 0), ("0x10", 0), ("010", 10)]
        {
            assert_eq!(read(&[&format!("max-age={text}")]).max_age, Some(seconds), "{text}");
        }
        assert_eq!(read(&["max-age"]).max_age, Some(0));
        assert_eq!(read(&["max-age=60, max-age=10"]).max_age, Some(10), "the stricter");
    }

    #[test]
    fn pragma_counts_only_alone() {
        let pragma = HeaderMap::from_iter([(PRAGMA, HeaderValue::from_static("no-cache"))]);
        assert!(Directives::read(&pragma).no_cache);
        let both = HeaderMap::from_iter([
            (PRAGMA, HeaderValue::from_static("no-cache")),
            (CACHE_CONTROL, HeaderValue::from_static("max-age=1")),
        ]);
        assert!(!Directives::read(&both).no_cache);
    }
}
