//! How long a request's body may be.

use http::{HeaderMap, header::CONTENT_LENGTH};

/// Whether a request says that its body is longer than `max` bytes. One that does not say is to be counted.
pub fn is_longer(headers: &HeaderMap, max: u64) -> bool {
    let Some(length) = headers.get(CONTENT_LENGTH) else { return false };
    // The view has made sure that it is digits; a number beyond 64 bits is longer than any limit.
    let number = length.to_str().ok().and_then(|digits| digits.parse::<u64>().ok());
    number.is_none_or(|length| length > max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_compared_as_a_number() {
        let of = |length: &str| is_longer(&HeaderMap::from_iter([(CONTENT_LENGTH, length.parse().unwrap())]), 100);
        assert_eq!([of("0"), of("100"), of("101"), of("0000100"), of("99999999999999999999")], [false, false, true, false, true]);
        assert!(!is_longer(&HeaderMap::new(), 0));
    }
}
