//! Whether an answer is compressed, and how: what the client takes, and what is worth it. How it is done is elsewhere.

use clearway_config::settings::gateway::policy::{
    Compression,
    compression::{Coding, TypePattern},
};
use http::{
    HeaderMap,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE},
};

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Untouched,
    /// As it is; another client would be answered otherwise.
    Varies,
    /// It stands for what the client has kept, which may have been compressed.
    NotModified,
    Compressed(Coding),
}

/// Weights go by thousandths.
const WHOLE: u16 = 1000;

/// The coding that a client likes best, of those that are used (RFC 9110, 12.5.3). `None`: as it is.
pub fn choose(settings: &Compression, request: &HeaderMap) -> Option<Coding> {
    let mut said = Said::default();
    for value in request.get_all(ACCEPT_ENCODING) {
        for part in value.as_bytes().split(|&b| b == b',') {
            said.take(part);
        }
    }
    let mut best: Option<(Coding, u16)> = None;
    for &coding in &settings.codings {
        let weight = said.of[coding as usize].or(said.any).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((coding, weight));
        }
    }
    // Who likes it better as it is gets it so.
    best.filter(|(_, weight)| said.identity.is_none_or(|identity| identity <= *weight)).map(|(coding, _)| coding)
}

/// Decides by the head of an answer. `accepted` is what [`choose`] said.
pub fn decide(settings: &Compression, status: u16, answer: &HeaderMap, accepted: Option<Coding>) -> Decision {
    if status == 304 {
        return if accepted.is_some() { Decision::NotModified } else { Decision::Untouched };
    }
    let bodiless = status < 200 || matches!(status, 204..=206);
    let encoded = answer.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if bodiless || encoded || answer.contains_key(CONTENT_RANGE) || !is_worth_it(settings, answer) || may_not_be(answer) {
        return Decision::Untouched;
    }
    accepted.map_or(Decision::Varies, Decision::Compressed)
}

fn is_worth_it(settings: &Compression, answer: &HeaderMap) -> bool {
    let short = |length: u64| length < settings.size_min;
    let length = answer.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let said = answer.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Each event is waited for, and a call has its own compression.
    let flows = essence == "text/event-stream" || essence.starts_with("application/grpc");
    !flows && !length.is_some_and(short) && settings.types.iter().any(|pattern| matches(pattern, &essence))
}

fn matches(pattern: &TypePattern, essence: &str) -> bool {
    match pattern {
        TypePattern::Exactly(text) => essence == text,
        TypePattern::Begins(start) => essence.starts_with(start.as_str()),
        TypePattern::Ends(end) => essence.ends_with(end.as_str()),
    }
}

/// RFC 9111, 5.2.2.6.
fn may_not_be(answer: &HeaderMap) -> bool {
    let words = answer.get_all(CACHE_CONTROL).into_iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(b"no-transform"))
}

/// What an Accept-Encoding says, by thousandths.
#[derive(Debug, Default)]
struct Said {
    of: [Option<u16>; 3],
    any: Option<u16>,
    identity: Option<u16>,
}

impl Said {
    fn take(&mut self, part: &[u8]) {
        let mut parts = part.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|p| p.strip_prefix(b"q=").or(p.strip_prefix(b"Q=")));
        let weight = weight.map_or(WHOLE, thousandths);
        let place = match name.as_slice() {
            b"zstd" => &mut self.of[Coding::Zstd as usize],
            b"br" => &mut self.of[Coding::Br as usize],
            b"gzip" | b"x-gzip" => &mut self.of[Coding::Gzip as usize],
            b"*" => &mut self.any,
            b"identity" => &mut self.identity,
            _ => return,
        };
        *place = Some(weight);
    }
}

/// RFC 9110, 12.4.2; what is no weight is none at all.
fn thousandths(text: &[u8]) -> u16 {
    let (whole, rest) = match text {
        [whole @ (b'0' | b'1')] => (whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', rest @ ..] if rest.len() <= 3 && rest.iter().all(u8::is_ascii_digit) => (whole, rest),
        _ => return 0,
    };
    let places = [100, 10, 1];
    let rest: u16 = rest.iter().zip(places).map(|(digit, place)| u16::from(digit - b'0') * place).sum();
    (u16::from(whole - b'0') * WHOLE + rest).min(WHOLE)
}

#[cfg(test)]
mod tests {
    use clearway_config::settings::gateway::policy::PolicySpec;
    use http::HeaderName;

    use super::*;

    fn settings(text: &str) -> Compression {
        let spec: PolicySpec = serde_json::from_str(&format!("{{\"name\": \"p\", \"compression\": {{{text}}}}}")).unwrap();
        spec.resolve().unwrap().compression.unwrap().as_ref().clone()
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn chosen(accept: &str) -> Option<Coding> {
        choose(&settings(""), &map(&[("accept-encoding", accept)]))
    }

    #[test]
    fn the_best_liked_is_taken_and_nothing_that_is_not_wanted() {
        for (accept, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("GZIP;Q=1.0 , br ; q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0.001, br;q=0", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("*", Some(Coding::Zstd)),
            ("*;q=0.5, zstd;q=0", Some(Coding::Br)),
            ("gzip;q=0, *;q=0", None),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0.5", Some(Coding::Gzip)),
            ("identity", None),
            ("x-gzip", Some(Coding::Gzip)),
            ("deflate", None),
            ("", None),
            ("gzip;q=2", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=", None),
            ("gzipped", None),
        ] {
            assert_eq!(chosen(accept), coding, "{accept}");
        }
        assert_eq!(choose(&settings(""), &HeaderMap::new()), None);
        let two = map(&[("accept-encoding", "gzip;q=0.5"), ("accept-encoding", "br")]);
        assert_eq!(choose(&settings(r#""codings": ["gzip", "br"]"#), &two), Some(Coding::Br));
        assert_eq!(choose(&settings(r#""codings": ["gzip"]"#), &map(&[("accept-encoding", "br")])), None);
    }

    #[test]
    fn what_is_text_and_long_enough_is_compressed_and_the_rest_left_alone() {
        let of = |status, headers: &[(&str, &str)]| decide(&settings(""), status, &map(headers), Some(Coding::Br));
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(of(200, &[json]), Decision::Compressed(Coding::Br));
        assert_eq!(of(404, &[("content-type", "Text/HTML"), ("content-length", "1024")]), Decision::Compressed(Coding::Br));
        assert_eq!(
            of(200, &[("content-type", "image/svg+xml"), ("content-encoding", "identity")]),
            Decision::Compressed(Coding::Br)
        );
        for (status, headers) in [
            (200, &[json, ("content-length", "1023")][..]),
            (200, &[("content-type", "image/png")]),
            (200, &[]),
            (200, &[json, ("content-encoding", "gzip")]),
            (200, &[json, ("cache-control", "public, No-Transform")]),
            (206, &[json, ("content-range", "bytes 0-1/2")]),
            (204, &[json]),
            (101, &[json]),
            (200, &[("content-type", "text/event-stream")]),
            (200, &[("content-type", "application/grpc+json")]),
        ] {
            assert_eq!(of(status, headers), Decision::Untouched, "{status} {headers:?}");
        }
        assert_eq!(of(304, &[]), Decision::NotModified);
        assert_eq!(decide(&settings(""), 304, &HeaderMap::new(), None), Decision::Untouched);
        assert_eq!(decide(&settings(""), 200, &map(&[json]), None), Decision::Varies);
    }
}
