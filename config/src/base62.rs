//! Fixed-width base62 in ASCII order (`0-9A-Za-z`), most significant digit first.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// As many digits as fit into 64 bits: a division of 128 bits costs twenty times one of 64.
const CHUNK_DIGITS: usize = 10;
const CHUNK: u128 = 62_u128.pow(10);

/// `N` digits of `n`; the caller chooses `N` so that none is lost.
pub(crate) fn encode_u128<const N: usize>(mut n: u128) -> [u8; N] {
    let mut digits = [b'0'; N];
    for chunk in digits.rchunks_mut(CHUNK_DIGITS) {
        let mut rest = (n % CHUNK) as u64;
        n /= CHUNK;
        for digit in chunk.iter_mut().rev() {
            *digit = ALPHABET[(rest % 62) as usize];
            rest /= 62;
        }
    }
    digits
}

/// `None` where a character is not a digit or the number passes 128 bits.
pub(crate) fn decode_u128(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |n, &digit| n.checked_mul(62)?.checked_add(u128::from(value(digit)?)))
}

/// `N` digits of a 256-bit number in big-endian bytes.
pub(crate) fn encode_256<const N: usize>(mut bytes: [u8; 32]) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut bytes {
            let n = rest << 8 | u32::from(*byte);
            *byte = u8::try_from(n / 62).expect("a remainder under 62, shifted, divides below 256");
            rest = n % 62;
        }
        *digit = ALPHABET[rest as usize];
    }
    digits
}

pub(crate) fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn widths_hold_the_largest_number() {
        assert_eq!(decode_u128(&encode_u128::<22>(u128::MAX)), Some(u128::MAX));
        assert_eq!(decode_u128(b"zzzzzzzzzzzzzzzzzzzzzz"), None);
        assert_eq!(encode_256::<44>([0xff; 32])[0], b'0', "43 digits hold 256 bits");
        assert_ne!(encode_256::<43>([0xff; 32])[0], b'0');
    }

    proptest! {
        #[test]
        fn both_encoders_agree(low: u128) {
            let mut bytes = [0; 32];
            bytes[16..].copy_from_slice(&low.to_be_bytes());
            prop_assert_eq!(&encode_256::<43>(bytes)[21..], &encode_u128::<22>(low)[..]);
        }
    }
}
