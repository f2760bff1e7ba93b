//! What stands in a credential header: it is a key whose checksum holds, or it is refused.

#![no_main]

use clearway_config::PlainKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = PlainKey::parse(bytes) {
        assert_eq!(key.reveal().as_bytes(), bytes);
        let again = PlainKey::parse(key.reveal().as_bytes()).expect("a key that was parsed is a key");
        assert_eq!(again.hash(), key.hash());
    }
});
