//! Time-based codes (RFC 6238): six digits by HMAC-SHA-1, a new one every 30 seconds, as every authenticator app makes them.

use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes in a seed: as many as the hash has (RFC 4226, 4, R6).
pub(super) const SEED_BYTES: usize = 20;
const STEP_MS: i64 = 30 * 1_000;
/// Steps that a clock may be off, to each side.
const STEPS_OFF: i64 = 1;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step that a code is of, if it is right now and none of a step up to `last_step`, which was taken before.
pub(super) fn check(seed: &[u8], code: &str, now_ms: i64, last_step: i64) -> Option<i64> {
    let now = now_ms / STEP_MS;
    let mut found = None;
    for step in now - STEPS_OFF..=now + STEPS_OFF {
        let right: bool = at(seed, step).as_bytes().ct_eq(code.as_bytes()).into();
        if right && step > last_step && found.is_none() {
            found = Some(step);
        }
    }
    found
}

/// The code of a step.
fn at(seed: &[u8], step: i64) -> Zeroizing<String> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    // Dynamic truncation (RFC 4226, 5.3).
    let from = usize::from(tag[tag.len() - 1] & 0x0f);
    let number = u32::from_be_bytes([tag[from] & 0x7f, tag[from + 1], tag[from + 2], tag[from + 3]]);
    Zeroizing::new(format!("{:06}", number % 1_000_000))
}

/// RFC 4648 without padding, as apps read seeds.
pub(super) fn base32(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(5) * 8));
    for chunk in bytes.chunks(5) {
        let mut block = [0; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        for digit in 0..(chunk.len() * 8).div_ceil(5) {
            let value = (bits >> (35 - 5 * digit)) & 31;
            text.push(char::from(BASE32[value as usize]));
        }
    }
    text
}

/// What apps read from a picture.
pub(super) fn uri(seed: &[u8], email: &str) -> Zeroizing<String> {
    let label: String = form_urlencoded::byte_serialize(email.as_bytes()).collect();
    let seed = base32(seed);
    Zeroizing::new(format!("otpauth://totp/Clearway:{label}?secret={}&issuer=Clearway&algorithm=SHA1&digits=6&period=30", *seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8; 20] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B; of its eight digits the last six.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(*at(SEED, seconds / 30), code, "{seconds}");
        }
        assert_eq!(*base32(b"foobar"), "MZXW6YTBOI", "RFC 4648, 10");
        assert_eq!(*base32(SEED), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn a_code_is_good_once_and_a_step_around_its_own() {
        let now = 1_111_111_111_000;
        let step = now / STEP_MS;
        let code = at(SEED, step);
        assert_eq!(check(SEED, &code, now, 0), Some(step));
        assert_eq!(check(SEED, &code, now, step), None, "replayed");
        assert_eq!(check(SEED, &at(SEED, step - 1), now, step), None, "older than one that was taken");
        for (off, good) in [(-2, false), (-1, true), (1, true), (2, false)] {
            assert_eq!(check(SEED, &code, now + off * STEP_MS, 0).is_some(), good, "{off}");
        }
        for wrong in ["", "000000", "12345", "1234567", "abcdef"] {
            assert_eq!(check(SEED, wrong, now, 0), None, "{wrong}");
        }
    }
}
