//! What of an attempt is kept for people to look at: headers and the beginning of the answer, without what is, or may
//! be, a secret.

use clearway_config::sync::v1::Header;
use http::{HeaderMap, HeaderName};

/// Headers that are kept of either side at most, and characters of each value.
const HEADERS_MAX: usize = 64;
const VALUE_CHARS_MAX: usize = 512;
/// What is shorter would be found everywhere.
const SECRET_CHARS_MIN: usize = 6;
/// In place of a secret.
const MASK: &str = "…";
/// Words in a header's name that say that its value may open something.
const WORDS: [&str; 9] = ["auth", "cookie", "token", "secret", "passw", "api-key", "apikey", "credential", "session"];
/// What secrets of ours begin with.
const STARTS: [&str; 3] = ["clw_", "whsec_", "whsk_"];

/// Without any of `secrets`, which whoever said them may have been shown.
pub(in crate::egress) fn headers(headers: &HeaderMap, secrets: &[&str]) -> Vec<Header> {
    headers.iter().take(HEADERS_MAX).map(|(name, value)| shown(name, value.as_bytes(), secrets)).collect()
}

fn shown(name: &HeaderName, value: &[u8], secrets: &[&str]) -> Header {
    let value = if WORDS.iter().any(|word| name.as_str().contains(word)) {
        MASK.to_owned()
    } else {
        // Masked before it is cut: of a secret that is cut in two the beginning would be left.
        masked(String::from_utf8_lossy(value).into_owned(), secrets).chars().take(VALUE_CHARS_MAX).collect()
    };
    Header { name: name.as_str().to_owned(), value }
}

/// The beginning of a text, [`masked`]; that of a secret, too, which does not end within it.
pub(in crate::egress) fn beginning_masked(mut text: String, secrets: &[&str]) -> String {
    for secret in secrets {
        let begun = (SECRET_CHARS_MIN..secret.len()).rev().filter(|at| secret.is_char_boundary(*at)).map(|at| &secret[..at]);
        if let Some(begun) = begun.into_iter().find(|begun| text.ends_with(begun)) {
            text.truncate(text.len() - begun.len());
            text.push_str(MASK);
        }
    }
    masked(text, secrets)
}

/// `text` without secrets that look like ours, and without any of `secrets`, which its sender may have been shown.
pub(in crate::egress) fn masked(mut text: String, secrets: &[&str]) -> String {
    for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_CHARS_MIN) {
        if text.contains(*secret) {
            text = text.replace(*secret, MASK);
        }
    }
    for start in STARTS {
        let mut from = 0;
        while let Some(at) = text[from..].find(start).map(|at| from + at) {
            let behind = at + start.len();
            let of_secret = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
            let end = text[behind..].find(|c| !of_secret(c)).map_or(text.len(), |end| behind + end);
            text.replace_range(behind..end, MASK);
            from = behind + MASK.len();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_kept() {
        let of = |name: &'static str, value: &'static str| {
            let one = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let kept = headers(&one, &["s3cr3t-t0ken"]);
            kept[0].value.clone()
        };
        for name in ["authorization", "x-api-key", "set-cookie", "cookie", "x-auth-token", "x-session-id", "x-client-secret"] {
            assert_eq!(of(name, "something"), MASK, "{name}");
        }
        assert_eq!(of("content-type", "application/json"), "application/json");
        assert_eq!(of("x-note", "key clw_live_abc123 here"), "key clw_… here");
        assert_eq!(of("x-echo", "Bearer s3cr3t-t0ken"), "Bearer …");
    }

    #[test]
    fn a_receiver_that_echoes_what_it_was_sent_gives_nothing_away() {
        let echoed = r#"{"authorization":"Bearer s3cr3t-t0ken","secret":"whsec_AAAA+/==","n":1}"#.to_owned();
        assert_eq!(masked(echoed, &["s3cr3t-t0ken", ""]), r#"{"authorization":"Bearer …","secret":"whsec_…","n":1}"#);
        assert_eq!(masked("clw_clw_whsec_".into(), &[]), "clw_…");
        assert_eq!(masked("ends in whsk_".into(), &[]), "ends in whsk_…");
        for cut in ["it is s3cr3t-t0ken", "it is s3cr3t-t0ke", "it is s3cr3t"] {
            assert_eq!(beginning_masked(cut.into(), &["s3cr3t-t0ken"]), "it is …");
        }
        assert_eq!(beginning_masked("it is s3cr".into(), &["s3cr3t-t0ken"]), "it is s3cr");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut many = HeaderMap::new();
        for n in 0..200 {
            many.append(HeaderName::try_from(format!("x-{n}")).unwrap(), HeaderValue::try_from("v".repeat(4096)).unwrap());
        }
        let kept = headers(&many, &[]);
        assert_eq!((kept.len(), kept[0].value.len()), (HEADERS_MAX, VALUE_CHARS_MAX));
    }
}
