//! Recovery codes: 80 random bits each, in base32, in groups that can be typed.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::totp::base32;
use crate::world::World;

/// How many a person has.
pub(super) const CODES: usize = 10;
const BYTES: usize = 10;

/// Fresh codes as they are shown, once.
pub(super) fn mint(world: &World) -> Vec<Zeroizing<String>> {
    let code = || {
        let text = base32(&world.random()[..BYTES]).to_lowercase();
        let groups: Vec<&str> = (0..4).map(|n| &text[4 * n..4 * n + 4]).collect();
        Zeroizing::new(groups.join("-"))
    };
    (0..CODES).map(|_| code()).collect()
}

/// Of a code however it was typed; all of it that is stored.
pub(super) fn hash(code: &str) -> [u8; 32] {
    let bare: Zeroizing<String> = Zeroizing::new(code.chars().filter(char::is_ascii_alphanumeric).collect());
    Sha256::digest(bare.to_ascii_lowercase().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_differ_and_are_known_however_they_are_typed() {
        let codes = mint(&World::fixed(0, 1));
        assert_eq!(codes.iter().map(|code| hash(code)).collect::<HashSet<_>>().len(), CODES);
        let code = &codes[0];
        assert_eq!(code.len(), 19);
        assert_eq!(hash(code), hash(&code.to_uppercase().replace('-', " ")));
    }
}
